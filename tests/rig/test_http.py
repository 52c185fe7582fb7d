"""A standing coordinator, and what clients and jobs try with it: F55, F61, F63 and the figures of an idle service (RELIABILITY 7.2)."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from rig import ROOT, long, system

pytest_plugins = ["rig"]

TINY = json.loads((system.EXAMPLES / "tiny.json").read_text())


class Service(system.Supervised):
    def __init__(self, top, workers=1, env=None, more=()):
        self.top, self.run = pathlib.Path(top), pathlib.Path(top) / "out/service"
        for folder in ("data", "out"):
            (self.top / folder).mkdir(parents=True, exist_ok=True)
        super().__init__(["launch", "-n", str(workers), "--run-dir", str(self.run), "--data-root", str(self.top / "data"), "--output-root", str(self.top / "out"), *more],
                         str(self.top / "service.log"), env=env)
        self.wait_for(lambda: (self.run / "endpoint.json").exists() and self.answer("/readyz")[0] == 200, what="the API")

    def answer(self, path, body=None, key=None, timeout=60):
        """(status, document)"""
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        try:
            endpoint = json.loads((self.run / "endpoint.json").read_text())  # not there between two starts
            headers = {"Authorization": "Bearer " + (self.run / "token").read_text().strip(), "Content-Type": "application/json"}
            if key:
                headers["Idempotency-Key"] = key
            with urllib.request.urlopen(urllib.request.Request(endpoint["url"] + path, data=data, headers=headers), timeout=timeout) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text.startswith(("{", "[")) else text
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            return error.code, json.loads(text) if text.startswith("{") else text
        except OSError as error:
            return 0, str(error)

    def job(self, name, data, stages=({"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8},), **spec):
        return {"apiVersion": "trireme/v1", "kind": "Pipeline", "name": name, "spec": {"output": str(self.top / "out" / name), "data": {"train": data}, "stages": list(stages), **spec}}

    def ends(self, job):
        """The document of a job that is over."""
        return self.wait_for(lambda: (found := self.answer(f"/api/v1/jobs/{job}")[1])["state"] in ("SUCCEEDED", "FAILED", "CANCELLED") and found, what=f"the end of {job}")


@pytest.fixture
def service(tmp_path):
    started = []

    def start(**options):
        started.append(Service(tmp_path, **options))
        return started[-1]

    yield start
    for one in started:
        one.process.send_signal(signal.SIGTERM)
        try:
            one.process.wait(20)
        except Exception:
            pass
        one.stop()


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests/data/pictures/plain.jpg", path) if (ROOT / "tests/data/pictures/plain.jpg").exists() else path.write_bytes(PNG)


# 1 × 1, grey
PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010800000000 3a7e9b55".replace(" ", "")) + bytes.fromhex("0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082")


def opened(service, path):
    """Whether any process of the service has touched it: its access time moves on any read."""
    return os.stat(path).st_atime_ns


def test_f61_jobs_over_http_stay_within_their_roots(service, tmp_path):
    """A row of a list, a link in a folder, an output swapped for a link after it was sent, the coordinator's own folder."""
    one = service()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.png").write_bytes(PNG)
    (secret / "a.txt").write_text("secret words")
    data = tmp_path / "data"
    picture(data / "rows/inside.png")
    rows = ["filepath\ttitle", "inside.png\tfine", f"{secret}/a.png\tabsolute", "../../secret/a.png\tup", "away/a.png\tlink"]
    (data / "rows/list.tsv").write_text("\n".join(rows) + "\n")
    (data / "rows/away").symlink_to(secret)
    os.utime(secret / "a.png", (1, 1))
    status, sent = one.answer("/api/v1/jobs", one.job("rows", str(data / "rows/list.tsv")))
    assert status == 201, sent
    ended = one.ends(sent["id"])
    counts = [stage["counts"] for stage in ended["stages"] if stage["kind"] == "filter"]
    assert ended["state"] == "FAILED" or counts[0].get("in", 0) <= 1, ended
    assert os.stat(secret / "a.png").st_atime <= 1 + 1e-6, "the picture outside was read"

    tar = data / "shards"
    tar.mkdir()
    (tar / "00000.tar").symlink_to(secret / "a.txt")
    os.utime(secret / "a.txt", (1, 1))
    status, sent = one.answer("/api/v1/jobs", one.job("shards", str(tar)))
    if status == 201:
        assert one.ends(sent["id"])["state"] == "FAILED"
    assert os.stat(secret / "a.txt").st_atime <= 1 + 1e-6, "the shard outside was read"

    # Between the answer and the first write.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.kill(one.processes("trireme-coordin")[0], signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waits = pool.submit(one.answer, "/api/v1/jobs", one.job("swapped", str(data / "rows/list.tsv")))
        time.sleep(0.3)
        (tmp_path / "out/swapped").symlink_to(elsewhere)
        os.kill(one.processes("trireme-coordin")[0], signal.SIGCONT)
        status, sent = waits.result()
    if status == 201:
        assert one.ends(sent["id"])["state"] == "FAILED"
    assert not list(elsewhere.iterdir())

    for member in ("output", "store"):
        job = one.job("own", str(data / "rows/list.tsv"))
        job["spec"][member] = str(one.run / "ledger")
        status, refused = one.answer("/api/v1/jobs", job)
        assert status == 422 and refused["errors"][0]["code"] == "run_folder", refused


