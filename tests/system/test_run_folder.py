"""Run folders that are not as they were left: half copied, another user's. Each is named, and nothing in them is deleted."""
import os
import shutil
import signal
import subprocess

import pytest

from conftest import BIN, EXAMPLES, Launch, environment, weights

TINY = EXAMPLES / "tiny.json"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The tiny job, stopped half way with a checkpoint."""
    run = Launch(TINY, tmp_path_factory.mktemp("stopped") / "run", sets=["spec.checkpoint.every_steps=20"])
    try:
        run.wait_for(lambda: run.step() >= 50, what="step 50")
        run.process.send_signal(signal.SIGTERM)
        run.wait(30)
    finally:
        run.stop()
    return run


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


def copied(stopped, tmp_path):
    shutil.copytree(stopped.output, tmp_path / "run")
    return tmp_path / "run"


def newest(folder):
    return sorted((folder / "ckpt/train").glob("step-*"))[-1]


@pytest.mark.parametrize("lost, words", [
    ("ledger/mark", "mark is missing"),
    ("ledger/state.db", "ledger"),
])
def test_a_copy_without_a_part_of_the_ledger_is_refused_by_name(stopped, launch, tmp_path, lost, words):
    folder = copied(stopped, tmp_path)
    (folder / lost).unlink()
    before = files_of(folder)
    run = launch(TINY)
    assert run.wait(60) == 65, run.text()
    said = run.text() + run.rank_logs()
    assert words in said and str(folder) in said, said
    assert not set(before) - set(files_of(folder))


def test_a_copy_whose_checkpoint_is_cut_goes_on_from_the_one_before(stopped, launch, tmp_path, tiny_run):
    folder = copied(stopped, tmp_path)
    cut = newest(folder) / "optimizer.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    run = launch(TINY).succeed()
    assert "optimizer.safetensors" in run.rank_logs() + run.text()
    assert weights(run) == weights(tiny_run)


def test_a_copy_whose_checkpoints_are_all_cut_is_damage_and_stays(stopped, launch, tmp_path):
    folder = copied(stopped, tmp_path)
    for one in (folder / "ckpt/train").glob("step-*/model.safetensors"):
        one.write_bytes(one.read_bytes()[:-1])
    before = files_of(folder)
    run = launch(TINY)
    assert run.wait(60) == 65, run.text()
    assert "model.safetensors" in run.text() + run.rank_logs()
    assert not set(before) - set(files_of(folder))


def test_outputs_that_were_not_copied_are_made_again(stopped, launch, tmp_path, tiny_run):
    folder = copied(stopped, tmp_path)
    shutil.rmtree(folder / "store/inspect")
    assert weights(launch(TINY).succeed()) == weights(tiny_run)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_run_folder_is_named_and_left_alone(stopped, tmp_path):
    tmp_path.parents[1].chmod(0o755), tmp_path.parent.chmod(0o755), tmp_path.chmod(0o755)
    folder = copied(stopped, tmp_path)
    before = files_of(folder)
    done = subprocess.run([BIN / "trireme", "launch", "-n", "1", TINY, "--set", f"spec.output={folder}"], cwd="/", env=environment(HOME="/tmp"),
                          user=65534, group=65534, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and str(folder) in said and "ermission denied" in said, said
    assert files_of(folder) == before
