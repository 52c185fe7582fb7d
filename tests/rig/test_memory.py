"""Memory by control groups, and the kernel's killer set going: F10 (RELIABILITY 7.2)."""
import contextlib
import io
import json
import os
import pathlib
import re
import struct
import tarfile
import threading
import time
import zlib

import pytest

from rig import QUICK, SHORT, system

pytest_plugins = ["rig"]

WITHOUT_TRAINING = [one for one in QUICK if one not in SHORT]
VERSION_1, VERSION_2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
BIG = 7000  # px: 147 MB decoded, within what a picture may cost


class Group:
    """A control group with a limit of memory (v1 or v2)."""

    def __init__(self, name):
        self.first = (VERSION_1 / "memory.limit_in_bytes").exists()
        self.home = VERSION_1 if self.first else VERSION_2
        if not self.first:
            (self.home / "cgroup.subtree_control").write_text("+memory")
        self.folder = self.home / name
        self.folder.mkdir()

    def limit(self, size):
        (self.folder / ("memory.limit_in_bytes" if self.first else "memory.max")).write_text(str(size))
        if not self.first:
            (self.folder / "memory.swap.max").write_text("0")

    def own(self):
        """Bytes that are nobody's file: what cannot be dropped."""
        words = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return sum(int(words.get(name, 0)) for name in (("total_rss", "total_shmem") if self.first else ("anon", "shmem")))

    def kills(self):
        return int(re.search(r"^oom_kill (\d+)", (self.folder / ("memory.oom_control" if self.first else "memory.events")).read_text(), re.M)[1])

    @contextlib.contextmanager
    def around(self):
        """Whatever is started within it is in the group from its first instruction on."""
        name = re.search(r"^\d+:memory:(.*)$" if self.first else r"^0::(.*)$", pathlib.Path("/proc/self/cgroup").read_text(), re.M)[1]
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (self.home / name.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        end = time.monotonic() + 10
        while self.folder.exists():
            try:
                self.folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)


@pytest.fixture
def group(request):
    if os.geteuid() != 0:
        pytest.skip("a control group needs root")
    try:
        one = Group(f"trireme-test-{os.getpid()}")
    except OSError as error:
        pytest.skip(f"no control group for memory can be made here: {error}")
    yield one
    request.getfixturevalue("launch")  # its processes have left before
    one.remove()


def png(px, grey):
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    packer, rows = zlib.compressobj(), []
    for row in range(px):
        rows.append(packer.compress(b"\0" + bytes((grey, row % 251, 255 - grey)) * px))
    rows.append(packer.flush())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", px, px, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b"")


def pictures(folder, big):
    """4 shards of 16 small pictures each; one of the second shard is big."""
    folder.mkdir()
    for shard in range(4):
        with tarfile.open(folder / f"{shard:05}.tar", "w") as archive:
            for i in range(16):
                key, px = f"{shard:02}{i:02}", BIG if big and (shard, i) == (1, 5) else 64
                for suffix, data in (("png", png(px, 16 * i)), ("txt", f"a picture of number {key}".encode())):
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


def job(path, data):
    document = {"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "memory",
                "spec": {"data": {"train": {"path": str(data)}},
                         "stages": [{"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8}, {"name": "export", "kind": "export", "needs": ["filter"], "data": ["train"]}]}}
    path.write_text(json.dumps(document))
    return path


def keys_of(run):
    return sorted(member.name[:-4] for tar in sorted((run.output / "export/export").glob("*.tar")) for member in tarfile.open(tar) if member.name.endswith(".png"))


def needs(launch, group, file, name):
    """Bytes that the whole run has in hand at its worst moment."""
    most, over = [0], threading.Event()

    def watch():
        while not over.wait(0.005):
            most[0] = max(most[0], group.own())

    with group.around():
        run = launch(file, name=name, sets=WITHOUT_TRAINING)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run.succeed(300)
    finally:
        over.set()
        watcher.join()
    return run, most[0]


def test_f10_a_picture_that_the_kernel_kills_for_is_quarantined(launch, group, tmp_path):
    """All processes of the run in one group that has no room for the one big picture: whoever decodes it is killed, twice; then the job goes on without it."""
    fine, base = needs(launch, group, job(tmp_path / "fine.json", pictures(tmp_path / "small", False)), "fine")
    file = job(tmp_path / "job.json", pictures(tmp_path / "pictures", True))
    group.limit(base + (100 << 20))
    with group.around():
        run = launch(file, sets=WITHOUT_TRAINING)
    run.succeed(300)
    assert group.kills() == 2, run.text()
    assert run.text().count("was killed by signal 9 (out of memory)") >= 2, run.text()
    assert (run.output / "incarnation").read_text() == "3\n"
    assert keys_of(run) == [key for key in keys_of(fine) if key != "0105"]
    [one] = run.progress()["quarantine"]
    assert one["sample"] == "0105" and one["state"] == "quarantined" and one["deaths"] == 2 and "signal 9 (out of memory)" in one["last"], one
    assert system.trireme("audit", run.output).returncode == 0


def test_f10_too_little_memory_for_any_sample_ends_the_job_by_that_reason(launch, group, tmp_path):
    file = job(tmp_path / "job.json", pictures(tmp_path / "small", False))
    _, base = needs(launch, group, file, "fine")
    group.limit(base * 6 // 10)
    with group.around():
        run = launch(file, sets=[*WITHOUT_TRAINING, "spec.retry.max_attempts=3"])
    assert run.wait(300) != 0
    terminal = json.loads((run.output / "terminal.json").read_text())
    assert terminal["state"] == "FAILED" and "out of memory" in terminal["reason"], terminal
    assert int((run.output / "incarnation").read_text()) == 3, "it was tried more often, or less"
