"""Samples that kill their workers: F39, F10 (RELIABILITY 7.2, 8.5)."""
import json

import pytest

from rig import QUICK, SHORT, long, system

pytest_plugins = ["rig"]

WITHOUT_TRAINING = [one for one in QUICK if one not in SHORT]


def job(path):
    """Counts, a filter that decodes every picture, an export of what it keeps; 256 samples in 4 shards."""
    document = json.loads((system.EXAMPLES / "tiny.json").read_text())
    spec = document["spec"]
    spec.pop("output", None)
    spec["data"]["train"]["synthetic"].update({"samples": 256, "shards": 4})
    spec["data"] = {"train": spec["data"]["train"]}
    spec.pop("models", None)
    spec["stages"] = [{"name": "words", "kind": "vocabulary", "data": ["train"], "size": 200},
              {"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8},
              {"name": "export", "kind": "export", "needs": ["filter"], "data": ["train"]}]
    path.write_text(json.dumps(document))
    return path


def keys_of(run):
    import tarfile
    return sorted(member.name[:-4] for tar in sorted((run.output / "export/export").glob("*.tar")) for member in tarfile.open(tar) if member.name.endswith(".jpg"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run = system.Launch(job(folder / "job.json"), folder / "run", sets=WITHOUT_TRAINING)
    try:
        run.succeed()
    finally:
        run.stop()
    return keys_of(run)


def poisoned(victims, action):
    return system.environment(TRIREME_FAULT=",".join(f"sample/{key}:1:{action}" for key in victims), TRIREME_FAULT_INCARNATION="any")


@pytest.mark.parametrize("action, signal", [("segv", 11), pytest.param("abort", 6, marks=long)])
def test_f39_a_sample_that_kills_its_workers_is_quarantined(launch, tmp_path, whole, action, signal):
    victim = whole[100]
    run = launch(job(tmp_path / "job.json"), sets=WITHOUT_TRAINING, env=poisoned([victim], action)).succeed(300)
    assert (run.output / "incarnation").read_text() == "3\n", run.text()
    assert keys_of(run) == [key for key in whole if key != victim]
    [one] = run.progress()["quarantine"]
    assert one["sample"] == victim and one["state"] == "quarantined" and one["deaths"] == 2 and f"signal {signal}" in one["last"], one
    log = (run.output / "logs/rank-0.log").read_text()
    assert f"sample {victim} of {one['shard']} was in hand when a worker crashed" in log
    report = (run.output / "report.html").read_text()
    assert f"{victim}: quarantined" in report
    counts = {stage["name"]: stage["counts"] for stage in run.progress()["stages"]}
    assert counts["inspect:train"]["bad.quarantined"] == 1 and counts["filter"]["in"] == len(whole) - 1
    assert system.trireme("audit", run.output).returncode == 0
    assert not list((run.output / "in-hand").glob("*"))


def test_f39_more_than_is_allowed_ends_the_job_by_name(launch, tmp_path, whole):
    victim = whole[7]
    run = launch(job(tmp_path / "job.json"), sets=[*WITHOUT_TRAINING, "spec.data.train.max_bad_fraction=0.001"], env=poisoned([victim], "segv"))
    assert run.wait(300) == 1
    assert "1 quarantined" in run.text() and victim in run.text(), run.text()[-3000:]


def test_f39_several_of_them(launch, tmp_path, whole):
    victims = [whole[3], whole[90], whole[200]]
    run = launch(job(tmp_path / "job.json"), sets=[*WITHOUT_TRAINING, "spec.retry.max_attempts=20"], env=poisoned(victims, "segv")).succeed(300)
    assert keys_of(run) == [key for key in whole if key not in victims]


def test_f39_one_that_kills_a_model_within_its_batch(launch, tmp_path):
    """No sample is in hand at the first death; then the shard's samples are tried one by one, and the bits of the rest are those of a job without it."""
    document = json.loads((system.EXAMPLES / "tiny.json").read_text())
    spec = document["spec"]
    spec.pop("output", None)
    spec["data"]["train"]["synthetic"].update({"samples": 128, "shards": 4})
    spec["data"] = {"train": spec["data"]["train"]}
    spec["models"] = {"lite0": {"embed_dim": 16, "image": {"kind": "efficientnet_lite0", "weights": "pretrained:efficientnet-lite0", "frozen": True},
                                "text": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "context": 16, "tokenizer": {"kind": "hashed_words", "buckets": 256}}}}
    spec["stages"] = [{"name": "features", "kind": "embed", "data": ["train"], "model": "lite0"}]
    (tmp_path / "job.json").write_text(json.dumps(document))
    fine = launch(tmp_path / "job.json", name="fine", sets=WITHOUT_TRAINING).succeed(300)
    import tarfile
    shards = sorted((fine.output / "store/synthesize").rglob("*.tar"))
    victim = sorted(member.name[:-4] for member in tarfile.open(shards[0]) if member.name.endswith(".jpg"))[5]
    env = system.environment(TRIREME_FAULT=f"model/{victim}:1:segv", TRIREME_FAULT_INCARNATION="any")
    run = launch(tmp_path / "job.json", sets=WITHOUT_TRAINING, env=env).succeed(300)
    kept = {(one["sample"], one["state"], one["deaths"]) for one in run.progress()["quarantine"]}
    assert kept == {("", "suspect", 1), (victim, "quarantined", 2)}, kept
    assert (run.output / "incarnation").read_text() == "4\n"
    same = [path.name for path in (fine.output / "store/embed").rglob("*.safetensors") if list((run.output / "store/embed").rglob(path.name))]
    assert len(same) == 3
    for name in same:
        first, second = (next((one.output / "store/embed").rglob(name)).read_bytes() for one in (fine, run))
        assert first == second, name


@long
def test_f39_one_that_only_training_decodes(launch, tmp_path):
    """No stage before it looks at pictures: the shard is inspected again, and training begins again without the sample."""
    document = json.loads((system.EXAMPLES / "tiny.json").read_text())
    document["spec"].pop("output", None)
    (tmp_path / "job.json").write_text(json.dumps(document))
    fine = launch(tmp_path / "job.json", name="fine", sets=QUICK).succeed(300)
    store = next((fine.output / "store/synthesize").rglob("*.tar"))
    import tarfile
    victim = sorted(member.name[:-4] for member in tarfile.open(store) if member.name.endswith(".jpg"))[5]
    run = launch(tmp_path / "job.json", sets=QUICK, env=poisoned([victim], "segv")).succeed(300)
    assert [one["sample"] for one in run.progress()["quarantine"]] == [victim]
    assert (run.output / "incarnation").read_text() == "3\n"
    assert system.trireme("audit", run.output).returncode == 0
