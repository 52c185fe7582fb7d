"""Three hosts (network namespaces with process ids of their own) and what happens to the wires: F17, F21-F25 (RELIABILITY 7.2)."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from rig import PACED, QUICK, ROOT, SHORT, long, system
import hosts as hosts_module  # noqa: E402

pytest_plugins = ["rig"]

TINY = system.EXAMPLES / "tiny.json"


class OnHosts:
    """`trireme launch --hosts` from the first of them."""

    def __init__(self, hosts, output, slots=1, sets=(), job=TINY, env=None):
        self.hosts, self.output = hosts, pathlib.Path(output)
        words = [system.BIN / "trireme", "launch", job, "--set", f"spec.output={output}", "--hosts", ",".join(f"{a}:{slots}" for a in hosts.addresses), "--rsh-agent", hosts.agent,
                 "--network", hosts.network]
        for one in sets:
            words += ["--set", one]
        self.log = open(f"{output}.log", "w+")
        self.process = subprocess.Popen(hosts.command(0, words), cwd=ROOT, env=env or system.environment(), stdout=self.log, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def text(self):
        return pathlib.Path(self.log.name).read_text()

    def progress(self):
        return system.progress_of(self.output)

    def step(self, since=0):
        """Of an incarnation after that one."""
        progress = self.progress()
        return ((progress.get("training") or {}).get("step") or 0) if progress.get("incarnation", 0) > since else 0

    def wait_for(self, condition, timeout=120, what="it"):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if value := condition():
                return value
            assert self.process.poll() is None, f"ended before {what}:\n{self.text()[-4000:]}"
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come in {timeout} s:\n{self.text()[-4000:]}")

    def succeed(self, timeout=240):
        code = self.process.wait(timeout)
        assert code == 0, self.text()[-4000:]
        return self

    def incarnations(self):
        return int((self.output / "incarnation").read_text())

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def wired():
    if why := hosts_module.missing():
        pytest.skip(why)
    with hosts_module.Hosts(3, relay=True, apart=True) as hosts:
        yield hosts


@pytest.fixture
def on_hosts(wired, tmp_path):
    started = []

    def start(name="run", **options):
        started.append(OnHosts(wired, tmp_path / name, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()
    wired.wire()
    for host in range(3):
        wired.link(host, True)


def processes(hosts, host, name):
    found = []
    for pid in subprocess.run(["ip", "netns", "pids", hosts.names[host]], capture_output=True, text=True).stdout.split():
        try:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(int(pid))
        except OSError:
            pass
    return found


def test_f17_a_killed_daemon(on_hosts, wired, audit):
    run = on_hosts(sets=QUICK, env=system.environment(**PACED))
    run.wait_for(lambda: run.step() >= 22, what="step 22")
    os.kill(processes(wired, 1, "orted")[0], signal.SIGKILL)
    killed = time.monotonic()
    run.wait_for(lambda: run.step(since=1) > 0, what="the next step")
    print(f"next step {time.monotonic() - killed:.2f} s after kill -9 of orted")
    run.succeed()
    audit(run.output)


@long
def test_f21_a_link_down_for_two_seconds(on_hosts, wired, audit):
    run = on_hosts(sets=QUICK, env=system.environment(**PACED))
    run.wait_for(lambda: run.step() >= 22, what="step 22")
    wired.link(1, False)
    time.sleep(2)
    wired.link(1, True)
    run.succeed()
    assert run.incarnations() <= 2
    audit(run.output)


def test_f22_a_cut_host_is_left_out_and_comes_back(on_hosts, wired):
    """Twelve slots on three hosts with two workers each: six, then four, then six again."""
    twelve = ["spec.stages.train.logical_slots=12", "spec.stages.train.global_batch=96"]
    run = on_hosts(slots=2, sets=[*QUICK, *twelve, "spec.stages.train.epochs=60"])
    run.wait_for(lambda: run.step() >= 20, what="step 20")
    wired.link(2, False)
    cut = time.monotonic()
    run.wait_for(lambda: run.step(since=1) > 0, timeout=60, what="a step without the host")
    seconds = time.monotonic() - cut
    print(f"running without the host {seconds:.1f} s after the cut")
    assert seconds < 40 and f"host {wired.addresses[2]} is left out" in run.text(), run.text()
    assert len(run.progress()["workers"]) == 4
    wired.link(2, True)
    os.kill(processes(wired, 1, "orted")[0], signal.SIGKILL)  # after a worker that was killed in place nobody is asked
    before = run.progress()["incarnation"]
    run.wait_for(lambda: run.step(since=before) > 0, timeout=60, what="a step with all hosts")
    assert len(run.progress()["workers"]) == 6, run.text()
    os.killpg(run.process.pid, signal.SIGKILL)
    end = time.monotonic() + 15  # whoever was cut off has ended itself
    while any(processes(wired, host, "trireme-worker") for host in range(3)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not [pid for host in range(3) for pid in processes(wired, host, "trireme-worker")]


@long
@pytest.mark.parametrize("way", ["in", "out"])
def test_f23_one_way_is_as_bad_as_both(on_hosts, wired, audit, way):
    run = on_hosts(sets=QUICK, env=system.environment(**PACED))
    run.wait_for(lambda: run.step() >= 22, what="step 22")
    wired.wire(**{"target" if way == "in" else "source": 2}, cut=True)
    time.sleep(8)
    wired.wire()
    run.succeed()
    assert run.incarnations() >= 2
    audit(run.output)


@long
def test_f24_loss_delay_and_duplicates(on_hosts, wired, audit):
    wired.wire(delay_ms=5, jitter_ms=5, loss=0.01, double=0.01)
    run = on_hosts(sets=SHORT).succeed(600)
    assert run.incarnations() == 1
    audit(run.output)


@long
def test_f25_a_narrow_wire_is_no_death(on_hosts, wired, audit):
    wired.wire(bits_per_second=1e7)
    run = on_hosts(sets=SHORT).succeed(600)
    assert run.incarnations() == 1
    audit(run.output)
