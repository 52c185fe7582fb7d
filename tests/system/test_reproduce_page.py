"""docs/how-to/reproduce-a-row.md followed from an empty folder: all three rows, with small stand-ins of every set that the suites name.

Takes minutes and proves the page rather than the product: runs with TRIREME_PAGE=1.
"""
import io
import json
import os
import re
import subprocess
import tarfile

import pytest

from conftest import ROOT, need_shared, trireme
from test_evaluate import COLOURS, PEER, npy, ppm, wds
from test_suites import png, prepared, published, results, train  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(os.environ.get("TRIREME_PAGE") != "1", reason="TRIREME_PAGE=1 follows docs/how-to/reproduce-a-row.md")
PAGE = (ROOT / "docs/how-to/reproduce-a-row.md").read_text()
COMMANDS = re.findall(r"^\| .* \| .* \| `(trireme evaluate .*)` \|$", PAGE, re.M)
NAMES = list(COLOURS)


def cxc(folder):
    """Forty pictures with two captions each, and ratings in the three files as they are published."""
    name, sentence = lambda i: f"COCO_val2014_{i % 40:012d}", lambda i: f"COCO_val2014:sentid:{i % 80}"
    (folder / "test").mkdir(parents=True)
    with tarfile.open(folder / "test/0.tar", "w") as tar:
        for i in range(40):
            for suffix, body in (("png", png(i)), ("txt", f"a {NAMES[i % 6]} square {i}\nthe {NAMES[i % 6]} one".encode()), ("json", json.dumps({"sentids": [2 * i, 2 * i + 1]}).encode())):
                info = tarfile.TarInfo(f"{name(i)}.{suffix}")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    (folder / "test/nshards.txt").write_text("1")
    rating = lambda i: f"{i * 7 % 50 / 10:.1f}"
    picture = lambda i: name(i) + ".jpg"
    for kind, head, first, second, count in (("sis", "image1,image2", picture, lambda i: picture(i + 1 + i // 40), 120), ("sits", "caption,image", sentence, lambda i: picture(i // 2 + i // 80), 160),
                                             ("sts", "caption1,caption2", sentence, lambda i: sentence(i + 1 + i // 80), 240)):
        (folder / f"{kind}_test.csv").write_text(f"{head},agg_score,sampling_method\n" + "".join(f"{first(i)},{second(i)},{rating(i)},drawn\n" for i in range(count)))


def stand_in(root, task, published):  # noqa: F811
    """A set of the task's kind under the first name that the suite looks for."""
    folder, kind, count = root / task["folders"][0], task["task"], task.get("classes", 6)
    own = sum(map(ord, folder.name))  # no two sets alike: they would share one result
    if folder.exists():
        return
    if kind == "word_similarity":
        subprocess.run(["unzip", "-q", str(need_shared("data/eval/simlex/SimLex-999.zip")), "-d", str(root)], check=True)
    elif kind == "ratings":
        cxc(folder)
    elif kind == "choice":
        assert prepared("winoground", published / "examples.jsonl", published / "pictures", folder).returncode == 0
    elif kind == "entailment":
        for split in ("test", "dev"):
            assert prepared("snli-ve", published / "snli_ve_test.jsonl", published / "pictures", folder, "--split", split).returncode == 0
    elif kind == "answers":
        assert prepared("vqav2", published / "questions.json", published / "annotations.json", published / "pictures", folder).returncode == 0
        (published / "train.json").write_text(json.dumps({"annotations": [{"multiple_choice_answer": answer} for answer in ("no", "yes", "yes")]}))
        assert prepared("answers", published / "train.json", folder / "answers.txt").returncode == 0
    elif kind == "multi_label":
        wds(folder, [{"png": png(i + own), "npy": npy([int((i + c) % 3 == 0) for c in range(count)])} for i in range(12)], "multilabel", [f"kind {c}" for c in range(count)])
    elif kind == "zero_shot":
        wds(folder, [{"png": ppm(COLOURS[NAMES[i % 6]], i + own), "cls": str((i * 7 + own) % min(count, 6)).encode()} for i in range(12)], classes=[f"kind {c}" for c in range(count)])
    else:
        assert kind == "retrieval", kind
        wds(folder, [{"png": png(i + own), "txt": f"a {NAMES[(i + own) % 6]} square number {i}\nthe {NAMES[i % 6]} one".encode()} for i in range(12)], "retrieval")


def test_every_row_of_the_page(tmp_path, published):  # noqa: F811
    model, root, empty = train(tmp_path, "model", 1), tmp_path / "root", tmp_path / "empty"
    empty.mkdir()
    suites = [re.search(r"--suite (\S+)", command)[1] for command in COMMANDS]
    assert len(COMMANDS) == 3 and len(set(suites)) == 3, COMMANDS
    for command, suite in zip(COMMANDS, suites):
        tasks = json.loads((ROOT / f"jobs/suites/{suite}.json").read_text())["tasks"]
        for task in tasks:
            stand_in(root, task, published)
        row = PAGE.split(command)[0].splitlines()[-1]
        if suite != "diht29":  # the page itself names the sets of the other rows
            named = {name for name in re.findall(r"[\w.-]+", row.split("|")[2])}
            assert {name for task in tasks for name in task["folders"][:1] if name.startswith("wds_") and task["task"] != "ratings"} <= {f"wds_{name}" for name in named}, (suite, row)
        words = command.replace("MODEL", str(model)).replace("ROOT", str(root)).replace("BASELINE_OUTPUT", str(model.parent / "baseline")).split()[1:]
        if "--against" in words:
            trireme("evaluate", train(tmp_path, "second", 2), root, "--suite", suite, "--output", model.parent / "baseline", cwd=empty, check=True)
        done = trireme(*words, cwd=empty, check=True, timeout=900)
        found = results(next(path for path in (empty / "runs").glob("evaluate-*")))
        assert "absent: " not in done.stdout and len(found) == len(tasks), done.stdout
        for average in json.loads((next((empty / "runs").glob("evaluate-*")) / "evaluation.results.json").read_text())["averages"]:
            assert average["value"] is not None, average
        assert f"suite {suite}, from " in done.stdout
        print(done.stdout)
        (empty / "runs").rename(empty / f"runs-{suite}")


def test_the_steps_before_the_command(tmp_path):
    """A pickle becomes weights that say what they are, and doctor says what would be read."""
    model = train(tmp_path, "model", 1)
    wds(tmp_path / "wds_cifar10", [{"png": png(i), "cls": str(i % 6).encode()} for i in range(12)], classes=NAMES)
    doctor = trireme("doctor", tmp_path / "wds_cifar10/test", check=True).stdout
    assert "labels: .cls" in doctor, doctor
    made = subprocess.run([PEER, "-c", f"import torch; from safetensors.torch import load_file; torch.save({{'state_dict': load_file('{model}/final/model.safetensors')}}, '{tmp_path}/alip.pt')"], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"torch is not installed for {PEER} (./quickstart judges)")
    trireme("weights", "convert", tmp_path / "alip.pt", tmp_path / "alip.safetensors", check=True)
    assert "heads" in trireme("weights", "inspect", tmp_path / "alip.safetensors", check=True).stdout
