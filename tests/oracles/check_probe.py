"""CLIP_benchmark's linear probe, its own solver and search, on the embeddings that a linear_probe stage of one tar has left.

usage: check_probe.py STORE TRAIN VALIDATION CLASSES     (positions [0, TRAIN) are learnt from, up to VALIDATION chosen by, the others tested)
needs: torch clip-benchmark

Prints one line of JSON: acc1. CLIP_benchmark wants a GPU (`.cuda()`); here that means the CPU.
"""
import contextlib
import io
import json
import pathlib
import sys

import numpy
import torch
from clip_benchmark.metrics import linear_probe
from feature_file import tensors

store, (train, validation, classes) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:])
torch.set_num_threads(1)
torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self
linear_probe.accuracy = lambda logits, target, topk: [(logits.argmax(1) == target).double().mean().item()]  # its own takes float() of an array, which NumPy no longer does

rows = {}
for path in store.glob("embed/*/*.features.safetensors"):
    part = tensors(path)
    for i, sample in enumerate(part["sample"]):
        rows[int(sample)] = (torch.from_numpy(part["image"][i].copy()), int(part["label"][i]))
loader = lambda first, last, shuffle=False: torch.utils.data.DataLoader(linear_probe.FeatureDataset(
    torch.stack([rows[i][0] for i in range(first, last)]), torch.tensor([rows[i][1] for i in range(first, last)])), batch_size=32, shuffle=shuffle)
decays = numpy.logspace(-6, 2, num=97).tolist()  # CLIP_benchmark's own list
width, options = len(rows[0][0]), {"lr": 0.1, "epochs": 40, "amp": False, "device": "cpu", "seed": 0}
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    peak = linear_probe.find_peak(decays, [i for i in range(0, len(decays), 16)], loader(0, train, True), loader(train, validation), width, classes, verbose=False, **options)
    model = linear_probe.train(loader(0, validation, True), width, classes, decays[peak], **options)
    logits, target = linear_probe.infer(model, loader(validation, len(rows)), False, "cpu")
print(json.dumps({"acc1": (logits.argmax(1) == target).double().mean().item(), "weight_decay": decays[peak]}))
