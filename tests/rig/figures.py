#!/usr/bin/env python3
"""The figures of docs/reliability.md, section 9, measured: wants a quiet machine, and root for the three hosts.

    tests/rig/figures.py [--repeat 5] [--only idle,api,killed,frozen,link] [--keep]

Prints every value and the medians; --keep adds them to tests/rig/figures.json and writes the table of the page anew from it.
Needs TRIREME_BIN or build/release/bin. About 12 minutes for everything.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/rig"), str(ROOT / "tests/support")]
import hosts as hosts_module  # noqa: E402
import rig  # noqa: E402
import test_http  # noqa: E402
import test_network  # noqa: E402

KEPT, PAGE = ROOT / "tests/rig/figures.json", ROOT / "docs/reliability.md"
BEGIN = "## 9. Figures\n"
# What is measured: name, words, unit, goal.
ROWS = [("killed worker", "kill -9 of a worker, to the next step", "s", "< 2"), ("killed orted", "kill -9 of a host's daemon, to the next step", "s", "< 2"),
        ("killed coordinator", "kill -9 of the coordinator, to the next step", "s", "< 2"), ("killed mpirun", "kill -9 of mpirun, to the next step", "s", "< 2"),
        ("frozen worker", "SIGSTOP of a worker (dead after 10 s), to the next step", "s", "< 13"), ("frozen coordinator", "SIGSTOP of the coordinator (dead after 10 s), to the next step", "s", "< 13"),
        ("link", "a cut cable (dead after 4 s), to the next step without that host", "s", "< 40"), ("link back", "the cable back after 30 s, to a step (0: it ran already)", "s", "< 10"),
        ("api p99", "status call, p99, while 24 clients submit, 16 follow logs and one sends the worst bodies", "ms", "< 50"),
        ("idle", "an idle service with two workers, share of a core", "%", "< 1")]
LONG = ["spec.stages.train.epochs=400", "spec.checkpoint.every_steps=8", "spec.retry.max_attempts=400", "spec.retry.backoff_seconds=0", "spec.retry.max_backoff_seconds=0"]


def tell(name, value):
    print(f"{name}: {value:.2f}", flush=True)
    return value


def idle(repeat):
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        one = test_http.Service(folder, workers=2)
        try:
            pids = one.processes("trireme-worker") + one.processes("trireme-coordin") + one.processes("mpirun") + [one.process.pid]
            time.sleep(5)
            return {"idle": [tell("idle", 100 * test_http.share_of_a_core(pids, 10)) for _ in range(repeat)]}
        finally:
            end(one)


def end(service):
    service.process.send_signal(signal.SIGTERM)
    try:
        service.process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    service.stop()


# One of the crowd, a process of its own: `figures.py --crowd KIND N ADDRESS URL TOKEN FOLDER`.
def crowd(kind, number, address, url, token, folder):
    import http.client
    import threading

    host, port = url.split("//")[1].split(":")
    common = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def call(method, path, body=None, read=True):
        connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(address, 0))
        try:
            connection.request(method, path, body, common)
            answer = connection.getresponse()
            if read:
                return answer.status, answer.read()
            while answer.read1(4096):
                pass
        except OSError:
            return 0, b""
        finally:
            connection.close()
        return 0, b""

    worst = json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "x", "spec": {f"key{i}": 1 for i in range(16000)}})

    def go(i):
        for turn in range(100000):
            if kind == "submit":
                job = {"apiVersion": "trireme/v1", "kind": "Pipeline", "name": f"j{number}-{i}-{turn}", "spec": {"output": f"{folder}/out/j{number}-{i}-{turn}", "data": {"train": {"synthetic": {"samples": 16, "shards": 1}}},
                       "stages": [{"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8}]}}
                call("POST", "/api/v1/jobs", json.dumps(job))
                time.sleep(0.2)
            elif kind == "follow":
                call("GET", "/api/v1/jobs/job-000001/logs?follow=1&tail=10", read=False)
                time.sleep(0.1)
            else:
                call("POST", "/api/v1/plan", worst)

    for i in range(number):
        threading.Thread(target=go, args=(i,), daemon=True).start()
    time.sleep(3600)


def api(repeat):
    """Four loopback addresses: eight submitters and five or six followers on each of three, the worst body and us on the last."""
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        one = test_http.Service(folder, workers=1)
        clients = []
        try:
            endpoint, token = json.loads((one.run / "endpoint.json").read_text()), (one.run / "token").read_text().strip()
            first = one.answer("/api/v1/jobs", one.job("first", {"synthetic": {"samples": 16, "shards": 1}}))
            assert first[0] == 201, first
            for address, kinds in (("127.0.0.2", [("submit", 8), ("follow", 6)]), ("127.0.0.3", [("submit", 8), ("follow", 5)]), ("127.0.0.4", [("submit", 8), ("follow", 5)]), ("127.0.0.1", [("worst", 1)])):
                for kind, number in kinds:
                    clients.append(subprocess.Popen([sys.executable, __file__, "--crowd", kind, str(number), address, endpoint["url"], token, folder]))
            time.sleep(3)
            return {"api p99": [tell("api p99", p99(endpoint["url"], token)) for _ in range(repeat)]}
        finally:
            for client in clients:
                client.kill()
                client.wait()
            end(one)


def p99(url, token, seconds=10):
    """Of status calls, one after another, on connections of their own; in ms."""
    times, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        request = urllib.request.Request(url + "/api/v1/jobs/job-000001", headers={"Authorization": f"Bearer {token}"})
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"a status call was refused: {error.code}")
        times.append(1000 * (time.monotonic() - begun))
        time.sleep(0.005)
    return sorted(times)[int(0.99 * len(times))]


class Steps:
    """When the next step of a later start is done: the log has a line more than that start began with."""

    def __init__(self, run):
        self.run, self.log = run, run.output / "stages/train/log.jsonl"
        self.before = self.look()

    def look(self):
        try:
            found = self.log.stat()
            return found.st_ino, found.st_size
        except FileNotFoundError:
            return 0, 0

    def next(self, timeout=120):
        begun, fresh = time.monotonic(), None
        while time.monotonic() - begun < timeout:
            assert self.run.process.poll() is None, self.run.text()[-3000:]
            number, size = self.look()
            if number != self.before[0]:
                if fresh is None or fresh[0] != number:
                    fresh = (number, size)
                elif size > fresh[1]:
                    return
            time.sleep(0.002)
        raise AssertionError(f"no step in {timeout} s: {self.run.text()[-3000:]}")


def settled(run):
    """Some steps into a start, with a checkpoint of its own."""
    rows = run.output / "stages/train/log.jsonl"
    run.wait_for(lambda: (run.output / "incarnation").exists() and run.step(since=run.incarnations() - 1) >= 1 and rows.exists(), what="a step")
    size = rows.stat().st_size
    run.wait_for(lambda: rows.stat().st_size > size + 12 * 200, what="twelve steps more")
    time.sleep(random.uniform(0, 0.3))


def on_three_hosts(sets, strikes):
    with tempfile.TemporaryDirectory(prefix="figures-") as folder, hosts_module.Hosts(3, relay=True, apart=True) as wired:
        run = test_network.OnHosts(wired, pathlib.Path(folder) / "run", sets=[*LONG, *sets])
        found = {}
        try:
            for name, strike in strikes:
                settled(run)
                for key, value in strike(run, wired).items():
                    found.setdefault(key, []).append(tell(key, value))
            return found
        finally:
            if run.process.poll() is None:
                os.killpg(run.process.pid, signal.SIGKILL)
            run.stop()


def hit(name, host, program, what):
    def strike(run, wired):
        steps = Steps(run)
        os.kill(test_network.processes(wired, host, program)[0], what)
        begun = time.monotonic()
        steps.next()
        return {name: time.monotonic() - begun}

    return name, strike


def killed(repeat):
    kinds = [("killed worker", 1, "trireme-worker"), ("killed orted", 1, "orted"), ("killed coordinator", 0, "trireme-coordin"), ("killed mpirun", 0, "mpirun")]
    return on_three_hosts([], [hit(*kind, signal.SIGKILL) for _ in range(repeat) for kind in kinds])


def frozen(repeat):
    kinds = [("frozen worker", 1, "trireme-worker"), ("frozen coordinator", 0, "trireme-coordin")]
    return on_three_hosts([], [hit(*kind, signal.SIGSTOP) for _ in range(repeat) for kind in kinds])


def link(repeat):
    def strike(run, wired):
        steps, begun = Steps(run), time.monotonic()
        wired.link(2, False)
        found, back = {}, None
        while time.monotonic() - begun < 30:
            try:
                steps.next(timeout=max(0.1, 30 - (time.monotonic() - begun)))
                found["link"] = time.monotonic() - begun
                break
            except AssertionError:
                if run.process.poll() is not None:
                    raise
        time.sleep(max(0, 30 - (time.monotonic() - begun)))
        wired.link(2, True)
        back = time.monotonic()
        if "link" in found:
            found["link back"] = 0.0
        else:
            steps.next()
            found["link back"] = time.monotonic() - back
        # All hosts again, for the next turn.
        again = Steps(run)
        os.kill(test_network.processes(wired, 1, "orted")[0], signal.SIGKILL)
        again.next()
        return found

    quick = [one for one in rig.QUICK if one not in rig.SHORT]
    return on_three_hosts(quick, [("link", strike)] * repeat)


def table(kept):
    newest = {}
    for entry in kept:
        for name, values in entry["values"].items():
            newest[name] = (entry, values)
    lines = ["", "Made by `tests/rig/figures.py`, which measures them; medians. The newest measurement of each counts.", "",
             "| what | median | from … to | n | goal | measured |", "|---|---|---|---|---|---|"]
    for name, words, unit, goal in ROWS:
        if name not in newest:
            lines.append(f"| {words} | not measured | | | {goal} {unit} | |")
            continue
        entry, values = newest[name]
        lines.append(f"| {words} | {statistics.median(values):.2f} {unit} | {min(values):.2f} … {max(values):.2f} | {len(values)} | {goal} {unit} | {entry['date']}, {entry['commit']}, {entry['machine']} |")
    return "\n".join(lines) + "\n"


def page():
    text = PAGE.read_text()
    head, rest = text.split(BEGIN, 1)
    _, rest = rest.split("\nWhat others publish", 1)
    return head + BEGIN + table(json.loads(KEPT.read_text()) if KEPT.exists() else []) + "\nWhat others publish" + rest


def main():
    if sys.argv[1:2] == ["--crowd"]:
        kind, number, address, url, token, folder = sys.argv[2:]
        return crowd(kind, int(number), address, url, token, folder)
    kinds = {"idle": idle, "api": api, "killed": killed, "frozen": frozen, "link": link}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default=",".join(kinds))
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    values, faults = {}, []
    for kind in given.only.split(","):
        try:
            values.update(kinds[kind](given.repeat))
        except AssertionError as fault:
            faults.append(f"{kind}: {fault}")
    for name, words, unit, goal in ROWS:
        if name in values:
            print(f"{words}: median {statistics.median(values[name]):.2f} {unit} of {len(values[name])} (goal {goal} {unit})")
    if given.keep and values:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else []
        kept.append({"date": datetime.date.today().isoformat(), "commit": commit, "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {platform.release().split('-')[0]}", "values": values})
        KEPT.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in kept) + "\n]\n")
        PAGE.write_text(page())
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
