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
        pytest.skip(f"open_clip and transformers are not installed for {PEER} (./quickstart judges, or set TRIREME_PEER_PYTHON): " + done.stderr.strip().splitlines()[-1])


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


CAPTIONER = {
    "apiVersion": "trireme/v1", "kind": "Pipeline", "name": "captioner",
    "spec": {
        "output": "runs/captioner",
        "data": {"train": {"synthetic": {"samples": 256, "shards": 1, "seed": 3, "image_px": 32, "captions": 1}}},
        "models": {"captioner": {
            "image": {"kind": "vit", "image_px": 32, "resize_px": 32, "resize_mode": "square", "patch_px": 8, "width": 32, "layers": 2, "heads": 2, "ln_pre": False},
            "text": {"kind": "decoder", "width": 32, "layers": 2, "heads": 2, "context": 24, "positions": 24, "tokenizer": {"kind": "wordpiece", "vocabulary": "stage:vocabulary"}}}},
        "stages": [
            {"name": "vocabulary", "kind": "vocabulary", "data": ["train"], "size": 400},
            {"name": "learn", "kind": "train", "needs": ["vocabulary"], "data": "train", "model": "captioner", "objective": "captioning", "seed": 1, "global_batch": 64,
             "logical_slots": 4, "epochs": 30, "optimizer": {"learning_rate": 0.003, "gradient_clip_norm": 1},
             "evaluate_every": {"steps": 60, "data": "train", "metric": "token_loss"}},
            {"name": "captions", "kind": "caption", "needs": ["learn"], "data": ["train"], "model": "stage:learn", "method": "greedy", "max_length": 24}]}}


def test_a_captioner_writes_the_same_captions_in_transformers(launch, tmp_path):
    need_peers()
    job = tmp_path / "captioner.json"
    job.write_text(json.dumps(CAPTIONER))
    run = launch(job).succeed(300)
    log = [json.loads(line) for line in (run.output / "stages/learn/log.jsonl").read_text().splitlines()]
    losses = [row["evaluation"]["token_loss"] for row in log if row.get("evaluation")]
    assert len(losses) == 2 and losses[1] < losses[0] < log[0]["loss"], losses
    model = next(p for p in (run.output / "store").rglob("config.json") if '"decoder"' in p.read_text()).parent
    trireme("export", "--to", "hf", model, tmp_path / "blip", check=True)
    seen = json.loads(trireme("weights", "inspect", tmp_path / "blip", "--json", check=True).stdout)
    assert seen["layout"] == "hf_blip" and seen["model"]["text"]["kind"] == "decoder" and seen["model"]["image"]["heads"] == 2, seen
    tars = list((run.output / "store/synthesize").rglob("*.tar"))
    sidecars = list(run.output.rglob("*.captions.jsonl"))
    assert len(tars) == 1 and sidecars, (tars, sidecars)
    done = subprocess.run([PEER, ROOT / "tests/oracles/check_captioner.py", tmp_path / "blip", "24", tars[0], *sidecars], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(found)
    assert found["pictures"] == 256 and found["same"] == 256 and found["log_probability"] < 1e-3, (found, done.stderr[-2000:])


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
