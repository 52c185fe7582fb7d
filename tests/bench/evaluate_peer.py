"""Retrieval and zero-shot of ViT-B/32 over 1,000 pictures with five captions each, from tars to metrics: `trireme evaluate` against CLIP_benchmark, in turn.

usage: evaluate_peer.py BIN SCRATCH [PICTURES] [WORKERS]     (the folder of trireme and trireme-worker; a folder that may be kept: weights and tars stay there)
needs: torch open_clip_torch clip-benchmark webdataset pillow     (./quickstart judges)

float32 (`--no_amp`), all cores of the affinity. Asked for: both tasks in at most .4 of CLIP_benchmark's time for both, zero-shot alone in at most its time,
and the same digits.
"""
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time

import numpy
import open_clip
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from PIL import Image

programs, scratch = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
pictures = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
workers = sys.argv[4] if len(sys.argv) > 4 else "1"
threads = len(os.sched_getaffinity(0))
torch.set_num_threads(threads)
scratch.mkdir(parents=True, exist_ok=True)
CLASSES = [f"thing {i}" for i in range(100)]
TEMPLATES = ["a photo of a {c}.", "a picture of the {c}.", "one {c}"]
SUITE = {"format": "trireme-suite/1", "name": "both", "source": "tests/bench", "confidence": "made up", "tasks": [
    {"set": "zero-shot", "task": "zero_shot", "metric": "acc1", "folders": ["wds_both"]},
    {"set": "retrieval", "task": "retrieval", "metric": "mean_recall@1", "folders": ["wds_both"]}]}


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def prepare():
    """Weights of an untrained ViT-B/32 and tars with picture, captions and label; CLIP_benchmark reads the tars by two roots."""
    if not (scratch / "model").exists():
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32")
        (scratch / "model").mkdir()
        config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {
            "mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}}
        (scratch / "model/open_clip_config.json").write_text(json.dumps(config))
        from safetensors.torch import save_file
        save_file({name: value.contiguous() for name, value in model.state_dict().items() if name != "attn_mask"}, scratch / "model/open_clip_model.safetensors")
    root = scratch / f"root-{pictures}"
    if not root.exists():
        random = numpy.random.default_rng(0)
        words = "a two red old dog man car tree on near the in with small street boat water green house window child plays runs stands".split()
        folder = root / "wds_both/test"
        folder.mkdir(parents=True)
        for shard in range(4):
            with tarfile.open(folder / f"{shard}.tar", "w") as tar:
                for i in range(shard, pictures, 4):
                    coarse = random.integers(0, 255, (12, 16, 3), dtype=numpy.uint8)
                    bytes_ = io.BytesIO()
                    Image.fromarray(coarse).resize((500, 375), Image.BICUBIC).save(bytes_, "JPEG", quality=90)
                    add(tar, f"s{i:07d}.jpg", bytes_.getvalue())
                    add(tar, f"s{i:07d}.txt", "\n".join(" ".join(random.choice(words, random.integers(8, 16))) for _ in range(5)).encode())
                    add(tar, f"s{i:07d}.cls", str(i % len(CLASSES)).encode())
        (folder / "nshards.txt").write_text("4")
        (root / "wds_both/classnames.txt").write_text("\n".join(CLASSES))
        (root / "wds_both/zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
        for kind in ("retrieval", "classification"):  # the same tars, named as CLIP_benchmark wants them
            other = scratch / f"peer-{pictures}-{kind}"
            shutil.copytree(root / "wds_both", other, copy_function=os.link)
            if kind == "retrieval":
                (other / "dataset_type.txt").write_text("retrieval")
    (scratch / "both.json").write_text(json.dumps(SUITE))
    return root


def ours(root, *more):
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    done = subprocess.run([programs / "trireme", "evaluate", scratch / "model", root, "--output", out, "-n", workers, *more], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds, {one["dataset"]: one["metrics"] for one in json.loads((out / "evaluation.results.json").read_text())["results"]}


def accuracy(output, target, topk=(1,)):
    """CLIP_benchmark's own lines but for float() of an array of one number, which NumPy no longer takes."""
    correct = output.topk(max(topk), 1, True, True)[1].t().eq(target.view(1, -1))
    return [correct[:k].reshape(-1).float().sum(0).item() / len(target) for k in topk]


def theirs(kind):
    zeroshot_classification.accuracy = accuracy
    started = time.perf_counter()
    model, _, transform = open_clip.create_model_and_transforms("local-dir:" + str(scratch / "model"))
    tokenizer = open_clip.get_tokenizer("local-dir:" + str(scratch / "model"))
    model.eval()
    data = build_dataset("wds/both", root=str(scratch / f"peer-{pictures}-{kind}"), transform=transform, split="test", download=False,
                         task="zeroshot_" + kind)
    loader = torch.utils.data.DataLoader(data.batched(64), batch_size=None, shuffle=False, num_workers=threads) if kind == "classification" else \
        torch.utils.data.DataLoader(data, batch_size=64, num_workers=threads, collate_fn=get_dataset_collate_fn("mscoco_captions"))
    found = zeroshot_retrieval.evaluate(model, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]) if kind == "retrieval" else \
        zeroshot_classification.evaluate(model, loader, tokenizer, CLASSES, TEMPLATES, "cpu", amp=False)
    return time.perf_counter() - started, found


root = prepare()
both, digits = ours(root, "--suite", str(scratch / "both.json"))
alone, _ = ours(root / "wds_both", "--task", "zero_shot")
peer = {kind: theirs(kind) for kind in ("classification", "retrieval")}
worst = max(abs(digits[ours_][name] - value) for ours_, kind in (("zero-shot", "classification"), ("retrieval", "retrieval"))
            for name, value in peer[kind][1].items() if name in digits[ours_] and value == value)
print(json.dumps({"both_seconds": both, "zero_shot_seconds": alone, "peer_seconds": {kind: one[0] for kind, one in peer.items()}, "largest_difference": worst}))
print(f"both: {both / sum(one[0] for one in peer.values()):.3f} of CLIP_benchmark's time (asked: .4); zero-shot alone: {alone / peer['classification'][0]:.3f} (asked: 1); "
      f"largest difference of a metric {worst:.1e}")
