"""Layouts that people have: every member, row and file ends in kept, bad or no data, and what was decided is said.

The right counts are those of Python's tarfile, csv and json over the same files; grouping is webdataset's (docs/data-formats.md)."""
import csv
import gzip
import io
import json
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from conftest import BIN, EXAMPLES, ROOT, environment, trireme
from test_bad_input import good_images, launch, pairs, write_tar  # noqa: F401

TINY = json.loads((EXAMPLES / "tiny.json").read_text())
PLAIN = {"short_side_over_px": None, "aspect_below": None, "min_words": None, "max_words": None}


def stage_counts(folder):
    progress = json.loads((folder / "run/progress.json").read_text())["job"]
    return {stage["name"]: stage["counts"] for stage in progress["stages"]}


def make_data(folder, images):
    """Data sets by name: (source, samples, captions)."""
    sets = {}
    dotted = pairs(images[:4]) + [row for i in range(3) for row in ((f"album/Lake 2.{i} (edit).jpg", images[i]), (f"album/Lake 2.{i} (edit).txt", b"a lake"))]
    sets["dotted"] = ({"path": str(write_tar(folder / "dotted.tar", dotted))}, 7, 7)
    rows = pairs(images[:5])
    sets["unsorted"] = ({"path": str(write_tar(folder / "unsorted.tar", [r for r in rows if r[0].endswith("jpg")] + [r for r in rows if r[0].endswith("txt")]))}, 5, 5)
    (folder / "mac").mkdir()
    mac = [(".DS_Store", bytes(64))] + [row for name, data in pairs(images[:3]) for row in ((f"./._{name}", b"\0\5\x16\7"), (f"./{name}", data))]
    write_tar(folder / "mac/00000.tar", mac)
    (folder / "mac/._00000.tar").write_bytes(b"\0\5\x16\7" + bytes(4092))
    sets["mac"] = ({"path": str(folder / "mac")}, 3, 3)
    named = [row for i in range(3) for row in ((f"s{i}.input.jpg", images[i]), (f"s{i}.output.txt", b"some words here"))]
    sets["named"] = ({"path": str(write_tar(folder / "named.tar", named)), "image_member": "input.jpg", "text_member": "output.txt"}, 3, 3)
    fields = [row for i in range(4) for row in ((f"{i}.json", json.dumps({"caption": f"picture number {i}", "url": "http://x"}).encode()), (f"{i}.jpeg", images[i]))]
    sets["fields"] = ({"path": str(write_tar(folder / "fields.tar", fields)), "caption_field": "caption"}, 4, 4)
    lines = [(name, data + b"\nPhoto: agency" if name.endswith("1.txt") else data) for name, data in pairs(images[:4])]
    sets["lines"] = ({"path": str(write_tar(folder / "lines.tar", lines))}, 4, 4)
    for part in ("files/00000", "files/00001", "photos/one", "hf"):
        (folder / part).mkdir(parents=True)
    for i, image in enumerate(images[:6]):
        part = folder / f"files/0000{i % 2}"
        (part / f"{i}.jpg").write_bytes(image)
        (part / f"{i}.txt").write_text(f"file number {i}")
        (part / f"._{i}.jpg").write_bytes(b"\0\5\x16\7")
        (folder / "photos/one" / f"{i}.jpg").write_bytes(image)
        (folder / "hf" / f"{i}.jpg").write_bytes(image)
    (folder / "files/00000/9.jpg.part").write_bytes(b"half")
    sets["files"] = ({"path": str(folder / "files")}, 6, 6)
    sets["photos"] = ({"path": str(folder / "photos")}, 6, 0)
    with open(folder / "hf/metadata.csv", "w", newline="") as out:
        csv.writer(out).writerows([("file_name", "text")] + [(f"{i}.jpg", f'row {i}, with a comma and "quotes"') for i in range(5)])
    sets["imagefolder"] = ({"path": str(folder / "hf")}, 5, 5)
    for part in "ab":
        (folder / "parts" / part).mkdir(parents=True)
        for i in range(2):
            (folder / "parts" / part / f"{i}.jpg").write_bytes(images[i + 2 * (part == "b")])
        (folder / "parts" / part / "metadata.jsonl").write_text("".join(json.dumps({"file_name": f"{i}.jpg", "text": f"{part} {i}", "score": float("nan")}) + "\n" for i in range(2)))
    sets["parts"] = ({"path": str(folder / "parts")}, 4, 4)
    with tarfile.open(folder / "linked.tar", "w") as tar:
        for name, data in pairs(images[:2]) + [("twin.txt", b"the first once more")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("twin.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, pairs(images[:1])[0][0]
        tar.addfile(link)
    sets["linked"] = ({"path": str(folder / "linked.tar")}, 3, 3)
    (folder / "rows.jsonl").write_text("".join(json.dumps({"filepath": f"hf/{i}.jpg", "title": [f"one {i}", f"two {i}"], "fit": i / 10}) + "\n" for i in range(6)))
    sets["jsonl"] = ({"path": str(folder / "rows.jsonl")}, 6, 12)
    (folder / "semi.csv").write_text("filepath;title\n" + "".join(f"hf/{i}.jpg;semicolons, {i}\n" for i in range(6)) + "hf/0.jpg;too;many\n")
    sets["semicolons"] = ({"path": str(folder / "semi.csv"), "max_bad_fraction": 0.2}, 6, 6)
    return sets


def test_what_people_have_is_read_whole(tmp_path, good_images):  # noqa: F811
    sets = make_data(tmp_path, good_images)
    job = json.loads(json.dumps(TINY))
    synthetic = job["spec"]["data"]["train"]
    train = dict(next(s for s in job["spec"]["stages"] if s["kind"] == "train"), needs=[], steps=2)
    for key in ("epochs", "evaluate_every"):
        train.pop(key, None)
    job["spec"].update(output=str(tmp_path / "run"), data={"train": synthetic, **{name: source for name, (source, _, _) in sets.items()}})
    job["spec"]["stages"] = [
        {"name": "filter", "kind": "filter", "data": list(sets), **PLAIN},
        {"name": "best", "kind": "filter", "data": ["jsonl"], **PLAIN, "columns": [{"name": "fit", "least": 0.25}]},
        {"name": "kept", "kind": "export", "needs": ["filter"], "data": ["dotted"]},
        train,
        {"name": "index", "kind": "index", "needs": [train["name"]], "data": "photos", "model": train["name"]},
    ]
    (tmp_path / "job.json").write_text(json.dumps(job))
    plan = trireme("plan", tmp_path / "job.json", check=True).stdout
    for line in ("dotted: ", "key: last_dot (auto)", "one per .txt (auto: 1 of the first 4 have several lines)", "separated by semicolons (auto)",
                 "none, photographs alone (auto)", 'member "caption" of .json', 'column "file_name"', "JSON lines"):
        assert line in plan, (line, plan)
    done = launch(tmp_path / "job.json", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = stage_counts(tmp_path)
    for name, (_, samples, _) in sets.items():
        found = seen[f"inspect:{name}"]
        assert found["in"] == samples, (name, found)
        for whole, parts in (("seen.members", ("kept", "bad", "other", "hidden")), ("seen.rows", ("kept", "bad", "hidden"))):
            if whole in found:
                assert found[whole] == sum(found.get(f"{whole}.{part}", 0) for part in parts), (name, found)
    assert seen["inspect:linked"]["seen.linked"] == 1, seen
    assert seen["inspect:dotted"]["seen.last_dot"] == 3 and seen["inspect:unsorted"]["seen.joined"] == 4, seen
    assert seen["inspect:mac"]["seen.members.hidden"] == 7 and seen["inspect:files"]["seen.members.hidden"] == 7, seen
    assert seen["inspect:semicolons"]["bad.bad_row"] == 1, seen
    assert seen["filter"]["in"] == seen["filter"]["kept"] == sum(samples for _, samples, _ in sets.values()), seen["filter"]
    assert seen["filter"]["captions.in"] == sum(captions for _, _, captions in sets.values()), seen["filter"]
    assert seen["best"]["kept"] == 3, seen["best"]
    with tarfile.open(tmp_path / "run/export/kept/00000.tar") as tar:
        names = tar.getnames()
        assert len([n for n in names if n.endswith(".jpg")]) == 7 and len(set(names)) == len(names), names
    assert json.loads((tmp_path / "run/index/manifest.json").read_text())["items"] == 6
    log = (tmp_path / "run/logs/rank-0.log").read_text()
    report = (tmp_path / "run/report.html").read_text()
    for text in (log, report):
        assert "key: last_dot (auto)" in text and "4 samples whose members are not adjacent, joined" in text


def test_a_class_per_folder_only_when_asked_for(tmp_path, good_images):  # noqa: F811
    for i in range(6):
        folder = tmp_path / "animals" / ("cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(good_images[i])
    found = json.loads(trireme("plan", "-o", "json", job_of(tmp_path, {"path": str(tmp_path / "animals"), "layout": "class_folders"}), check=True).stdout)
    assert "2 class folders, labels in the order of their names: cat, dog" in found["data"][0]["sources"][0], found["data"]
    done = launch(job_of(tmp_path, {"path": str(tmp_path / "animals"), "layout": "class_folders"}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert stage_counts(tmp_path)["inspect:train"]["in"] == 6


def job_of(folder, data):
    path = folder / "job.json"
    path.write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "formats", "spec": {
        "output": str(folder / "run"), "data": {"train": data}, "stages": [{"name": "filter", "kind": "filter", "data": ["train"], **PLAIN}]}}))
    return path


REFUSED = {
    "named": (lambda f, im: write_tar(f / "a.tar", [("s0.input.jpg", im), ("s0.output.txt", b"x")]), ["1 unusual_suffix", ".input.jpg (1)", ".output.txt (1)", "image_member"]),
    "fields": (lambda f, im: write_tar(f / "a.tar", [("0.json", b'{"caption": "two words", "w": 3}'), ("0.jpg", im)]), ["text in: caption", "caption_field"]),
    "other": (lambda f, im: write_tar(f / "a.tar", [("0.caption", b"words"), ("0.jpg", im)]), [".caption (1)", "text_member"]),
    "photographs": (lambda f, im: write_tar(f / "a.tar", [("0.jpg", im)]), ['captions "none"']),
    "nothing": (lambda f, im: write_tar(f / "a.tar", [("0.npy", b"x")]), ["none of its 1 members is a picture", ".npy (1)"]),
    "joined by cat": (lambda f, im: write(f / "a.tar", 2 * write_tar(f / "0.tar", pairs([im])).read_bytes()), ["another archive begins at byte", "tar -A"]),
    "a column twice": (lambda f, im: (write(f / "a.jpg", im), write(f / "a.csv", b"filepath,title,title\na.jpg,x,y\n"))[1], ['the column "title" 2 times']),
    "parquet of an image folder": (lambda f, im: (write(f / "a.jpg", im), write(f / "metadata.parquet", b"PAR1"), f)[2], ["metadata.parquet", "metadata.jsonl"]),
    "packed": (lambda f, im: (write_tar(f / "0.tar", pairs([im])), (f / "1.tar.gz").write_bytes(gzip.compress((f / "0.tar").read_bytes())), f)[2], ["1.tar.gz", "gunzip"]),
    "utf16": (lambda f, im: write(f / "a.csv", "filepath,title\na.jpg,x\n".encode("utf-16")), ["a.csv is UTF-16", "iconv -f UTF-16"]),
    "latin1": (lambda f, im: (write(f / "a.jpg", im), write(f / "a.csv", "filepath,title\na.jpg,caf\xe9\n".encode("latin-1")))[1], ["1 bad_text", "iconv -f LATIN1"]),
    "columns": (lambda f, im: write(f / "a.csv", b"picture;words\na.jpg;x\n"), ["has no column", "picture;words", "separated by semicolons"]),
    "a label beyond the names": (lambda f, im: (write_tar(f / "a.tar", [("0.jpg", im), ("0.cls", b"1"), ("1.jpg", im), ("1.cls", b"2")]), write(f / "classnames.txt", b"one\ntwo\n"), f)[2], ["a.tar has label 2", "2 class names (labels count from 0)"]),
    "names of an old Mac": (lambda f, im: (write_tar(f / "a.tar", [("0.jpg", im), ("0.cls", b"1")]), write(f / "classnames.txt", b"one\rtwo\r"), f)[2], ["classnames.txt:1", "carriage return"]),
    "texts in UTF-16 without a mark": (lambda f, im: write_tar(f / "A.TAR", [("0.jpg", im), ("0.txt", "a dog and a cat".encode("utf-16-le"))]), ["1 bad_text", "-f UTF-16"]),
    "an empty text": (lambda f, im: write_tar(f / "a.tar", [("0.jpg", im), ("0.txt", b" \n")]), ["1 no_caption", "the .txt of 0 is empty"]),
    "a .json that is none": (lambda f, im: write_tar(f / "a.tar", [("0.jpg", im), ("0.txt", b"words"), ("0.json", b"{'caption': 1}"), ("1.txt", b"words")]), ["1 no_image", "nothing is read from 1 .json (first: 0.json: it is no JSON"]),
    "a contradiction": (lambda f, im: (write_tar(f / "0.tar", pairs(33 * [im])), write_tar(f / "1.tar", [(n, d + b"\nmore" if n.endswith("txt") else d) for n, d in pairs(3 * [im])]), f)[2], ["1.tar contradicts", "3 of its 3 texts have several lines"]),
    "several lines in a folder": (lambda f, im: [(write(f / f"{i}.jpg", im), write(f / f"{i}.txt", b"a dog\na cat")) for i in range(3)] and f, ["3 of its 3 texts have several lines"]),
    "short": (lambda f, im: (write(f / "a.jpg", im), write(f / "a.csv", b"filepath,title\na.jpg\n"))[1], ["line 2: it has 1 fields, the header 2", "1 bad_row"]),
}


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", REFUSED)
def test_doctor_names_the_cause_before_a_run(tmp_path, good_images, case):  # noqa: F811
    make, words = REFUSED[case]
    done = trireme("doctor", make(tmp_path, good_images[0]))
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "bad: none" not in text and "\\x0a" not in text, text
    for word in words:
        assert word in text, (word, text)


def test_what_lies_beside_photographs_and_is_not_read_is_said(tmp_path, good_images):  # noqa: F811
    (tmp_path / "texts").mkdir()
    for i in range(2):
        write(tmp_path / f"{i}.jpg", good_images[i])
        write(tmp_path / f"{i}.caption", b"a dog")
        write(tmp_path / f"texts/{i}.txt", b"a dog")
    text = trireme("doctor", tmp_path).stdout
    assert "that are not read: 2 .caption, 2 .txt" in text and "text_member" in text, text


def test_a_run_names_the_cause_too_and_never_says_none(tmp_path, good_images):  # noqa: F811
    done = launch(job_of(tmp_path, {"path": str(REFUSED["named"][0](tmp_path, good_images[0]))}))
    text = done.stdout + done.stderr
    assert done.returncode == 1 and ".input.jpg (1)" in text and "image_member" in text and "bad: none" not in text, text


def python_with_pyarrow():
    """The environment with it, and whether it has pyarrow."""
    env = environment()
    ours = ROOT / ".trireme/python/bin/python3"
    python = env.setdefault("TRIREME_PYTHON", str(ours) if ours.exists() else "python3")
    return env, python, subprocess.run([python, "-c", "import pyarrow"], capture_output=True).returncode == 0


PARQUET = "import json, sys, pyarrow, pyarrow.parquet as p; p.write_table(pyarrow.Table.from_pylist(json.loads(sys.argv[1])), sys.argv[2])"
KEYS = [{"key": f"{i:09d}", "caption": f"picture number {i}"} for i in range(2)]
UNJOINED = {
    "no key": ([{"name": "000000000", "caption": "x"}], "caption", ["0.parquet", "no column key and no column uid", "name, caption"]),
    "a key twice": ([*KEYS, {**KEYS[1], "caption": "another"}], "caption", ['two rows of "000000001" say different things']),
    "a row lacks": (KEYS[:1], "caption", ["1 of 2 samples have no row", "000000001"]),
    "a column lacks": (KEYS, "alt", ["2 no_caption", 'no text at caption_field "alt" of the .json, nor of the parquet']),
    "no parquet": (None, "caption", ["0.parquet"]),
}


@pytest.mark.parametrize("case", UNJOINED)
def test_a_parquet_that_cannot_be_joined_says_why(tmp_path, good_images, case):  # noqa: F811
    rows, field, words = UNJOINED[case]
    env, python, there = python_with_pyarrow()
    if not there:
        pytest.skip(f"{python} has no pyarrow (set TRIREME_PYTHON)")
    write_tar(tmp_path / "0.tar", [row for row in pairs(good_images[:2]) if row[0].endswith("jpg")])
    if rows is None:
        write(tmp_path / "0.parquet", b"PAR1 and no more")
    else:
        subprocess.run([python, "-c", PARQUET, json.dumps(rows), tmp_path / "0.parquet"], check=True)
    done = trireme("doctor", job_of(tmp_path, {"path": str(tmp_path / "0.tar"), "parquet": ".", "caption_field": field}), env=env)
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    for word in words:
        assert word in text, (word, text)


def test_columns_of_parquet_are_joined_by_key(tmp_path, good_images):  # noqa: F811
    env, python, there = python_with_pyarrow()
    if not there:
        done = launch(job_of(tmp_path, {"path": str(write_tar(tmp_path / "0.tar", pairs(good_images[:2]))), "parquet": str(write(tmp_path / "0.parquet", b"x"))}), env=env)
        text = done.stdout + done.stderr
        assert done.returncode == 1 and "pyarrow" in text and "TRIREME_PYTHON" in text, text
        pytest.skip(f"{python} has no pyarrow: only the refusal is tried (set TRIREME_PYTHON)")
    write_tar(tmp_path / "0.tar", [row for row in pairs(good_images[:4]) if row[0].endswith("jpg")])
    rows = [{"key": f"{i:09d}", "caption": f"picture number {i}", "clip": i / 10, "uid": f"{i:032x}"} for i in range(4)]
    make = PARQUET
    subprocess.run([python, "-c", make, json.dumps(rows), tmp_path / "0.parquet"], check=True)
    path = job_of(tmp_path, {"path": str(tmp_path / "0.tar"), "parquet": ".", "caption_field": "caption"})
    job = json.loads(path.read_text())
    job["spec"]["stages"][0]["columns"] = [{"name": "clip", "least": 0.15}]
    job["spec"]["stages"].append({"name": "kept", "kind": "export", "needs": ["filter"], "data": ["train"]})
    path.write_text(json.dumps(job))
    done = launch(path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(tmp_path / "run/export/kept/00000.tar") as tar:
        texts = sorted(tar.extractfile(m).read() for m in tar if m.name.endswith(".txt"))
    assert texts == [b"picture number 2", b"picture number 3"], texts
    subprocess.run([python, "-c", make, json.dumps(rows[:3]), tmp_path / "0.parquet"], check=True)
    job["spec"].update(output=str(tmp_path / "run2"), store=str(tmp_path / "run/store"))
    path.write_text(json.dumps(job))
    done = launch(path, env=env)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "1 of 4 samples have no row" in text and "000000003" in text, text
    subprocess.run([python, "-c", make, json.dumps(rows + [{**rows[1], "caption": "another picture"}]), tmp_path / "0.parquet"], check=True)
    job["spec"]["output"] = str(tmp_path / "run3")
    path.write_text(json.dumps(job))
    done = launch(path, env=env)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and 'two rows of "000000001" say different things' in text, text


def test_a_launch_inside_another_mpirun_is_refused(tmp_path):
    done = trireme("launch", "-n", 1, EXAMPLES / "tiny.json", "--set", f"spec.output={tmp_path}/run", env=environment(OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=4))
    assert done.returncode not in (0, 93) and "inside another one" in done.stderr and "unset ${!OMPI_*}" in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("hidden", [("srun",), ()], ids=["no srun", "srun without a configuration"])
def test_slurms_variables_without_srun(tmp_path, hidden):
    """In a container inside an allocation: Open MPI would start its daemons by srun, on a node of another name."""
    if not hidden and (shutil.which("srun") is None or pathlib.Path("/etc/slurm/slurm.conf").exists()):
        pytest.skip("needs an srun without a configuration (slurm-client)")
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(pathlib.Path, ("/usr/bin", "/bin")):
        for program in folder.iterdir():
            if program.name not in (*hidden, "trireme") and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    env = environment(SLURM_JOB_ID=4711, SLURM_NNODES=1, SLURM_NODELIST="node0147", SLURM_JOB_NODELIST="node0147", SLURM_TASKS_PER_NODE=2, SLURM_JOB_CPUS_PER_NODE=2)
    env["PATH"] = f"{BIN}:{programs}"
    done = trireme("doctor", env=env)
    assert "no srun" in done.stdout and "OMPI_MCA_plm=^slurm" in done.stdout, done.stdout
    done = subprocess.run(["trireme", "launch", "-n", "1", EXAMPLES / "tiny.json", "--set", f"spec.output={tmp_path}/run", "--set", "spec.stages.train.epochs=1"],
                          env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "OMPI_MCA_ras=^slurm" in done.stdout, done.stdout + done.stderr
