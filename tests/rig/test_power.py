"""The power goes: F13's last part (RELIABILITY 7.1). A file system of its own (ext4 in a file), whose processes are stopped where they are; what has
reached the file by then is all that is left: what was written but never synced stays in memory, and is gone."""
import filecmp
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from rig import QUICK, long, system
from test_http import Service
from test_processes import POINTS
from test_quarantine import WITHOUT_TRAINING, job

pytest_plugins = ["rig"]

TINY = system.EXAMPLES / "tiny.json"
RANKS = ("trireme-coordin", "trireme-worker")
SETS = [*QUICK, "spec.checkpoint.every_steps=16"]


class Disk:
    """ext4 that nothing writes back by itself while a test lasts: what is not synced is not there."""

    def __init__(self, folder):
        self.image, self.place, self.cuts = folder / "image", folder / "disk", 0
        self.place.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop,commit=300", self.image, self.place], check=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.place], check=True)

    def cut(self, run):
        """Everyone stops at one moment; the image is what two copies in a row agree on."""
        everyone = [*([run.process.pid] if run.process.poll() is None else []), *(pid for name in ("mpirun", *RANKS) for pid in run.processes(name))]
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        end = time.monotonic() + 20
        while any(state(pid) not in "TZ" for pid in everyone) and time.monotonic() < end:  # one that syncs stops when it is through
            time.sleep(0.01)
        (self.place / "unsynced").write_text("lost")
        self.cuts += 1
        copies = [self.image.with_name(f"copy-{self.cuts}-{which}") for which in (0, 1)]
        subprocess.run(["cp", "--sparse=always", self.image, copies[0]], check=True)
        for _ in range(20):
            subprocess.run(["cp", "--sparse=always", self.image, copies[1]], check=True)
            if filecmp.cmp(*copies, shallow=False):
                break
            copies.reverse()
        else:
            raise AssertionError("something goes on writing")
        known = sequence(run)
        for pid in everyone:
            os.kill(pid, signal.SIGKILL)
        run.process.wait()
        self.unmount()
        copies[1].unlink()
        self.image = copies[0]
        self.mount()
        assert not (self.place / "unsynced").exists()
        return known


@pytest.fixture
def disk(tmp_path):
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("a file system of its own needs root and mkfs.ext4")
    (tmp_path / "probe").mkdir()
    probe = tmp_path / "probe.img"
    subprocess.run(["truncate", "-s", "16M", probe], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", probe], check=True)
    if subprocess.run(["mount", "-o", "loop", probe, tmp_path / "probe"], capture_output=True).returncode:
        pytest.skip("this kernel mounts no file as a disk")
    subprocess.run(["umount", tmp_path / "probe"], check=True)
    one = Disk(tmp_path)
    yield one
    one.unmount()


def sequence(run):
    """The newest event of the ledger as its files stand; they are held, so of a copy."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(run.output / "ledger", f"{folder}/ledger", ignore=shutil.ignore_patterns("reserve"))
        done = system.trireme("ledger", "check", folder, "-o", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["ledger"]["sequence"]


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return "Z"


def stands(run):
    """Whether a process has stopped itself, as its fault point told it to."""
    return [pid for name in RANKS for pid in run.processes(name) if state(pid) == "T"]


@pytest.mark.parametrize("point", [*POINTS[2:7:2], *(pytest.param(point, marks=long) for i, point in enumerate([*POINTS, "ledger.wal_written_before_sync:40", "ckpt.after_rename_before_commit:3"]) if i not in (2, 4, 6))])
def test_f13_the_power_goes_at_every_point_of_the_run(launch, disk, audit, point):
    run = launch(TINY, name="disk/run", sets=SETS, env=system.environment(TRIREME_FAULT=f"{point}:stop"))
    run.wait_for(lambda: stands(run), what=point)
    known = disk.cut(run)
    again = launch(TINY, name="disk/run", sets=SETS)
    again.wait_for(lambda: (again.output / "incarnation").exists() and "incarnation 2 of" in (again.output / "logs/rank-0.log").read_text(), what="the second start")
    assert sequence(again) >= known - (point.startswith("ledger.wal_written")), f"{known} was the newest event"  # that one nobody was told
    again.succeed(600)
    audit(again.output)


@pytest.mark.parametrize("what", ["final/model.safetensors", "export/export/sizes.json"])
def test_f13_what_a_run_says_it_has_made_is_there(launch, disk, tmp_path, what):
    """The power goes when `trireme launch` has just ended: model, index, exported tars, tables and report, each byte."""
    run = launch(TINY if what.startswith("final") else job(tmp_path / "job.json"), name="disk/run", sets=SETS if what.startswith("final") else WITHOUT_TRAINING).succeed(600)
    made = {str(path.relative_to(run.output)): path.read_bytes() for path in run.output.rglob("*") if path.is_file() and path.parent.name not in ("logs", "ledger")}
    assert what in made
    del made["targets.json"], made["LOCK"]  # of processes that are gone
    disk.cut(run)
    assert [path for path, content in made.items() if not (run.output / path).is_file() or (run.output / path).read_bytes() != content] == []
    assert system.trireme("audit", run.output).returncode == 0


@long
@pytest.mark.parametrize("seed", range(4))
def test_f13_the_power_goes_three_times(launch, disk, audit, seed):
    """At any time, also while the run before is being taken up."""
    when = random.Random(seed)
    for _ in range(3):
        run = launch(TINY, name="disk/run", sets=SETS)
        run.wait_for(lambda: (run.output / "ledger/mark").exists(), what="the ledger")
        time.sleep(when.uniform(0, 5))
        if run.process.poll() is None:
            disk.cut(run)
    run = launch(TINY, name="disk/run", sets=SETS).succeed(600)
    audit(run.output)


def test_f13_what_the_api_has_answered_is_there_when_the_power_comes_back(disk):
    data = {"synthetic": {"samples": 64, "shards": 2, "image_px": 32}}
    one = Service(disk.place)
    one.output = one.run
    try:
        held = one.processes("trireme-worker")[0]
        os.kill(held, signal.SIGSTOP)  # nothing gets on, all stay in the queue
        told = [one.answer("/api/v1/jobs", one.job(f"job-{i}", data), key=f"key-{i}") for i in range(6)]
        assert {status for status, _ in told} == {201}, told
        names = {document["id"]: document["name"] for _, document in told}
        cancelled = list(names)[-1]
        status, _ = one.answer(f"/api/v1/jobs/{cancelled}:cancel", {})
        assert status in (200, 202), status
        disk.cut(one)
    finally:
        one.stop()
    one = Service(disk.place)
    try:
        listed = {job["id"]: job["name"] for job in one.answer("/api/v1/jobs?limit=100")[1]["jobs"]}
        assert listed == names
        assert one.answer("/api/v1/jobs", one.job("job-0", data), key="key-0")[0] == 200  # the same key is the same job
        states = {job: one.ends(job)["state"] for job in names}
        assert states == {job: "CANCELLED" if job == cancelled else "SUCCEEDED" for job in names}
    finally:
        one.stop()
