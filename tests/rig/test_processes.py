"""Processes that die, stand still, come late or have too little: F02-F08, F11, F13, F14, F26, F36, F46, F51 (RELIABILITY 7.2)."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from rig import PACED, QUICK, ROOT, long, system

pytest_plugins = ["rig"]

TINY = system.EXAMPLES / "tiny.json"
environment = system.environment


def leftovers():
    return sorted(p.name for p in pathlib.Path("/dev/shm").glob("vader_segment.*"))


def incarnation(run):
    return run.progress().get("incarnation", 0)


def test_f02_two_at_once_and_one_during_recovery(launch, audit):
    run = launch(TINY, workers=4, sets=QUICK, env=environment(**PACED))
    run.wait_for(lambda: run.step() >= 30, what="step 30")
    for pid in run.processes("trireme-worker")[:2]:
        os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda: run.processes("trireme-worker") and incarnation(run) >= 1 and (run.output / "incarnation").read_text() == "2\n", what="the second start")
    again = run.wait_for(lambda: run.processes("trireme-worker"), what="its workers")
    os.kill(again[0], signal.SIGKILL)
    run.succeed(600)
    assert int((run.output / "incarnation").read_text()) <= 3
    audit(run.output)


@long
def test_f03_each_worker_in_turn(launch, audit):
    run = launch(TINY, workers=4, sets=[*QUICK, "spec.checkpoint.every_steps=8", "spec.retry.max_attempts=20"])
    for turn in range(4):
        run.wait_for(lambda: run.step() >= 10 * (turn + 1) and len(run.processes("trireme-worker")) == 4, what=f"turn {turn}")
        os.kill(run.processes("trireme-worker")[turn], signal.SIGKILL)
        run.wait_for(lambda: incarnation(run) > turn + 1, what="the next start")
    run.succeed(600)
    audit(run.output)
    assert not [p for p in run.output.rglob("*.tmp*")]


@pytest.mark.parametrize("action, told", [pytest.param("exit:0", "", marks=long), ("exit:3", ""), pytest.param("abort", "signal 6", marks=long), pytest.param("segv", "signal 11", marks=long)])
def test_f04_every_way_to_end_is_survived_and_told(launch, audit, action, told):
    run = launch(TINY, sets=QUICK, env=environment(TRIREME_FAULT=f"train.after_step_before_ack:40:{action}", TRIREME_FAULT_RANK=1)).succeed(600)
    assert "incarnation 1 ended" in run.text() and told in run.text() and "signal 7" not in run.text(), run.text()
    audit(run.output)


@long
def test_f05_a_short_pause_is_no_death(launch, audit):
    run = launch(TINY, sets=QUICK, env=environment(**PACED))
    run.wait_for(lambda: run.step() >= 40, what="step 40")
    pid = run.processes("trireme-worker")[-1]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(pid, signal.SIGCONT)
    run.succeed(600)
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)


@pytest.mark.parametrize("who, when", [("trireme-coordin", "starts"), ("trireme-worker", "starts"), pytest.param("trireme-coordin", "trains", marks=long), pytest.param("trireme-worker", "trains", marks=long)])
def test_f06_a_frozen_rank_is_found_in_every_phase(launch, audit, who, when):
    """Within a second of the dead limit, 4 s here; while it starts nobody but its pulse can tell."""
    run = launch(TINY, sets=QUICK, env=environment(**PACED))
    if when == "starts":
        victim = run.wait_for(lambda: (run.output / "pulse").is_dir() and any((run.output / "pulse").iterdir()) and run.processes(who), what="the processes")[-1]
    else:
        run.wait_for(lambda: run.step() >= 40, what="step 40")
        victim = run.processes(who)[-1]
    os.kill(victim, signal.SIGSTOP)
    frozen = time.monotonic()
    run.wait_for(lambda: (run.output / "incarnation").read_text() == "2\n", timeout=60, what="the second start")
    seconds = time.monotonic() - frozen
    print(f"{who} frozen while it {when}: next start {seconds:.2f} s later")
    assert seconds < 11
    run.succeed(600)
    audit(run.output)


def test_f07_a_slow_worker_holds_nothing_up(launch, tmp_path):
    """One of three takes 0.3 s more for each picture, two times: what it has in hand is done by another, and counts once."""
    from test_quarantine import WITHOUT_TRAINING, job, keys_of
    sets = [*WITHOUT_TRAINING, "spec.data.train.synthetic.image_px=400"]  # so much for the others that the slow one is there before all is done
    whole = launch(job(tmp_path / "job.json"), name="whole", sets=sets).succeed()
    keys = keys_of(whole)
    slow = environment(TRIREME_FAULT=",".join(f"sample/{key}:{hit}:delay_ms:300" for key in keys for hit in (1, 2)), TRIREME_FAULT_RANK=1)
    run = launch(job(tmp_path / "job.json"), workers=3, sets=sets, env=slow)
    run.succeed()
    print(f"{run.seconds:.1f} s with a slow worker, {whole.seconds:.1f} s without")  # alone it would take 19 s more for each shard
    log = (run.output / "logs/rank-0.log").read_text()
    assert "is with worker 1 for" in log and "does it too" in log, log
    assert run.seconds < 30
    assert keys_of(run) == keys
    audited = system.trireme("audit", run.output)
    assert audited.returncode == 0, audited.stdout + audited.stderr


def test_f08_a_zombie_that_writes_late_changes_nothing(launch, audit, tmp_path):
    """A worker of the incarnation before wakes up once the run is over, and goes on with what it had in hand."""
    run = launch(TINY, sets=[*QUICK, "spec.timeouts.fence_seconds=30", "spec.timeouts.lease_seconds=60"], env=environment(**PACED))
    run.wait_for(lambda: run.step() >= 40, what="step 40")
    zombie = run.processes("trireme-worker")[-1]
    # Out of the supervisor's sight, as on a host that cannot be reached: it does not carry its mark any more.
    os.kill(zombie, signal.SIGSTOP)
    pids = [pid for name in ("mpirun", "trireme-coordin") for pid in run.processes(name)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    run.succeed(600)
    before = audit(run.output)
    try:
        os.kill(zombie, signal.SIGCONT)
    except ProcessLookupError:  # the supervisor saw it after all, and ended it
        return
    end = time.monotonic() + 40
    while pathlib.Path(f"/proc/{zombie}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not pathlib.Path(f"/proc/{zombie}").exists()
    assert audit(run.output) == before


def test_f11_few_descriptors_end_in_an_error(tmp_path):
    done = subprocess.run(["sh", "-c", f"ulimit -n 16; exec {system.BIN}/trireme launch -n 1 {TINY} --set spec.output={tmp_path}/run --set spec.retry.max_attempts=1"], cwd=ROOT,
                          env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, -6, -11, 134, 139), done.stdout + done.stderr
    said = done.stdout + done.stderr + "".join(p.read_text() for p in (tmp_path / "run/logs").glob("*"))
    assert "Too many open files" in said or "listener thread failed to start" in said, said  # ours or Open MPI's words, whoever needs one first


POINTS = ["ledger.before_commit:30", "ledger.after_commit_before_mark:30", "ledger.after_commit_before_act:30", "ckpt.before_rename:1", "ckpt.after_rename_before_commit:1", "ckpt.after_file_k:1",
          "lease.after_output_before_done:3", "train.before_reduce:20", "train.mid_reduce:20", "train.after_step_before_ack:30"]


@pytest.mark.parametrize("point", [*POINTS[2:7:2], *(pytest.param(point, marks=long) for i, point in enumerate(POINTS) if i not in (2, 4, 6))])
def test_f13_kill_at_every_point_of_the_run(launch, audit, point):
    run = launch(TINY, sets=[*QUICK, "spec.checkpoint.every_steps=16"], env=environment(TRIREME_FAULT=f"{point}:kill9")).succeed(600)
    assert int((run.output / "incarnation").read_text()) >= 2, "the fault did not fire"
    audit(run.output)


@long
def test_f14_ranks_leave_when_their_supervisor_is_gone(launch, audit):
    run = launch(TINY, sets=[*QUICK, "spec.stages.train.epochs=30"])
    run.wait_for(lambda: run.step() >= 30, what="step 30")
    ranks = run.processes("trireme-worker") + run.processes("trireme-coordin")
    os.kill(run.process.pid, signal.SIGKILL)
    end = time.monotonic() + 12
    while any(pathlib.Path(f"/proc/{pid}").exists() for pid in ranks) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in ranks if pathlib.Path(f"/proc/{pid}").exists()]


def test_f26_messages_twice_and_of_another_incarnation(launch, audit):
    faults = ",".join(f"control.{what}:{hit}:error" for hit in (3, 9, 27, 50) for what in ("send_twice", "old_incarnation"))
    run = launch(TINY, sets=QUICK, env=environment(TRIREME_FAULT=faults)).succeed(600)
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)


@long
def test_f36_a_slow_ledger_is_no_death(launch, audit):
    faults = ",".join(f"ledger.before_commit:{hit}:delay_ms:500" for hit in range(20, 40, 4))
    run = launch(TINY, sets=QUICK, env=environment(TRIREME_FAULT=faults, TRIREME_FAULT_RANK=0)).succeed(600)
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)


def test_f43_a_loss_that_is_not_a_number_once(launch, audit):
    """On one of two workers, at one attempt: both compute the step again, and nothing is told from a run without it."""
    run = launch(TINY, sets=QUICK, env=environment(TRIREME_FAULT="train.not_finite:40:error", TRIREME_FAULT_RANK=2)).succeed(600)
    log = (run.output / "logs/rank-1.log").read_text()
    assert "step 40 was not finite, and is finite when computed again on the same data" in log, log
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)


def test_f46_a_flipped_bit_names_its_worker(launch):
    run = launch(TINY, workers=4, sets=QUICK, env=environment(TRIREME_FAULT="train.flip_bit:60:error", TRIREME_FAULT_RANK=3))
    assert run.wait(300) == 65, run.text()
    assert "after step 64 worker 3 holds other bits in '" in run.text(), run.text()
    assert not (run.output / "final").exists()


def faketime():
    library = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("faketime is not installed")
    return library


def test_f51_a_clock_that_is_years_off_changes_nothing(launch, audit):
    """Of the coordinator and the workers: a time namespace moves the boot and monotonic clocks, the library below the wall's."""
    run = launch(TINY, sets=QUICK, env=environment(LD_PRELOAD=faketime(), FAKETIME="-40y", FAKETIME_DONT_FAKE_MONOTONIC=1, FAKETIME_DONT_RESET=1)).succeed(600)
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)


def test_f51_a_clock_that_jumps_under_a_running_job(launch, audit, tmp_path):
    """An hour on, an hour back, to 1970, and right again, each seen at the next look at the clock."""
    hand = tmp_path / "clock"
    hand.write_text("+0")
    run = launch(TINY, sets=QUICK, env=environment(LD_PRELOAD=faketime(), FAKETIME_TIMESTAMP_FILE=hand, FAKETIME_NO_CACHE=1, FAKETIME_DONT_FAKE_MONOTONIC=1, FAKETIME_DONT_RESET=1, **PACED))
    years = set()
    for step, says in ((8, "+1h"), (20, "-1h"), (32, "@1970-01-02 00:00:00"), (48, "+0")):
        run.wait_for(lambda step=step: run.step() >= step, what=f"step {step}")
        years.add(run.progress()["time"][:4])
        aside = hand.with_suffix(".new")
        aside.write_text(says)
        aside.rename(hand)
    run.succeed(600)
    assert "1970" in years, years  # they do see it
    assert (run.output / "incarnation").read_text() == "1\n"
    audit(run.output)
