"""A standing coordinator takes jobs over HTTP: submit, watch, list, cancel, events, tokens (RELIABILITY 4.3, F53-F60, F62)."""
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from conftest import BIN, EXAMPLES, ROOT, environment, trireme, weights


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    run = folder / "service"
    log = open(folder / "log", "w")
    process = subprocess.Popen(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "1", BIN / "trireme-coordinator", "--run-dir", run, "--data-root", folder, ":",
                                "-n", "2", BIN / "trireme-worker"], cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + 30
    while not (run / "endpoint.json").exists():
        assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.05)
    yield run
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def job_file(folder, name, **changes):
    job = json.loads((EXAMPLES / "tiny.json").read_text())
    job["name"] = name
    job["spec"]["output"] = str(folder / name)
    for stage in job["spec"]["stages"]:
        if stage["kind"] == "train":
            stage.update(changes)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job))
    return path


def submit(service, path):
    done = trireme("submit", path, "--run", service, "-o", "json", check=True)
    return json.loads(done.stdout)["id"]


def describe(service, job):
    return json.loads(trireme("describe", job, "--run", service, "-o", "json", check=True).stdout)


def test_submit_watch_and_the_result(service):
    job = submit(service, job_file(service.parent, "short", epochs=1))
    watched = trireme("watch", job, "--run", service, timeout=120)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert describe(service, job)["state"] == "SUCCEEDED"
    assert (service.parent / "short/final/model.safetensors").exists()
    assert job in trireme("list", "--run", service, check=True).stdout
    kinds = trireme("events", job, "--run", service, "--limit", 10000, check=True).stdout
    for kind in ("JobSubmitted", "LeaseGranted", "LeaseDone", "CheckpointCommitted"):
        assert kind in kinds


def test_cancel_is_quick_and_idempotent_and_the_next_job_runs(service):
    long = submit(service, job_file(service.parent, "long", epochs=2000))
    queued = submit(service, job_file(service.parent, "queued", epochs=1, seed=5))
    end = time.monotonic() + 60
    while ((describe(service, long).get("training") or {}).get("step") or 0) < 5:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert describe(service, queued)["state"] == "QUEUED"
    trireme("cancel", long, "--run", service, check=True)
    started = time.monotonic()
    while describe(service, long)["state"] != "CANCELLED":
        assert time.monotonic() - started < 5
        time.sleep(0.05)
    trireme("cancel", long, "--run", service, check=True)
    assert trireme("watch", queued, "--run", service, timeout=120).returncode == 0


def test_one_idempotency_key_is_one_job(service):
    endpoint = json.loads((service / "endpoint.json").read_text())["url"]
    token = (service / "token").read_text().strip()
    body = job_file(service.parent, "once", epochs=1).read_bytes()

    def post(payload, **headers):
        request = urllib.request.Request(endpoint + "/api/v1/jobs", data=payload, method="POST", headers={
            "Content-Type": "application/json", "Authorization": f"Bearer {token}", "Idempotency-Key": "k1", **headers})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    first = post(body)
    assert first[0] == 201
    for _ in range(3):
        status, again = post(body)
        assert status == 200 and again["id"] == first[1]["id"]
    assert post(body.replace(b'"once"', b'"other"'))[0] == 422
    assert post(body, Authorization="Bearer wrong")[0] == 401
    assert post(body, Origin="http://evil.example")[0] == 403
    status, problem = post(body.replace(b'"epochs"', b'"epocs"'), **{"Idempotency-Key": "k2"})
    assert status == 422 and "epochs" in json.dumps(problem["errors"])
    status, problem = post(body.replace(str(service.parent / "once").encode(), b"/etc/evil"), **{"Idempotency-Key": "k3"})
    assert status == 422 and "/spec/output" in json.dumps(problem["errors"])
