"""What needs GPUs: F67-F69 (RELIABILITY 7.2). They have never run: no machine of ours has had one while they were written."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request

import pytest

from rig import QUICK, system

pytest_plugins = ["rig"]

TINY = system.EXAMPLES / "tiny.json"
CUDA = system.environment(TRIREME_DEVICE="cuda")


def gpus():
    if shutil.which("nvidia-smi") is None:
        return 0
    return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.count("UUID")


@pytest.mark.skipif(gpus() < 2, reason="needs two GPUs")
def test_f67_a_rank_killed_within_an_nccl_collective(launch):
    run = launch(TINY, sets=QUICK, env=CUDA)
    run.wait_for(lambda: run.step() >= 30, what="step 30")
    os.kill(run.processes("trireme-worker")[-1], signal.SIGKILL)
    run.succeed(600)
    assert (run.output / "incarnation").read_text() == "2\n"
    assert system.trireme("audit", run.output).returncode == 0


@pytest.mark.skipif(gpus() < 1, reason="needs a GPU")
def test_f68_an_asynchronous_checkpoint_stalls_for_a_copy(launch):
    """To the host at 2 GB/s, which pageable memory reaches, and a tenth more."""
    run = launch(TINY, workers=1, sets=[*QUICK, "spec.checkpoint.every_steps=8", "spec.stages.train.epochs=30"], env=CUDA)
    newest = run.wait_for(lambda: sorted((run.output / "ckpt/train").glob("step-*"))[2:], what="three checkpoints")[-1]
    size = sum(file.stat().st_size for file in newest.glob("*.safetensors"))
    port = re.search(r"127\.0\.0\.1:(\d+)", (run.output / "targets.json").read_text())[1]  # the coordinator's comes first
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    spent, times = (float(re.search(rf'trireme_checkpoint_duration_seconds_{what}{{[^}}]*part="stall"[^}}]*}} (\S+)', text)[1]) for what in ("sum", "count"))
    assert spent / times < 1.1 * (0.02 + size / 2e9), (spent, times, size)


@pytest.mark.skipif(gpus() < 1, reason="needs a GPU")
def test_f69_the_same_restart_twice_gives_the_same(launch, tmp_path):
    run = launch(TINY, workers=1, sets=QUICK, env=CUDA)
    run.wait_for(lambda: run.step() >= 30, what="step 30")
    run.process.send_signal(signal.SIGTERM)
    run.wait(60)
    found = []
    for name in ("first", "second"):
        shutil.copytree(tmp_path / "run", tmp_path / "kept" / name, symlinks=True)
    for name in ("first", "second"):
        shutil.rmtree(tmp_path / "run")
        shutil.copytree(tmp_path / "kept" / name, tmp_path / "run", symlinks=True)
        again = launch(TINY, workers=1, sets=QUICK, env=CUDA).succeed(600)
        found.append((pathlib.Path(again.output) / "final/model.safetensors").read_bytes())
    assert found[0] == found[1]
