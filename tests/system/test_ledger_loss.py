"""A lost or damaged ledger, and changed settings, cost nobody a checkpoint (RELIABILITY 8.4): real processes, real files."""
import json
import shutil
import signal

import pytest

from conftest import EXAMPLES, trireme, weights


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """tiny.json with training alone and a checkpoint every 40 steps."""
    document = json.loads((EXAMPLES / "tiny.json").read_text())
    spec = document["spec"]
    del spec["data"]["test"]
    spec["data"]["train"]["synthetic"].update(samples=512, shards=4)
    spec["stages"] = spec["stages"][:1]
    spec["stages"][0]["epochs"] = 60
    spec["checkpoint"].update(every_steps=40)
    path = tmp_path_factory.mktemp("job") / "job.json"
    path.write_text(json.dumps(document))
    return path


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def stop(run, past):
    run.wait_for(lambda: run.step() > past, what=f"a step after {past}")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75
    return json.loads((run.output / "terminal.json").read_text())["step"]


def listed(output):
    return json.loads(trireme("checkpoints", output, "-o", "json", check=True).stdout)["checkpoints"]


def test_the_ledger_folder_is_deleted_and_nothing_is_lost(launch, job):
    run = launch(job)
    step = stop(run, 50)
    before = snapshot(run.output / "ckpt")
    shutil.rmtree(run.output / "ledger")

    refused = launch(job)
    assert refused.wait(60) == 65
    for word in ("step-", "ledger restore", "--resume-from"):
        assert word in refused.text()
    assert snapshot(run.output / "ckpt") == before
    assert trireme("ledger", "check", run.output).returncode == 65

    # Way 1: the backup, which lies outside.
    assert "whole" in trireme("ledger", "restore", run.output, check=True).stdout
    assert snapshot(run.output / "ckpt") == before
    again = launch(job)
    assert stop(again, step) > step
    assert f"resumed at step {step}" in again.rank_logs()
    step = json.loads((run.output / "terminal.json").read_text())["step"]

    # Way 2: a checkpoint alone.
    shutil.rmtree(run.output / "ledger")
    shutil.rmtree(run.output / "backup")
    before = snapshot(run.output / "ckpt")
    assert launch(job).wait(60) == 65
    assert "no ledger here verifies" in trireme("ledger", "check", run.output).stdout
    newest = max(listed(run.output), key=lambda c: c["step"])
    assert newest["step"] == step
    again = launch(job, more=["--resume-from", newest["folder"]]).succeed()
    assert f"resumed at step {step}" in again.rank_logs()
    after = snapshot(run.output / "ckpt")
    assert {name: after.get(name) for name in before} == before

    undisturbed = launch(job, name="undisturbed").succeed()
    assert weights(again) == weights(undisturbed)


def test_mark_and_log_are_lost_and_the_third_way_begins_afresh(launch, job):
    run = launch(job)
    stop(run, 10)
    for name in ("mark", "state.db-wal"):
        (run.output / "ledger" / name).unlink()
    assert launch(job).wait(60) == 65
    for backup in (run.output / "backup").iterdir():
        backup.write_bytes(backup.read_bytes()[:5000])
    before = snapshot(run.output / "ckpt")
    failed = trireme("ledger", "restore", run.output)
    if failed.returncode == 0:  # state.db itself reached as far as its last merge
        assert "Installed ledger/state.db" in failed.stdout
    else:
        assert failed.returncode == 65 and "--afresh" in failed.stderr
    assert "new ledger" in trireme("ledger", "restore", "--afresh", run.output, check=True).stdout
    again = launch(job).succeed()
    assert "resumed at" not in again.rank_logs()
    after = snapshot(run.output / "ckpt")
    assert {name: after.get(name) for name in before} == before


def test_other_settings_keep_their_checkpoints(launch, job):
    run = launch(job)
    step = stop(run, 50)
    before = snapshot(run.output / "ckpt")
    rate = "spec.stages.train.optimizer.learning_rate"
    other = launch(job, sets=[f"{rate}=0.002"])
    other_step = stop(other, 45)
    after = snapshot(run.output / "ckpt")
    assert {name: after.get(name) for name in before} == before

    rows = listed(run.output)
    assert {r["step"] for r in rows if r["current"]} >= {other_step}
    old = [r for r in rows if not r["current"]]
    assert step in {r["step"] for r in old} and all(r["bytes"] > 1000 for r in old)
    assert old[0]["settings"] == [{"setting": "optimizer.learning_rate", "was": "0.001", "now": "0.002"}]
    text = trireme("checkpoints", run.output, check=True).stdout
    assert "optimizer.learning_rate 0.001 (now 0.002)" in text and "as now" in text

    back = launch(job).succeed()
    assert f"resumed at step {step}" in back.rank_logs()
    assert any(r["step"] == other_step and not r["current"] for r in listed(run.output))
    done = trireme("checkpoints", run.output, "--remove", "other-settings", check=True)
    assert "removed ckpt/train/step-" in done.stdout
    assert all(r["current"] for r in listed(run.output))
    assert trireme("ledger", "check", run.output).returncode == 0
    assert trireme("checkpoints", run.output, "--remove", "train/step-00009999").returncode == 3


def test_other_settings_go_when_the_job_says_so(launch, job):
    run = launch(job)
    step = stop(run, 10)
    other = launch(job, sets=["spec.stages.train.seed=2", "spec.checkpoint.keep_other_settings=false"])
    stop(other, 10)
    assert not (run.output / f"ckpt/train/step-{step:08d}").exists() or all(r["current"] for r in listed(run.output))


def test_a_folder_with_somebody_elses_results_is_refused(launch, job, tmp_path):
    (tmp_path / "run/final").mkdir(parents=True)
    (tmp_path / "run/final/thesis.txt").write_text("mine")
    run = launch(job)
    assert run.wait(60) == 65
    assert "final/" in run.text()
    assert (tmp_path / "run/final/thesis.txt").read_text() == "mine"
