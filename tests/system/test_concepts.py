"""Concept labels on real processes (DiHT): vocabularies mined from captions, a teacher's heads, labels shard by shard, training on them;
the same bytes for any number of workers and through a kill -9."""
import json
import os
import signal
import struct

import pytest

from conftest import EXAMPLES, Launch, log_rows, trireme, weights

SHORT = ["spec.data.train.synthetic.samples=512", "spec.data.train.synthetic.shards=4", "spec.data.test.synthetic.samples=128",
         "spec.task_samples=64", "spec.stages.words.min_count=8", "spec.stages.teacher.epochs=2", "spec.stages.train.epochs=4",
         "spec.stages.train.optimizer.warmup_steps=0", "spec.checkpoint.every_steps=4"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = Launch(EXAMPLES / "diht.json", tmp_path_factory.mktemp("diht") / "run", sets=SHORT)
    try:
        yield run.succeed(400)
    finally:
        run.stop()


def sidecars(run):
    """The labels of all ranges by address, with their bytes."""
    return {p.name: p.read_bytes() for p in sorted((run.output / "store/concepts").glob("*/*.concepts.safetensors"))}


def header(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + length])


def test_from_captions_to_a_distilled_model(undisturbed):
    words = json.loads((undisturbed.output / "stages/words/concepts.json").read_text())
    objects = [c["concept"] for c in words["vocabularies"]["objects"]]
    attributes = [c["concept"] for c in words["vocabularies"]["attributes"]]
    assert {"circle", "square", "star"} <= set(objects) and {"red", "blue"} <= set(attributes)
    counts = [c["count"] for c in words["vocabularies"]["objects"]]
    assert counts == sorted(counts, reverse=True) and min(counts) >= 8
    assert all(c["wordnet"].endswith("-n") and c["gloss"] for c in words["vocabularies"]["objects"])
    settled = json.loads((undisturbed.output / "stages/labels/concepts.json").read_text())
    assert [c["concept"] for c in settled["vocabularies"]["objects"]] == objects
    labels = sidecars(undisturbed)
    assert len(labels) >= 8, "4 shards in ranges of 64"
    for data in labels.values():
        metadata = header(data)["__metadata__"]
        assert metadata["teacher"] == settled["teacher"] and metadata["size.objects"] == str(len(objects))
        assert header(data)["objects.index"]["shape"][1] == 5
    teacher, student = log_rows(undisturbed, "teacher"), log_rows(undisturbed, "train")
    for rows in (teacher, student):
        parts = [r["parts"]["concepts.objects"] for r in rows]
        assert sum(parts[-3:]) < sum(parts[:3]), parts
    outputs = [json.loads(line) for line in (undisturbed.output / "stages/labels/outputs.jsonl").read_text().splitlines()]
    seen = sum(line["counts"].get("stored_features", 0) for line in outputs)
    assert seen == sum(line["counts"].get("labelled", 0) for line in outputs) > 0, "the embed stage's features are used"


def test_the_same_bytes_for_one_worker(launch, undisturbed):
    run = launch(EXAMPLES / "diht.json", workers=1, sets=SHORT).succeed(400)
    assert sidecars(run) == sidecars(undisturbed)
    assert (run.output / "stages/words/concepts.json").read_bytes() == (undisturbed.output / "stages/words/concepts.json").read_bytes()
    assert weights(run) == weights(undisturbed)


