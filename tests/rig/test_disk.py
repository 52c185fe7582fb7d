"""Disks that are full or cannot be written: F27, F35 (RELIABILITY 7.2)."""
import os
import re
import subprocess
import time
import urllib.request

import pytest

from rig import PACED, QUICK, ROOT, system

pytest_plugins = ["rig"]

TINY = system.EXAMPLES / "tiny.json"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB, which the ledger's reserve and the job share."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", place]).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_f27_a_full_disk_pauses_and_goes_on(launch, audit, small_disk, tmp_path):
    """A line of the training log, a checkpoint, a result: the job waits, says for what, and is not told from one that never waited."""
    run = launch(TINY, name="small/run", sets=[*QUICK, "spec.checkpoint.every_steps=16", f"spec.store={tmp_path}/small/run/store"], env=system.environment(**PACED))
    run.wait_for(lambda: run.step() >= 20, what="step 20")
    filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError:
        os.close(filler)
    log = run.output / "logs/rank-0.log"
    run.wait_for(lambda: "the disk is full" in log.read_text() or run.progress().get("state") == "PAUSED", timeout=60, what="the pause")
    time.sleep(1)
    assert run.process.poll() is None
    (small_disk / "filler").unlink()
    run.succeed()
    audit(run.output)


def test_f27_no_room_for_checkpoints_alone(launch, audit, tmp_path):
    """Everything else has room: training goes on with warnings, then waits, and goes on where the last checkpoint was."""
    place = tmp_path / "run/ckpt"
    place.mkdir(parents=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place]).returncode:
        pytest.skip("mounting needs root")
    try:
        run = launch(TINY, sets=[*QUICK, "spec.checkpoint.every_steps=8", "spec.checkpoint.fail_after_seconds=0.5"], env=system.environment(**PACED))
        log = run.output / "logs/rank-1.log"
        run.wait_for(lambda: run.progress().get("state") == "PAUSED", timeout=60, what="the pause")
        failed_at = sorted({int(step) for step in re.findall(r"checkpoint of step (\d+) was not written, training goes on", log.read_text())})
        assert len(failed_at) > 1, failed_at
        cause = run.progress()["cause"]
        assert "no checkpoint could be written for" in cause and "KiB are free" in cause, cause
        ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", (run.output / "targets.json").read_text())]
        metrics = "".join(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode() for port in ports)
        assert re.search(r'trireme_checkpoint_failures_total\{[^}]*cause="disk_full"', metrics), metrics
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        run.succeed()
        assert (run.output / "incarnation").read_text() == "1\n"
        audit(run.output)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("place", ["/etc/hostname/run", "/dev/null/run"])
def test_f35_an_output_that_cannot_be_written_is_refused_by_field(tmp_path, place):
    done = system.trireme("plan", TINY, "--set", f"spec.output={place}")
    assert done.returncode in (2, 3) and "/spec/output" in done.stdout + done.stderr, done.stdout + done.stderr
