"""A captioner that the job trains, its pass over noisy shards, and ALIP on what it wrote; kill -9 in the middle of the pass."""
import json
import os
import signal
import tarfile

from conftest import EXAMPLES, need_shared, trireme
from test_bad_input import launch as launch_job
from test_bad_input import png, write_tar

TINY = [
    'spec.data.clean={"synthetic":{"samples":256,"shards":2,"seed":3,"image_px":32,"captions":1}}',
    'spec.data.train={"synthetic":{"samples":384,"shards":3,"seed":1,"image_px":32,"captions":2,"swapped":0.3}}',
    'spec.data.test={"synthetic":{"samples":64,"shards":1,"seed":2,"image_px":32,"captions":2}}',
    "spec.models.captioner.image.image_px=32", "spec.models.captioner.image.width=32", "spec.models.captioner.image.layers=2",
    "spec.models.captioner.text.width=32",
    "spec.models.small.image.image_px=32", "spec.models.small.image.width=32", "spec.models.small.image.layers=2", "spec.models.small.text.width=32",
    "spec.stages.vocabulary.size=400", "spec.stages.learn.global_batch=64", "spec.stages.learn.epochs=30",
    "spec.stages.train.global_batch=64", "spec.stages.train.epochs=2", "spec.task_samples=32",
]


