"""Evaluation against CLIP_benchmark on the same pictures and weights, through open_clip's own loader of an exported folder."""
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib

import pytest

from conftest import ROOT, trireme

PEER = os.environ.get("TRIREME_PEER_PYTHON", sys.executable)
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 30), "blue": (30, 40, 220), "yellow": (230, 220, 20), "white": (250, 250, 250), "black": (5, 5, 5)}
CLIP = {"image": {"kind": "vit", "image_px": 32, "resize_px": 32, "resize_mode": "square", "patch_px": 8, "width": 32, "layers": 2, "heads": 2},
        "text": {"kind": "transformer", "width": 32, "layers": 2, "heads": 2, "context": 77, "tokenizer": {"kind": "clip_bpe", "vocabulary": "pretrained:clip", "cleaning": "lower"}}, "embed_dim": 16}


def picture(colour, seed, side=32):
    """A PNG of one colour with a little of everything."""
    rows = b"".join(b"\0" + b"".join(bytes(max(0, min(255, c + ((x * 7 + y * 5 + seed * 11) % 23) - 11)) for c in colour) for x in range(side)) for y in range(side))
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wds(folder, samples, kind="", classes=()):
    """A CLIP_benchmark folder: samples are dicts suffix -> bytes."""
    (folder / "test").mkdir(parents=True)
    with tarfile.open(folder / "test/0.tar", "w") as tar:
        for i, sample in enumerate(samples):
            for suffix, body in sample.items():
                info = tarfile.TarInfo(f"s{i:05d}.{suffix}")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    (folder / "test/nshards.txt").write_text("1")
    if kind:
        (folder / "dataset_type.txt").write_text(kind)
    if classes:
        (folder / "classnames.txt").write_text("\n".join(classes) + "\n")
        (folder / "zeroshot_classification_templates.txt").write_text("a {c} picture.\nthe {c} one.\n")


def test_clip_benchmark_has_the_same_digits(tmp_path):
    done = subprocess.run([PEER, "-c", "import torch, open_clip, clip_benchmark, PIL"], capture_output=True, text=True)
    if done.returncode != 0 or not (ROOT / ".trireme/weights/clip-merges.txt.gz").exists():
        pytest.skip(f"open_clip and CLIP_benchmark are not installed for {PEER} (./quickstart judges, or set TRIREME_PEER_PYTHON): " + done.stderr.strip()[-200:])
    names, root = list(COLOURS), tmp_path / "root"
    wds(root / "wds_colours", [{"png": picture(COLOURS[names[i % 6]], i), "cls": str(i % 6).encode()} for i in range(36)], classes=names)
    wds(root / "wds_bright", [{"png": picture(COLOURS[names[i % 6]], i), "cls": str(int(i % 6 in (3, 4) or i % 7 == 0)).encode()} for i in range(30)], classes=["dark", "light"])
    wds(root / "wds_pairs", [{"png": picture(COLOURS[names[i % 6]], i), "txt": f"a {names[i % 6]} square number {i}\nthe {names[i % 6]} one {i * i}".encode()} for i in range(24)], "retrieval")
    data = {"train": {"synthetic": {"samples": 256, "shards": 2, "seed": 3, "image_px": 32, "captions": 1}}, **{name: str(root / f"wds_{name}/test") for name in ("colours", "bright", "pairs")}}
    stages = [{"name": "train", "kind": "train", "data": "train", "model": "clip", "seed": 1, "global_batch": 32, "logical_slots": 4, "steps": 12, "optimizer": {"learning_rate": 0.003}}]
    stages += [{"name": name, "kind": "evaluate", "needs": ["train"], "data": name, "model": "train"} for name in ("colours", "bright", "pairs")]
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "judged", "spec": {"output": str(tmp_path / "run"), "data": data, "models": {"clip": CLIP}, "stages": stages}}))
    trireme("launch", "-n", "2", job, check=True)
    trireme("export", "--to", "open_clip", tmp_path / "run/final", tmp_path / "exported", check=True)
    done = subprocess.run([PEER, ROOT / "tests/oracles/check_evaluation.py", tmp_path / "exported", root], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    ours = {name: json.loads((tmp_path / f"run/stages/{name}/evaluation.json").read_text())["metrics"] for name in theirs}
    print(ours, theirs)
    assert set(theirs) == {"colours", "bright", "pairs"}
    for name, found in theirs.items():
        for metric, value in found.items():
            assert abs(ours[name][metric] - value) < 1e-6, (name, metric, ours[name], value)
    assert 0 < ours["colours"]["acc1"] < 1 and 0 < ours["pairs"]["text_retrieval_recall@5"] < 1, ours  # nothing trivial was compared
