"""`trireme sweep`: many jobs on one fleet, shared stages once, kill -9 of anything, one table that is what the runs say."""
import csv
import json
import os
import pathlib
import signal
import sqlite3
import statistics
import time

import pytest

from conftest import EXAMPLES, Supervised, trireme

SHARDS = 4


def tiny():
    """tiny.json made smaller: 4 + 2 shards, 16 steps, no index."""
    job = json.loads((EXAMPLES / "tiny.json").read_text())
    job["spec"]["data"]["train"]["synthetic"].update(samples=512, shards=SHARDS, swapped=0.25)
    job["spec"]["data"]["test"]["synthetic"].update(samples=64, shards=2)
    job["spec"]["stages"] = [stage for stage in job["spec"]["stages"] if stage["kind"] != "index"]
    job["spec"]["stages"][0]["epochs"] = 2
    job["spec"]["checkpoint"]["every_steps"] = 4
    job["spec"]["retry"]["no_progress_limit"] = 10  # three kills may all hit one run at its start
    return job


def write_sweep(folder, **changes):
    document = {"apiVersion": "trireme/v1", "kind": "Sweep", "name": "little", "about": "two arms", "output": str(folder / "out"), "base": tiny(),
                "arms": {"InfoNCE": {}, "ALIP": {"spec.stages.train.loss": {"texts": "both", "gates": {"sample": True, "text": True, "caption": True}}}},
                "seeds": [1, 2], "baseline": "InfoNCE", **changes}
    path = folder / "sweep.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def sweep(tmp_path):
    started = []

    def start(path):
        started.append(Supervised(["sweep", path, "-n", "2"], tmp_path / "log", mode="a"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def result(folder):
    try:
        return json.loads((folder / "out/sweep.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def progress(folder):
    try:
        return json.loads((folder / "out/fleet/progress.json").read_text()).get("job") or {}
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def rows(folder, query):
    return sqlite3.connect(f"file:{folder}/out/fleet/ledger/state.db?mode=ro", uri=True).execute(query).fetchall()


def audit(folder):
    """The table against the evaluation.json files themselves."""
    document = result(folder)
    assert document["finished"] and document["runs_done"] == 4 and document["runs_failed"] == 0, document
    seen = {}
    for run in document["runs"]:
        assert run["state"] == "SUCCEEDED"
        files = json.loads((pathlib.Path(run["output"]) / "stages/evaluate/evaluation.json").read_text())["metrics"]
        assert {f"evaluate.{name}": value for name, value in files.items()}.items() <= run["metrics"].items()
        assert (pathlib.Path(run["output"]) / "report.html").exists()
        for name, value in run["metrics"].items():
            seen.setdefault((run["row"], name), []).append((run["seed"], value))
    for row in document["table"]:
        for name, cell in row["metrics"].items():
            values = [value for _, value in sorted(seen.get((row["row"], name), []))]
            assert cell["values"] == values and cell["n"] == len(values)
            if len(values) == 2:
                assert cell["mean"] == pytest.approx(statistics.mean(values)) and cell["spread"] == pytest.approx(statistics.stdev(values))
    main = document["main_metric"]
    assert main == "evaluate.mean_recall@1"
    assert {row["row"]: row["metrics"][main]["n"] for row in document["table"]} == {"InfoNCE": 2, "ALIP": 2}
    difference = [a - b for (_, a), (_, b) in zip(sorted(seen["ALIP", main]), sorted(seen["InfoNCE", main]))]
    assert document["table"][1]["against_baseline"]["mean"] == pytest.approx(statistics.mean(difference))
    return document


def test_a_sweep_that_everything_is_killed_in(sweep, tmp_path):
    path = write_sweep(tmp_path)
    first = sweep(path)
    first.wait_for(lambda: result(tmp_path).get("runs_done", 0) >= 1, timeout=150, what="the first run")
    first.wait_for(lambda: progress(tmp_path).get("state") == "RUNNING", timeout=150, what="the second run")
    os.kill(first.process.pid, signal.SIGKILL)  # the command itself
    first.process.wait()
    end = time.monotonic() + 20
    while any(first.processes(name) for name in ("mpirun", "trireme-coordin", "trireme-worker")):
        assert time.monotonic() < end, "orphans"
        time.sleep(0.05)
    done_before = {run["key"]: run["job"] for run in result(tmp_path)["runs"] if run["state"] == "SUCCEEDED"}
    assert 1 <= len(done_before) < 4

    second = sweep(path)
    for victim in ("trireme-coordin", "mpirun"):
        second.wait_for(lambda: second.processes(victim) and progress(tmp_path).get("state") == "RUNNING", timeout=150, what=f"a run with a {victim}")
        before = result(tmp_path)["runs_done"]
        os.kill(second.processes(victim)[0], signal.SIGKILL)
        second.wait_for(lambda: result(tmp_path)["runs_done"] > before or second.process.poll() is not None, timeout=150, what="a run after the kill")
    assert second.process.wait(200) == 0, second.text()[-4000:]

    document = audit(tmp_path)
    assert {key: job for key, job in ((run["key"], run["job"]) for run in document["runs"]) if key in done_before} == done_before  # not run again
    jobs = rows(tmp_path, "SELECT job, state FROM jobs")
    assert len(jobs) == 4 and {state for _, state in jobs} == {"SUCCEEDED"}
    # Rendering and inspecting were done once, by the first run; the other three found the results.
    leases = rows(tmp_path, "SELECT job, stage, result FROM leases WHERE state = 'done'")
    for kind in ("synthesize:train/0", "inspect:train", "synthesize:test/0", "inspect:test"):
        stage = {(job, position) for job, position, name in rows(tmp_path, "SELECT job, position, stage FROM stages") if name == kind}
        assert len(stage) == 4, kind
        owners = {job for job, position, what in leases if (job, position) in stage and not json.loads(what)["reused"]}
        assert owners == {"job-000001"}, (kind, owners)
    assert document["tasks_reused"] >= 3 * 2 * (SHARDS + 2)
    made = document["made_with"]
    assert made["sessions"] == 2 and made["wall_seconds"] > 1 and made["commit"] and made["host"] and made["workers"] == 2

    # ALIP's weights are known to the table: the truth of the synthetic source is.
    alip = next(row for row in document["table"] if row["arm"] == "ALIP")
    assert 0 <= alip["metrics"]["train.auc.weight.sample"]["mean"] <= 1
    page = (tmp_path / "out/report.html").read_text()
    assert "InfoNCE" in page and made["commit"] in page and "<circle" in page and "<script" not in page
    runs = list(csv.DictReader((tmp_path / "out/runs.csv").open(newline="")))
    assert len(runs) == 4 and {row["state"] for row in runs} == {"SUCCEEDED"}
    of_run = (pathlib.Path(document["runs"][0]["output"]) / "report.html").read_text()
    assert "<h2>Timeline</h2>" in of_run and ">w1</text>" in of_run and "similarity.text" in of_run

    # Once more: nothing is left to do, no fleet is started.
    incarnation = (tmp_path / "out/fleet/incarnation").read_text()
    again = trireme("sweep", path, "-n", "2", timeout=30)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "±" in again.stdout and (tmp_path / "out/fleet/incarnation").read_text() == incarnation
    assert audit(tmp_path)["table"] == document["table"]


def test_a_failed_run_is_in_the_table_and_in_the_exit_code(tmp_path):
    path = write_sweep(tmp_path, arms={"good": {}, "bad": {"spec.data.test": str(tmp_path / "out")}}, seeds=[1], baseline="good")
    done = trireme("sweep", path, "-n", "2", timeout=200)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0/1, 1 failed" in done.stdout and "FAILED bad, seed 1: " in done.stdout
    document = result(tmp_path)
    assert document["finished"] and document["runs_failed"] == 1 and document["runs_done"] == 1
    bad = next(run for run in document["runs"] if run["row"] == "bad")
    assert bad["state"] == "FAILED" and bad["cause"]
    assert "failed" in (tmp_path / "out/report.html").read_text()
    assert trireme("sweep", path, "-n", "2", timeout=30).returncode == 1  # known, and not tried again
    retried = trireme("sweep", path, "-n", "2", "--retry-failed", timeout=100)
    assert retried.returncode == 1 and next(run for run in result(tmp_path)["runs"] if run["row"] == "bad")["attempt"] == 1


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on(sweep, tmp_path):
    path = write_sweep(tmp_path, seeds=[1])
    run = sweep(path)
    run.wait_for(lambda: progress(tmp_path).get("state") == "RUNNING", timeout=150, what="a run")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(40) == 75, run.text()
    assert "Start the same command again" in run.text()
    assert trireme("sweep", path, "-n", "2", timeout=200).returncode == 0


def test_bad_sweep_files_are_refused_with_every_fault(tmp_path):
    path = write_sweep(tmp_path, arms={"a": {"spec.stages.train.epocs": 1}}, seeds=[1, 1], metrcs=["evaluate.acc1"], baseline="b")
    done = trireme("sweep", path)
    assert done.returncode == 2
    for what in ("/metrcs", 'did you mean "metrics"?', "/seeds/1", "/baseline"):
        assert what in done.stderr, done.stderr
    path = write_sweep(tmp_path, arms={"a": {"spec.stages.train.epocs": 1}}, baseline="a")
    done = trireme("sweep", path, "--dry-run")
    assert done.returncode == 2 and "/arms/a/spec.stages.train.epocs" in done.stderr and "epochs" in done.stderr
    assert trireme("sweep", tmp_path / "nowhere.json").returncode == 3
    listed = trireme("sweep", write_sweep(tmp_path), "--dry-run", check=True)
    assert "4 runs, 2 rows" in listed.stdout and not (tmp_path / "out").exists()