def sidecars(run, stage="captions"):
    """The bytes of each range's file, by its place."""
    found = {}
    for line in (run.output / f"stages/{stage}/outputs.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = next(o["path"] for o in row["outputs"] if o["path"].endswith(".captions.jsonl"))
        if not os.path.isabs(path):
            path = run.output / path
        data = open(path, "rb").read()
        head = json.loads(data.split(b"\n")[0])
        found[head["shard_sha256"], head["first"]] = data
    return found


def stage_of(run, name):
    return next((s for s in run.progress().get("stages", []) if s["name"] == name), {})


def test_a_job_needs_no_outside_captions_and_a_killed_pass_writes_the_same_bytes(launch):
    whole = launch(EXAMPLES / "alip.json", name="whole", sets=TINY).succeed(300)
    files = sidecars(whole)
    assert len(files) == 12, list(files)
    rows, heads = [], []
    for data in files.values():
        lines = [json.loads(line) for line in data.decode().splitlines()]
        heads.append(lines[0])
        rows += lines[1:]
        assert len(lines) - 1 == lines[0]["samples"]
    assert len(rows) == 384 and len({head["model"] for head in heads}) == 1
    assert all(head["decoding"]["method"] == "beam" and head["decoding"]["max_length"] == 24 for head in heads)
    captions = [row["caption"] for row in rows]
    assert all(captions) and len(set(captions)) >= 20, set(captions)
    assert all(row["log_probability"] < 0 and row["tokens"] > 0 for row in rows)
    counts = stage_of(whole, "captions")["counts"]
    assert counts["in"] == counts["captions"] == 384 and counts["empty"] == 0
    log = [json.loads(line) for line in (whole.output / "stages/train/log.jsonl").read_text().splitlines()]
    assert log and all(set(row["parts"]) == {"image_text", "image_caption"} for row in log)
    assert (whole.output / "stages/evaluate/evaluation.json").exists()

    hurt = launch(EXAMPLES / "alip.json", name="hurt", sets=TINY)
    hurt.wait_for(lambda: stage_of(hurt, "captions").get("tasks_done", 0) >= 1, what="the first captions", timeout=200)
    os.kill(hurt.processes("trireme-worker")[-1], signal.SIGKILL)
    hurt.succeed(300)
    assert sidecars(hurt) == files
    assert (hurt.output / "final/model.safetensors").read_bytes() == (whole.output / "final/model.safetensors").read_bytes()


def test_what_cannot_be_is_said_before_anything_runs():
    def faults(*sets):
        command = ["plan", EXAMPLES / "alip.json"]
        for one in sets:
            command += ["--set", one]
        done = trireme(*command)
        assert done.returncode != 0
        return done.stdout + done.stderr

    assert "cannot write captions" in faults("spec.stages.learn.model=small")
    assert "text.kind is transformer" in faults("spec.stages.captions.model=small")
    assert "with objective captioning" in faults("spec.stages.captions.model=stage:train")
    assert "no caption stage" in faults("spec.stages.train.synthetic_caption=stage:learn")
    assert "writes no captions for data set" in faults('spec.stages.captions.data=["test"]')
    assert "positions" in faults("spec.stages.captions.max_length=33")
    assert "hashed_words" in faults("spec.models.captioner.text.tokenizer.kind=hashed_words")
    assert "trains a captioner" in faults("spec.stages.evaluate.model=learn")


HARD = [("two men's bikes don't fit; 3 of them do", ["The men's bikes do not fit", "three bikes that don't fit", "bikes of men"]),
        ("a well-lit t-junction (at night)", ["A t-junction, well lit", "a night street [blurred]"]),
        ("1,200 runners start at 9:30 a.m. on a 5k", ["1200 runners start at 9:30 a.m.", "runners in the U.K. -- 5 km"]),
        ("", ["nobody is there", "an empty street..."]),
        ('a sign that says "NO ENTRY" & arrows', ["the sign says 'no entry'", "arrows and a sign!"]),
        ("a woman in a caf\u00e9 \u2014 she's reading", ["She is reading in a cafe", "a woman reads \u201cnews\u201d"]),
        ("gimme that, she cannot wait", ["she can not wait", "give me that"])]
# What pycocoevalcap's PTBTokenizer, Bleu, Rouge and Cider give for them, and for the first caption of each picture of
# Flickr8k's 500 against the four others.
HARD_SCORES = {"Bleu_1": 0.64, "Bleu_2": 0.511682, "Bleu_3": 0.39581, "Bleu_4": 0.296717, "ROUGE_L": 0.487778, "CIDEr": 1.719908}
FLICKR_SCORES = {"Bleu_1": 0.6385, "Bleu_2": 0.4465, "Bleu_3": 0.3061, "Bleu_4": 0.2013, "ROUGE_L": 0.4917, "CIDEr": 0.7818}


def scores(folder, pairs):
    image = png(32, 32)
    folder.mkdir()
    write_tar(folder / "0.tar", [row for i, (_, references) in enumerate(pairs) for row in ((f"{i:04d}.png", image), (f"{i:04d}.txt", "\n".join(references).encode()))])
    (folder / "nshards.txt").write_text("1")
    (folder / "captions.jsonl").write_text("".join(json.dumps({"key": f"{i:04d}", "caption": caption}) + "\n" for i, (caption, _) in enumerate(pairs)))
    (folder / "job.json").write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "scores", "spec": {
        "output": str(folder / "run"), "data": {"test": {"path": str(folder)}},
        "stages": [{"name": "evaluate", "kind": "evaluate", "data": "test", "task": "captions", "captions": str(folder / "captions.jsonl")}]}}))
    done = launch_job(folder / "job.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "run/stages/evaluate/evaluation.json").read_text())["metrics"]


def test_scores_are_pycocoevalcaps(tmp_path):
    found = scores(tmp_path / "hard", HARD)
    assert set(found) == set(HARD_SCORES) and all(abs(found[name] - value) < 1e-6 for name, value in HARD_SCORES.items()), found
    pairs = []
    for path in sorted(need_shared("data/flickr8k-500").rglob("*.tar")):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(m).read().decode().strip().split("\n") for m in tar if m.name.endswith(".txt")]
        pairs += [(lines[0], lines[1:]) for lines in texts if len(lines) == 5]
    found = scores(tmp_path / "flickr", pairs)
    assert all(round(found[name], 4) == value for name, value in FLICKR_SCORES.items()), found
