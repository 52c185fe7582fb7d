#!/usr/bin/env python3
"""What several hosts cost: medians of three, on a quiet machine, as root.

    TRIREME_BIN=build/release/bin tests/bench/cluster_figures.py [start] [tests]

start  from `trireme launch` to the first task, on one and on three network namespaces (at most 2 s more is asked)
tests  tests/system/test_cluster.py (at most 90 s is asked) and test_slurm.py (60 s)"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402

BIN = pathlib.Path(os.environ.get("TRIREME_BIN", ROOT / "build/release/bin")).resolve()
ROUNDS = int(os.environ.get("ROUNDS", 3))
PATIENCE = 300  # seconds; a figure of a busy machine is worth nothing, but is told


def first_task(hosts, spec, folder):
    words = [BIN / "trireme", "launch", ROOT / "jobs/examples/tiny.json", "--set", f"spec.output={folder}", "--hosts", spec, "--rsh-agent", hosts.agent, "--network", hosts.network]
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    log = pathlib.Path(f"{folder}.log")
    began = time.monotonic()
    process = subprocess.Popen(hosts.command(0, words), cwd=ROOT, env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT)
    try:
        while not any(folder.glob("store/synthesize/*")):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f"no task in {folder}: {log.read_text()[-2000:]}")
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        process.terminate()  # a checkpoint, and all ranks are gone
        process.wait()


def start():
    with hosts_module.Hosts(3) as hosts, tempfile.TemporaryDirectory() as folder:
        specs = {"one": f"{hosts.addresses[0]}:3", "three": ",".join(f"{address}:1" for address in hosts.addresses)}
        took = {name: [] for name in specs}
        for i in range(ROUNDS):
            for name, spec in specs.items():
                took[name].append(first_task(hosts, spec, pathlib.Path(folder) / f"{name}{i}"))
    middle = {name: statistics.median(values) for name, values in took.items()}
    print(f"to the first task: one host {middle['one']:.2f} s, three hosts {middle['three']:.2f} s, {middle['three'] - middle['one']:+.2f} s (asked: at most +2 s); "
          + "; ".join(f"{name} {' '.join(f'{value:.2f}' for value in values)}" for name, values in took.items()))


def tests():
    for name, limit in (("test_cluster.py", 90), ("test_slurm.py", 60)):
        took = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/system" / name], cwd=ROOT, env=dict(os.environ, TRIREME_BIN=str(BIN)), capture_output=True, text=True)
            took.append(time.monotonic() - began)
            if done.returncode != 0:
                sys.exit(done.stdout[-3000:])
        print(f"{name}: {statistics.median(took):.1f} s (asked: at most {limit} s); {' '.join(f'{value:.1f}' for value in took)}")


if __name__ == "__main__":
    if why := hosts_module.missing():
        sys.exit(why)
    for part in sys.argv[1:] or ["start", "tests"]:
        {"start": start, "tests": tests}[part]()
