"""A stop keeps the checkpoint that it announces (RELIABILITY 8.2, 8.7): every way to stop, any number of workers, a job that
writes no checkpoint by itself. The next start goes on at the announced step, and the weights are those of a run that nobody disturbed."""
import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest

from conftest import BIN, EXAMPLES, ROOT, Launch, environment, trireme, weights


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """tiny.json with training alone, 640 steps (a fast machine makes 100 until a stop comes through), and no periodic checkpoint."""
    document = json.loads((EXAMPLES / "tiny.json").read_text())
    spec = document["spec"]
    del spec["data"]["test"]
    spec["data"]["train"]["synthetic"].update(samples=512, shards=4)
    spec["stages"] = spec["stages"][:1]
    spec["stages"][0]["epochs"] = 80
    spec["checkpoint"] = {"every_steps": 0, "every_seconds": 0}
    path = tmp_path_factory.mktemp("job") / "job.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory):
    run = Launch(job, tmp_path_factory.mktemp("undisturbed") / "run")
    try:
        run.succeed()
    finally:
        run.stop()
    return weights(run)


def announced(run):
    """The step that the logs of the ranks named last."""
    found = re.findall(r"training stopped after step (\d+) with a checkpoint", run.rank_logs())
    assert found, run.text()[-2000:] + run.rank_logs()[-4000:]
    return int(found[-1])


def resumed(run):
    return int(re.findall(r"resumed at step (\d+)", run.rank_logs())[-1])


def train_a_little(run, after=0):
    run.wait_for(lambda: run.step() > after, what=f"a step after {after}")


def plain_mpirun(job, output, workers):
    """Without a supervisor, as in the README."""
    log = open(f"{output}.mpirun.log", "w")
    return subprocess.Popen(["mpirun", "--mca", "odls_base_sigkill_timeout", "2", "--oversubscribe", "--bind-to", "none", "-n", "1", BIN / "trireme-coordinator", "--job", job,
                             "--set", f"spec.output={output}", ":", "-n", str(workers), BIN / "trireme-worker"],
                            cwd=ROOT, stdout=log, stderr=log, env=environment(TRIREME_LOG_DIR=output / "logs"), start_new_session=True)


@pytest.mark.parametrize("workers,signals", [(2, [signal.SIGTERM, signal.SIGHUP]), (4, [signal.SIGINT, signal.SIGTERM])])
def test_signals_to_the_supervisor(launch, job, undisturbed, workers, signals):
    step = 0
    for one in signals:
        run = launch(job, workers=workers)
        train_a_little(run, step)
        assert step == 0 or resumed(run) == step
        run.process.send_signal(one)
        assert run.wait(30) == 75
        assert announced(run) > step
        step = announced(run)
        assert f"go on at step {step}" in run.text()
    again = launch(job, workers=workers).succeed()
    assert resumed(again) == step
    assert weights(again) == undisturbed


def test_sigterm_to_mpirun_then_cancel_then_a_deadline(launch, job, undisturbed):
    run = launch(job, workers=4, sets=["spec.deadline_seconds=3"], env=environment(TRIREME_FAULT="train.after_step_before_ack:30:delay_ms:4000"))
    assert run.wait(60) == 1 and "deadline" in run.text()
    step = announced(run)

    process = plain_mpirun(job, run.output, 4)
    try:
        train_a_little_more = time.monotonic() + 60
        while run.step() <= step and time.monotonic() < train_a_little_more:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert resumed(run) == step and announced(run) > step
    step = announced(run)

    run = launch(job, workers=4)
    train_a_little(run, step)
    assert resumed(run) == step
    trireme("cancel", "--run", run.output, run.progress()["id"], check=True)
    assert run.wait(30) == 1
    assert announced(run) > step
    step = announced(run)

    again = launch(job, workers=4).succeed()
    assert resumed(again) == step
    assert weights(again) == undisturbed


def test_a_closed_terminal_is_a_stop(job, tmp_path):
    """A real one: the kernel sends SIGHUP, and every write to it fails from then on."""
    output = tmp_path / "run"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(BIN / "trireme", ["trireme", "launch", "-n", "2", str(job), "--set", f"spec.output={output}"], environment())
    run = Launch.__new__(Launch)  # its files alone
    run.output, run.before = output, 0
    end = time.monotonic() + 60
    while run.step() == 0 and time.monotonic() < end:
        time.sleep(0.02)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    assert json.loads((output / "terminal.json").read_text())["step"] == announced(run)


def test_nohup_is_respected(launch, job):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as nohup does it
    try:
        run = launch(job, sets=["spec.stages.train.epochs=20"])
    finally:
        signal.signal(signal.SIGHUP, before)
    train_a_little(run)
    run.process.send_signal(signal.SIGHUP)
    run.succeed()


def test_a_stop_while_a_checkpoint_is_being_written(launch, job, undisturbed):
    run = launch(job, sets=["spec.checkpoint.every_steps=30"], env=environment(TRIREME_FAULT="ckpt.before_rename:1:delay_ms:1000", TRIREME_FAULT_RANK=0))
    run.wait_for(lambda: run.step() >= 30, what="step 30")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75
    again = launch(job).succeed()
    assert resumed(again) == announced(run)
    assert weights(again) == undisturbed


def test_a_full_disk_while_stopping_announces_nothing(launch, job, undisturbed):
    run = launch(job, env=environment(TRIREME_FAULT="ckpt.after_file_k:1:enospc,ckpt.after_file_k:2:enospc", TRIREME_FAULT_RANK=1))
    train_a_little(run)
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75
    assert "could not be written" in run.rank_logs() and "with a checkpoint" not in run.rank_logs()
    again = launch(job).succeed()
    assert "resumed at" not in again.rank_logs()
    assert weights(again) == undisturbed


def test_a_second_signal_leaves_at_once_and_a_stop_before_the_first_step_is_one(launch, job):
    run = launch(job)
    run.wait_for(lambda: run.processes("trireme-coordin") and run.progress(), what="the coordinator")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75
    run = launch(job, env=environment(TRIREME_FAULT="ckpt.before_rename:1:delay_ms:20000", TRIREME_FAULT_RANK=0))
    train_a_little(run)
    begin = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    run.process.send_signal(signal.SIGTERM)
    assert run.wait(30) == 75
    assert time.monotonic() - begin < 8
    assert launch(job, sets=["spec.stages.train.epochs=8"]).succeed()
