"""The batch files of docker/slurm under a Slurm that the test starts (two nodes, no munge)."""
import json
import os
import sys

import pytest

from conftest import BIN, EXAMPLES, ROOT, weights

sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402
import slurm as slurm_module  # noqa: E402

SCRIPTS = ROOT / "docker/slurm"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if why := slurm_module.missing():
        pytest.skip(why)
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    with hosts_module.Hosts(2) as hosts, slurm_module.Slurm(hosts, tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


def ended(slurm, job, seconds=60):
    slurm.wait_for(lambda: slurm.state(job)[0] not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"), seconds, f"the end of job {job}: {slurm.output(job)[-2000:]}")
    return slurm.state(job)


def committed_step(run):
    try:
        document = json.loads((run / "progress.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    return ((document.get("job") or {}).get("training") or {}).get("step") or 0


def job_words(run, *more):
    return [EXAMPLES / "tiny.json", "--set", f"spec.output={run}", "--network", "10.77.0.0/24", *more]


def test_a_signal_before_the_time_limit_is_a_checkpoint_and_the_requeued_job_goes_on(cluster, tiny_run, tmp_path):
    run = tmp_path / "run"
    job = cluster.sbatch(SCRIPTS / "job.sbatch", *job_words(run, "--set", "spec.checkpoint.every_steps=0"), cwd=ROOT)
    cluster.wait_for(lambda: committed_step(run) >= 20, 40, f"step 20: {cluster.output(job)[-2000:]}")
    cluster.call("scancel", "--batch", "--signal=TERM", job)  # what --signal=B:TERM@120 does, without the wait
    cluster.wait_for(lambda: "Slurm will start job" in cluster.output(job), 40, "the requeue")
    kept = sorted((run / "ckpt/train").glob("step-*"))
    assert kept, cluster.output(job)
    state, code, restarts = ended(cluster, job)
    assert (state, code, restarts) == ("COMPLETED", 0, 1), cluster.output(job)
    assert "resumes at step " + kept[-1].name.split("-")[1].lstrip("0") in (run / "logs/rank-0.log").read_text()
    assert (run / "final/model.safetensors").read_bytes() == weights(tiny_run)


def test_srun_with_pmix_runs_the_same_job(cluster, tiny_run, tmp_path):
    run = tmp_path / "run"
    spec = json.loads((EXAMPLES / "tiny.json").read_text())
    spec["spec"]["output"] = str(run)
    (tmp_path / "job.json").write_text(json.dumps(spec))
    job = cluster.sbatch(SCRIPTS / "srun.sbatch", tmp_path / "job.json", options=["--ntasks=3"], cwd=tmp_path)
    assert ended(cluster, job)[:2] == ("COMPLETED", 0), cluster.output(job)
    assert (run / "final/model.safetensors").read_bytes() == weights(tiny_run)


def test_a_job_that_cannot_run_fails_in_slurm_and_is_not_requeued(cluster, tmp_path):
    job = cluster.sbatch(SCRIPTS / "job.sbatch", tmp_path / "absent.json", options=["--nodes=1", "--ntasks-per-node=1"], cwd=ROOT)
    state, code, restarts = ended(cluster, job)
    assert state == "FAILED" and code in (2, 3) and restarts == 0, cluster.output(job)