def test_f55_a_lost_answer_is_one_job(service, tmp_path):
    one = service(env=system.environment(TRIREME_FAULT="http.after_commit_before_response:4:kill9", TRIREME_FAULT_RANK=0))
    picture(tmp_path / "data/a/b.png")
    (tmp_path / "data/a/b.txt").write_text("a picture")
    job = one.job("lost", str(tmp_path / "data/a"))
    end, answers = time.monotonic() + 60, []
    while time.monotonic() < end and (not answers or answers[-1][0] not in (200, 201)):
        answers.append(one.answer("/api/v1/jobs", job, key="once"))
        time.sleep(0.1)
    assert answers[-1][0] in (200, 201), answers[-3:]
    listed = one.answer("/api/v1/jobs")[1]["jobs"]
    assert [one["name"] for one in listed] == ["lost"]


@long
def test_f63_the_queue_has_an_end(service, tmp_path):
    one = service()
    os.mkdir(tmp_path / "data/empty")
    codes = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        os.kill(one.processes("trireme-worker")[0], signal.SIGSTOP)
        codes = list(pool.map(lambda i: one.answer("/api/v1/jobs", one.job(f"j{i}", {"synthetic": {"samples": 16, "shards": 1}}))[0], range(1010)))
        os.kill(one.processes("trireme-worker")[0], signal.SIGCONT)
    assert set(codes) == {201, 429}, {code: codes.count(code) for code in set(codes)}
    assert 990 <= codes.count(201) <= 1001
    took = []
    for _ in range(9):
        begun = time.monotonic()
        listed = one.answer("/api/v1/jobs?limit=100")[1]["jobs"]
        took.append(time.monotonic() - begun)
        assert len(listed) == 100
    print(f"a page of a hundred of a thousand jobs: {1e3 * sorted(took)[4]:.1f} ms")
    assert sorted(took)[4] < 0.05


def share_of_a_core(pids, seconds):
    def ticks():
        return sum(sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13])) for pid in pids)

    before, begun = ticks(), time.monotonic()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun)


@long
def test_an_idle_service_costs_little(service):
    """Two workers, the coordinator and the supervisor together, over ten seconds: under 1 % of a core."""
    one = service(workers=2)
    pids = one.processes("trireme-worker") + one.processes("trireme-coordin") + [one.process.pid]
    time.sleep(5)
    share = share_of_a_core(pids, 10)
    print(f"idle service with two workers: {100 * share:.2f} % of a core")
    assert share < 0.01
