"""Real processes: mpirun, the coordinator, workers, Prometheus, a browser. TRIREME_BIN names the built programs."""
import collections
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TRIREME_BIN", ROOT / "build/release/bin")).resolve()
SHARED = pathlib.Path(os.environ.get("TRIREME_SHARED", ROOT.parent / "shared"))
EXAMPLES = ROOT / "jobs/examples"

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, what we start would inherit that it is ignored


def environment(**extra):
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    env.setdefault("TRIREME_DEVICE", "cpu")  # what is judged here are the CPU's bits
    env.update({k: str(v) for k, v in extra.items()})
    return env


def paced(steps, ms=40):
    """For environment(): each of the first start's steps takes so much more, so that who waits for one acts before the run is over, on any machine."""
    return {"TRIREME_FAULT": ",".join(f"train.after_step_before_ack:{hit}:delay_ms:{ms}" for hit in range(1, steps + 1))}


def trireme(*arguments, cwd=ROOT, timeout=300, env=None, check=False):
    done = subprocess.run([BIN / "trireme", *map(str, arguments)], cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


class Supervised:
    """A `trireme` command that starts mpirun, in its own process group, with its output in a log."""

    def __init__(self, arguments, log, mode="w", env=None):
        self.log = open(log, mode)
        self.process = subprocess.Popen([BIN / "trireme", *arguments], cwd=ROOT, env=env or environment(), stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)

    def text(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def wait_for(self, condition, timeout=120, what="the condition"):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            assert self.process.poll() is None, f"ended early ({self.process.returncode}) before {what}:\n{self.text()[-4000:]}"
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come in {timeout} s:\n{self.text()[-4000:]}")

    def processes(self, name):
        """Pids of the programs of that name that this supervisor started."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "comm").read_text().strip() != name[:15]:
                    continue
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"TRIREME_SUPERVISOR_PID={self.process.pid}".encode() in variables:
                found.append(int(entry.name))
        return sorted(found)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for name in ("mpirun", "trireme-coordin", "trireme-worker"):
            for pid in self.processes(name):
                os.kill(pid, signal.SIGKILL)
        self.log.close()


def progress_of(output):
    """progress.json with the job's own document laid over it (coordinator/api/API.md)."""
    try:
        document = json.loads((output / "progress.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {**document, **(document.get("job") or {})}


def counted_twice(output):
    """(stage, name) of counts that tasks of two kinds of a stage made: the stage's sum would hold them twice."""
    database = output / "ledger/state.db"
    if not database.exists():
        return []
    phases = collections.defaultdict(set)
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as ledger:
        for job, stage, task, result in ledger.execute("SELECT job, stage, task, result FROM leases WHERE state = 'done'"):
            for name, count in json.loads(result).get("counts", {}).items():
                if count:
                    phases[job, stage, name].add(task.split(".")[1])
    return sorted(key for key, found in phases.items() if len(found) > 1)


class Launch(Supervised):
    """`trireme launch` with the files of its run folder at hand."""

    def __init__(self, job, output, workers=2, sets=(), env=None, more=()):
        self.output = pathlib.Path(output)
        arguments = ["launch", "-n", str(workers), str(job), "--set", f"spec.output={output}"]
        for one in sets:
            arguments += ["--set", one]
        arguments += map(str, more)
        self.started = time.monotonic()
        self.before = self.progress().get("incarnation", 0)
        super().__init__(arguments, f"{output}.launch.log", env=env)

    def progress(self):
        return progress_of(self.output)

    def step(self):
        """Of this launch, not of one before it in the same folder."""
        progress = self.progress()
        return ((progress.get("training") or {}).get("step") or 0) if progress.get("incarnation", 0) > self.before else 0

    def wait(self, timeout=300):
        code = self.process.wait(timeout)
        self.seconds = time.monotonic() - self.started
        self.log.flush()
        return code

    def succeed(self, timeout=300):
        code = self.wait(timeout)
        assert code == 0, f"exit {code}:\n{self.text()[-6000:]}\n{self.rank_logs()[-4000:]}"
        assert not counted_twice(self.output), counted_twice(self.output)
        return self

    def rank_logs(self):
        return "\n".join(p.read_text()[-3000:] for p in sorted((self.output / "logs").glob("*.log")))


@pytest.fixture
def launch(tmp_path):
    started = []

    def start(job, name="run", **options):
        one = Launch(job, tmp_path / name, **options)
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The tiny deterministic job, undisturbed, on 2 workers: what every recovery is compared with."""
    run = Launch(EXAMPLES / "tiny.json", tmp_path_factory.mktemp("tiny") / "run")
    try:
        run.succeed()
    finally:
        run.stop()
    return run


def weights(run):
    return (run.output / "final/model.safetensors").read_bytes()


def log_rows(run, stage="train"):
    return [json.loads(line) for line in (run.output / f"stages/{stage}/log.jsonl").read_text().splitlines()]


def need_shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent: this test needs the shared real data (set TRIREME_SHARED)")
    return path


def need_program(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name
