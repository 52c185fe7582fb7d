"""Run folders that are not as they were left: half copied, another user's. Each is named, and nothing in them is deleted."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from conftest import BIN, EXAMPLES, Launch, environment, paced, weights

TINY = EXAMPLES / "tiny.json"


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The tiny job, stopped half way with checkpoints: where it ran, and a whole copy of that."""
    base = tmp_path_factory.mktemp("left")
    run = Launch(TINY, base / "run", sets=["spec.checkpoint.every_steps=20"], env=environment(**paced(192, 20)))
    try:
        run.wait_for(lambda: run.step() >= 50, what="step 50")
        run.process.send_signal(signal.SIGTERM)
        assert run.wait(30) == 75
    finally:
        run.stop()
    shutil.copytree(run.output, base / "whole")
    return run.output, base / "whole"


@pytest.fixture
def folder(left):
    """The run's folder as it was left; a test may lose some of it."""
    shutil.rmtree(left[0])
    shutil.copytree(left[1], left[0])
    return left[0]


@pytest.fixture
def go_on(folder):
    started = []

    def start():
        started.append(Launch(TINY, folder, sets=["spec.checkpoint.every_steps=20"]))
        return started[-1]

    yield start
    for run in started:
        run.stop()


def files_of(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def refused_and_whole(run, folder, before, words):
    assert run.wait(60) == 65, run.text()
    said = run.text() + run.rank_logs()
    assert all(word in said for word in words), said
    assert not before - files_of(folder)


@pytest.mark.parametrize("lost", ["mark", "state.db"])
def test_a_copy_without_a_part_of_the_ledger_is_refused_by_name(folder, go_on, lost):
    (folder / "ledger" / lost).unlink()
    refused_and_whole(go_on(), folder, files_of(folder), ["ledger", str(folder)])


def test_a_copy_whose_newest_checkpoint_is_cut_goes_on_from_the_one_before(folder, go_on, tiny_run):
    cut = sorted((folder / "ckpt/train").glob("step-*"))[-1] / "optimizer.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    run = go_on().succeed()
    assert "optimizer.safetensors" in run.rank_logs() + run.text()
    assert weights(run) == weights(tiny_run)


def test_a_copy_whose_checkpoints_are_all_cut_is_damage_and_stays(folder, go_on):
    for one in (folder / "ckpt/train").glob("step-*/model.safetensors"):
        one.write_bytes(one.read_bytes()[:-1])
    refused_and_whole(go_on(), folder, files_of(folder), ["model.safetensors"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_users_run_folder_is_named_and_left_alone(folder):
    for above in (folder, *folder.parents):
        if above == pathlib.Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    before = files_of(folder)
    done = subprocess.run([BIN / "trireme", "launch", "-n", "1", TINY, "--set", f"spec.output={folder}"], cwd="/", env=environment(HOME="/tmp"),
                          user=65534, group=65534, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and str(folder) in said and "ermission denied" in said, said
    assert files_of(folder) == before
