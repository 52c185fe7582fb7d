"""Objective `classification` as plain torch: the same pictures in one batch, open_clip's tower, a linear head, torch's SGD.

usage: check_classification.py EXPORTED CLASSIFIER TAR OPTIONS    (a folder of `trireme export --to open_clip`; classifier.safetensors as it begins; JSON)
needs: torch open_clip_torch safetensors pillow

Prints the loss of every step as one line of JSON.
"""
import io
import json
import sys
import tarfile

import numpy
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file

exported, classifier, tar_file, options = sys.argv[1:5]
options = json.loads(options)
torch.set_num_threads(1)
model = open_clip.create_model("local-dir:" + exported).train()
config = json.load(open(exported + "/open_clip_config.json"))["preprocess_cfg"]
pictures, labels = [], []
with tarfile.open(tar_file) as tar:
    for member in tar:
        data = tar.extractfile(member).read()
        if member.name.endswith("cls"):
            labels.append(int(data))
        else:
            pictures.append(torch.from_numpy(numpy.array(Image.open(io.BytesIO(data)).convert("RGB"))).permute(2, 0, 1) / 255)
shape = (1, 3, 1, 1)
batch = (torch.stack(pictures) - torch.tensor(config["mean"]).view(shape)) / torch.tensor(config["std"]).view(shape)
labels = torch.tensor(labels)
head = load_file(classifier)
weight, bias = (head[next(name for name in head if name.endswith(end))].clone().requires_grad_() for end in ("weight", "bias"))
learnt = [weight, bias, *(p for p in model.visual.parameters() if p.requires_grad)]
optimizer = torch.optim.SGD(learnt, lr=options["learning_rate"], momentum=options["momentum"])
loss_of = torch.nn.CrossEntropyLoss(label_smoothing=options["label_smoothing"])
losses = []
for _ in range(options["steps"]):
    optimizer.zero_grad()
    loss = loss_of(torch.nn.functional.linear(model.encode_image(batch, normalize=True), weight, bias), labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(json.dumps(losses))
