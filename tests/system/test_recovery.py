"""Promises A, B and C on real processes: kill anything, any worker count, the same bits (RELIABILITY 7, 8.6, F01-F20, F48)."""
import os
import signal
import time

import pytest

from conftest import EXAMPLES, environment, log_rows, paced, weights

TINY = EXAMPLES / "tiny.json"


def audit(run, reference):
    """Same order of samples, one row per step, same loss, same weights."""
    rows, expected = log_rows(run), log_rows(reference)
    assert [r["step"] for r in rows] == [r["step"] for r in expected]
    assert [r["order_hash"] for r in rows] == [r["order_hash"] for r in expected]
    assert [r["loss"] for r in rows] == [r["loss"] for r in expected]
    assert weights(run) == weights(reference)


@pytest.mark.parametrize("workers", [1, 4])
def test_any_worker_count_gives_the_same_bits(launch, tiny_run, workers):
    audit(launch(TINY, workers=workers).succeed(), tiny_run)


@pytest.mark.parametrize("victim", ["trireme-worker", "trireme-coordin", "mpirun"])
def test_kill_9_costs_less_than_three_seconds_and_no_bit(launch, tiny_run, victim):
    run = launch(TINY)
    run.wait_for(lambda: run.step() >= 50, what="step 50")
    os.kill(run.processes(victim)[-1], signal.SIGKILL)
    killed = time.monotonic()
    before = run.progress()["incarnation"] if "incarnation" in run.progress() else 1
    run.wait_for(lambda: run.progress().get("incarnation", 0) > before and run.step() > 0, what="the next step after the kill")
    seconds = time.monotonic() - killed
    run.succeed()
    audit(run, tiny_run)
    print(f"next step {seconds:.2f} s after kill -9 of {victim}")
    assert seconds < 3.0


def test_sigterm_means_checkpoint_and_stop_and_a_second_launch_goes_on(launch, tiny_run):
    run = launch(TINY, env=environment(**paced(192, 20)))
    run.wait_for(lambda: run.step() >= 60, what="step 60")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) != 0
    steps = sorted(p.name for p in (run.output / "ckpt/train").glob("step-*"))
    assert steps and int(steps[-1].split("-")[1]) >= 60
    again = launch(TINY).succeed()  # same output folder: the fixture's default name
    audit(again, tiny_run)


def test_a_hopeless_job_stops_by_itself(launch):
    run = launch(TINY, env=environment(TRIREME_FAULT="train.before_reduce:1:kill9", TRIREME_FAULT_INCARNATION="any"),
                 sets=["spec.retry.backoff_seconds=0", "spec.retry.max_backoff_seconds=0"])
    assert run.wait(60) == 93
    assert "no progress" in run.text()


def test_a_torn_checkpoint_is_never_loaded(launch, tiny_run):
    run = launch(TINY, env=environment(**paced(192, 20)))
    run.wait_for(lambda: run.step() >= 90, what="step 90")
    run.process.send_signal(signal.SIGTERM)
    run.wait(30)
    newest = sorted((run.output / "ckpt/train").glob("step-*"))[-1] / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    again = launch(TINY).succeed()
    audit(again, tiny_run)
    assert "model.safetensors" in again.rank_logs()


def test_every_sample_once_per_epoch(tiny_run):
    rows = log_rows(tiny_run)
    assert [r["step"] for r in rows] == list(range(1, 193))
    assert all(r["live"] == 64 for r in rows)
    per_epoch = [len({r["order_hash"] for r in rows if r["epoch"] == e}) for e in range(3)]
    assert per_epoch == [64, 64, 64]


def test_a_second_run_in_the_same_store_reuses_everything(launch, tiny_run):
    run = launch(TINY, sets=[f"spec.store={tiny_run.output}/store"]).succeed()
    for stage in run.progress()["stages"]:
        assert stage["tasks_reused"] == stage["tasks_done"], stage
    assert weights(run) == weights(tiny_run)
