"""The batch files of docker/slurm under a Slurm that the test starts (three nodes, no munge). Slurm looks for time limits every 30 s from its own start
on; all the rest happens in the shadow of that, the undisturbed run that it is compared with too."""
import json
import re
import os
import sys

import pytest

from conftest import BIN, EXAMPLES, ROOT, weights

sys.path.insert(0, str(ROOT / "tests/support"))
import hosts as hosts_module  # noqa: E402
import slurm as slurm_module  # noqa: E402

SCRIPTS = ROOT / "docker/slurm"
# A step a second from the 30th on: of a job that is only there to be stopped the others notice little.
AT_EASE = {"TRIREME_FAULT": ",".join(f"train.after_step_before_ack:{hit}:delay_ms:1000" for hit in range(30, 150)), "TRIREME_FAULT_INCARNATION": "any"}
PATIENCE = 120  # seconds; what must be quick is quick on a machine that does nothing else


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if why := slurm_module.missing():
        pytest.skip(why)
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    with hosts_module.Hosts(3) as hosts, slurm_module.Slurm(hosts, tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


def ended(slurm, job, seconds=PATIENCE):
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


@pytest.fixture(scope="module")
def jobs(cluster, tmp_path_factory):
    """{name: (job, run folder and, of `stopped`, its step)} of jobs that run beside one another, because each waits for Slurm's clock or for its end:

    limited  a long one with a real time limit of a minute: Slurm looks every 30 s, and sends the signal at its first look 10 s after the start
    stopped  is asked to stop at step 20
    bereft   loses a node after its second checkpoint
    hopeless has a worker that dies at the first step of every start
    srun     the same job without mpirun
    sweep    a table, of one short run
    service  takes a job over HTTP
    """
    first, second, third = cluster.hosts.names
    folder = tmp_path_factory.mktemp("jobs")
    started = {}

    def submit(name, options, *more, env=()):
        run = folder / name
        started[name] = cluster.sbatch(SCRIPTS / "job.sbatch", *job_words(run, *more), cwd=ROOT, options=["--ntasks-per-node=1", *options], env=env), run

    submit("limited", ["--time=1", "--signal=B:TERM@20", "--nodes=1", f"--nodelist={first}"], "--set", "spec.stages.train.epochs=4000", "--set", "spec.checkpoint.every_steps=0",
           env=AT_EASE)
    submit("stopped", [f"--exclude={second}"], "--set", "spec.checkpoint.every_steps=0")
    submit("bereft", [f"--exclude={third}"], "--set", "spec.checkpoint.every_steps=10")
    submit("hopeless", ["--nodes=1", f"--nodelist={third}", "--export=ALL,TRIREME_FAULT=train.before_reduce:1:kill9,TRIREME_FAULT_INCARNATION=any"])
    job, run = started["stopped"]
    cluster.wait_for(lambda: committed_step(run) >= 20, PATIENCE, f"step 20: {cluster.output(job)[-2000:]}")
    cluster.call("scancel", "--batch", "--signal=TERM", job)
    job, run = started["bereft"]
    cluster.wait_for(lambda: len(checkpoints(run)) >= 2, PATIENCE, f"two checkpoints: {cluster.output(job)[-2000:]}")
    cluster.hosts.link(1, up=False)
    run = folder / "srun"
    spec = json.loads((EXAMPLES / "tiny.json").read_text())
    spec["spec"]["output"] = str(run)
    (folder / "job.json").write_text(json.dumps(spec))
    started["srun"] = cluster.sbatch(SCRIPTS / "srun.sbatch", folder / "job.json", options=["--ntasks=3", f"--exclude={second}"], cwd=folder), run
    job, run = started["stopped"]
    cluster.wait_for(lambda: "Slurm will start job" in cluster.output(job), PATIENCE, f"the requeue: {cluster.output(job)[-2000:]}")
    (step,) = checkpoints(run)  # none was due but this
    started["stopped"] = job, run, step
    sweep = {"apiVersion": "trireme/v1", "kind": "Sweep", "name": "table", "output": str(folder / "sweep"), "base": str(EXAMPLES / "tiny.json"), "seeds": [1],
             "arms": {"short": {"spec.stages.train.epochs": 1}}, "main_metric": "evaluate.mean_recall@1"}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    started["sweep"] = cluster.sbatch(SCRIPTS / "sweep.sbatch", folder / "sweep.json", options=["--nodes=1", "--ntasks-per-node=1", f"--exclude={second}"], cwd=ROOT), folder / "sweep"
    started["service"] = cluster.sbatch(SCRIPTS / "service.sbatch", folder / "service", options=["--nodes=1", "--ntasks-per-node=1", f"--nodelist={third}"], cwd=ROOT), folder / "service"
    return started


@pytest.fixture(scope="module")
def undisturbed(jobs, request):
    """Weights of tiny.json; made while the jobs wait for Slurm."""
    return weights(request.getfixturevalue("tiny_run"))


def checkpoints(run):
    """Steps of the checkpoints that are there."""
    return sorted(int(path.name.split("-")[1]) for path in (run / "ckpt/train").glob("step-*"))


def goes_on_at(run, step):
    return f"resumes at step {step}" in (run / "logs/rank-0.log").read_text()


def test_a_stop_by_hand_is_a_checkpoint_and_the_requeued_job_goes_on(cluster, jobs, undisturbed):
    job, run, step = jobs["stopped"]
    assert ended(cluster, job) == ("COMPLETED", 0, 1), cluster.output(job)
    assert goes_on_at(run, step)
    assert (run / "final/model.safetensors").read_bytes() == undisturbed


def test_a_node_taken_away_costs_the_steps_since_the_last_checkpoint(cluster, jobs, undisturbed):
    job, run = jobs["bereft"]
    # Whoever is first: launch goes on without the host, or Slurm puts the job back into the queue.
    cluster.wait_for(lambda: cluster.state(job)[2] == 1 or cluster.state(job)[0] == "COMPLETED", PATIENCE, f"a way on: {cluster.output(job)[-2000:]}")
    if cluster.state(job)[2] == 1:
        cluster.call("scontrol", "update", f"JobId={job}", "ExcNodeList=")  # the third node may take part now
    state, code, restarts = ended(cluster, job)
    assert (state, code) == ("COMPLETED", 0) and restarts <= 1, cluster.output(job)
    resumed = [int(step) for step in re.findall(r"resumes at step (\d+)", (run / "logs/rank-0.log").read_text())]
    assert resumed and 20 <= resumed[0] < 192, resumed  # two checkpoints were there when the node went
    assert (run / "final/model.safetensors").read_bytes() == undisturbed


def test_a_job_without_progress_or_without_a_file_is_not_requeued(cluster, jobs, tmp_path):
    job = cluster.sbatch(SCRIPTS / "job.sbatch", tmp_path / "absent.json", options=["--nodes=1", "--ntasks-per-node=1"], cwd=ROOT)
    state, code, restarts = ended(cluster, job)
    assert state == "FAILED" and code in (2, 3) and restarts == 0, cluster.output(job)
    assert ended(cluster, jobs["hopeless"][0]) == ("FAILED", 93, 0), cluster.output(jobs["hopeless"][0])


def test_srun_with_pmix_runs_the_same_job(cluster, jobs, undisturbed):
    job, run = jobs["srun"]
    assert ended(cluster, job)[:2] == ("COMPLETED", 0), cluster.output(job)
    assert (run / "final/model.safetensors").read_bytes() == undisturbed


def test_a_sweep_and_a_service_are_batch_jobs_too(cluster, jobs, tmp_path):
    job, run = jobs["service"]
    cluster.wait_for(lambda: (run / "endpoint.json").exists(), PATIENCE, f"the service: {cluster.output(job)[-2000:]}")
    spec = json.loads((EXAMPLES / "tiny.json").read_text())
    spec["spec"]["output"] = str(run.parent / "submitted")
    spec["spec"]["stages"][0]["epochs"] = 1
    (tmp_path / "job.json").write_text(json.dumps(spec))
    submitted = cluster.hosts.run(2, [BIN / "trireme", "submit", "--run", run, tmp_path / "job.json"], timeout=60)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    cluster.wait_for(lambda: (run.parent / "submitted/final/model.safetensors").exists(), PATIENCE, f"the job of the service: {cluster.output(job)[-2000:]}")
    cluster.call("scancel", job)
    assert ended(cluster, job)[0] == "CANCELLED", cluster.output(job)
    job, run = jobs["sweep"]
    assert ended(cluster, job)[:2] == ("COMPLETED", 0), cluster.output(job)
    assert len((run / "sweep.csv").read_text().splitlines()) >= 2


def test_the_real_time_limit_and_a_plain_scancel(cluster, jobs):
    job, run = jobs["limited"]
    cluster.wait_for(lambda: cluster.state(job)[2] >= 1, PATIENCE, f"the requeue after the time limit's signal: {cluster.output(job)[-2000:]}")
    assert "STOPPED: stopped by signal" in cluster.output(job)
    step = checkpoints(run)[-1]
    cluster.wait_for(lambda: goes_on_at(run, step), PATIENCE, f"a start at step {step}: {cluster.output(job)[-2000:]}")
    restarts = cluster.state(job)[2]
    cluster.call("scancel", job)
    state, _, after = ended(cluster, job)  # a job that went back into the queue would not end
    assert (state, after) == ("CANCELLED", restarts), cluster.output(job)