def test_a_kill_during_the_pass_leaves_the_same_bytes(launch, tmp_path):
    """The ImageNet teacher looks at every picture, so that there is time to kill a worker in the middle of the pass."""
    job = tmp_path / "labels.json"
    job.write_text(json.dumps({
        "apiVersion": "trireme/v1", "kind": "Pipeline", "name": "labels",
        "spec": {"output": "x", "task_samples": 16,
                 "data": {"train": {"synthetic": {"samples": 320, "shards": 4, "seed": 1, "image_px": 64}}},
                 "stages": [{"name": "labels", "kind": "concepts", "data": ["train"], "top_k": 10, "batch": 8}]}}))
    expected = sidecars(launch(job, name="calm").succeed())
    assert len(expected) == 20
    run = launch(job, name="killed")
    run.wait_for(lambda: len(sidecars(run)) >= 2, what="the first labels")
    os.kill(run.processes("trireme-worker")[-1], signal.SIGKILL)
    run.succeed()
    assert run.progress().get("incarnation", 1) > 1
    assert sidecars(run) == expected
    names = json.loads((run.output / "stages/labels/concepts.json").read_text())["vocabularies"]["objects"]
    assert len(names) == 1000 and names[207]["concept"] == "golden retriever"


def test_a_pinned_vocabulary_and_what_it_refuses(undisturbed, tmp_path):
    """A human edits the artifact and pins it; what does not fit is refused by plan."""
    words = json.loads((undisturbed.output / "stages/words/concepts.json").read_text())
    words["vocabularies"]["objects"] = words["vocabularies"]["objects"][:4]
    pinned = tmp_path / "pinned.json"
    pinned.write_text(json.dumps(words))
    model = ["--set", f"spec.output={tmp_path / 'run'}", "--set", f"spec.stages.labels.teacher={undisturbed.output / 'stages'}"]
    sets = ["--set", f"spec.stages.labels.vocabulary={pinned}"]
    plan = trireme("plan", EXAMPLES / "diht.json", *model, *sets)
    assert plan.returncode == 3 and "there is no model folder" in plan.stdout + plan.stderr
    sets += ["--set", "spec.stages.labels.top_k=5"]
    plan = trireme("plan", EXAMPLES / "diht.json", "--set", f"spec.output={tmp_path / 'run'}", *sets)
    assert plan.returncode == 2 and "top_k 5 is beyond the vocabulary objects of 4" in plan.stdout + plan.stderr
    sets[-1] = "spec.stages.labels.top_k=4"
    plan = trireme("plan", EXAMPLES / "diht.json", "--set", f"spec.output={tmp_path / 'run'}", *sets)
    assert plan.returncode == 0, plan.stdout + plan.stderr


def test_labels_that_do_not_cover_the_data_are_an_error_with_a_count(launch, tmp_path):
    """Labels behind a strict filter, training behind a loose one."""
    rules = {"short_side_over_px": None, "aspect_below": None, "max_texts_per_image": None, "max_images_per_text": None,
             "max_ngrams": None, "min_words": None, "max_words": None}
    job = tmp_path / "gap.json"
    job.write_text(json.dumps({
        "apiVersion": "trireme/v1", "kind": "Pipeline", "name": "gap",
        "spec": {"output": "x", "retry": {"task_attempts": 1},
                 "data": {"train": {"synthetic": {"samples": 96, "shards": 2, "seed": 1, "image_px": 48}}},
                 "models": {"m": {"image": {"kind": "vit", "image_px": 48, "patch_px": 16, "width": 32, "layers": 1, "heads": 2},
                                  "text": {"width": 32, "layers": 1, "heads": 2, "context": 16,
                                           "tokenizer": {"kind": "hashed_words", "buckets": 256}}, "embed_dim": 16}},
                 "stages": [
                     {"name": "strict", "kind": "filter", "data": ["train"], **rules, "max_words": 8},
                     {"name": "loose", "kind": "filter", "data": ["train"], **rules},
                     {"name": "labels", "kind": "concepts", "needs": ["strict"], "data": ["train"]},
                     {"name": "train", "kind": "train", "needs": ["loose", "labels"], "data": "train", "model": "m",
                      "global_batch": 16, "logical_slots": 4, "steps": 2,
                      "concepts": {"heads": [{"name": "objects", "from": "stage:labels", "field": "objects"}]}}]}}))
    run = launch(job)
    assert run.wait(300) == 1
    text = run.text() + run.rank_logs()
    assert "of 96 samples" in text and "have none" in text and "stage 'labels'" in text, text[-3000:]
