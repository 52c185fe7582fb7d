"""Weights in and out: exported folders are loaded by open_clip and transformers, where these are installed."""
import json
import os
import subprocess
import sys

import pytest

from conftest import BIN, EXAMPLES, ROOT, trireme

PEER = os.environ.get("TRIREME_PEER_PYTHON", sys.executable)  # a Python that has open_clip and transformers


def need_peers():
    done = subprocess.run([PEER, "-c", "import torch, open_clip, transformers, safetensors, PIL"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"open_clip and transformers are not installed for {PEER} (set TRIREME_PEER_PYTHON): " + done.stderr.strip().splitlines()[-1])


def vocabularies():
    folder = ROOT / ".trireme/weights"
    folder = type(folder)(os.environ.get("TRIREME_WEIGHTS", folder))
    paths = [folder / "clip-merges.txt.gz", folder / "minilm-vocab.txt"]
    if not all(path.exists() for path in paths):
        pytest.skip("vocabularies are not installed (./quickstart build installs them)")
    return paths


def test_exported_folders_load_in_open_clip_and_transformers(tmp_path):
    need_peers()
    done = subprocess.run([PEER, ROOT / "tests/oracles/check_exchange.py", BIN / "trireme-worker", tmp_path, *vocabularies()], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    print(seen)
    for what, difference in seen.items():
        # torchvision's and transformers' resize agree with Pillow to one level of 255 times the normalisation's 1/std.
        assert difference <= (1 / 255 / .26 + 1e-6 if "preprocessing" in what else 1e-5), (what, difference)


def test_plan_prints_the_cost_of_each_model():
    done = trireme("plan", EXAMPLES / "tiny.json", check=True)
    assert "GFLOPs" in done.stdout and "activations" in done.stdout and "parameters" in done.stdout, done.stdout
    plan = json.loads(trireme("plan", EXAMPLES / "tiny.json", "-o", "json", check=True).stdout)
    assert plan["models"]["tiny"]["parameters"] > 0 and plan["models"]["tiny"]["image"]["forward_gflops"] > 0


@pytest.mark.parametrize("example", ["align_shape", "alip_shape", "diht_shape"])
def test_the_papers_shapes_train_here(launch, example):
    run = launch(EXAMPLES / f"{example}.json").succeed(400)
    steps = [json.loads(line) for line in (run.output / "final/log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in steps]
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4]), losses
    found = json.loads((run.output / "stages/evaluate/evaluation.json").read_text())["metrics"]
    print(example, run.seconds, losses[0], losses[-1], found)
