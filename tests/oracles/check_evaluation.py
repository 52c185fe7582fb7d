"""CLIP_benchmark, scikit-learn and open_clip on the pictures and the exported model that `trireme evaluate` was given.

usage: check_evaluation.py FOLDER ROOT     (a folder of `trireme export --to open_clip`; the root of wds_* folders)
needs: torch open_clip_torch clip-benchmark scikit-learn pillow

Prints one line of JSON: set -> metric -> value.
"""
import io
import json
import pathlib
import sys
import tarfile

import numpy
import open_clip
import torch
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score

folder, root = sys.argv[1], pathlib.Path(sys.argv[2])
torch.set_num_threads(2)
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + folder)
tokenizer = open_clip.get_tokenizer("local-dir:" + folder)
model.eval()


def accuracy(output, target, topk=(1,)):
    """CLIP_benchmark's own lines but for float() of an array of one number, which NumPy no longer takes."""
    correct = output.topk(max(topk), 1, True, True)[1].t().eq(target.view(1, -1))
    return [correct[:k].reshape(-1).float().sum(0).item() / len(target) for k in topk]


zeroshot_classification.accuracy = accuracy


class Samples(torch.utils.data.Dataset):
    def __init__(self, name):
        here = root / ("wds_" + name)
        self.samples = {}
        with tarfile.open(here / "test/0.tar") as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                self.samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()
        self.samples = list(self.samples.values())
        lines = lambda file: (here / file).read_text().splitlines() if (here / file).exists() else None
        self.classes, self.templates = lines("classnames.txt"), lines("zeroshot_classification_templates.txt")

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        sample = self.samples[i]
        image = preprocess(Image.open(io.BytesIO(sample["png"])).convert("RGB"))
        if "npy" in sample:
            return image, torch.from_numpy(numpy.load(io.BytesIO(sample["npy"])))
        return image, int(sample["cls"]) if "cls" in sample else sample["txt"].decode().splitlines()


def texts(batch):
    images, captions = zip(*batch)
    return torch.stack(images), captions


def loader(data, **more):
    return torch.utils.data.DataLoader(data, batch_size=8, **more)


found = {}
for name in ("colours", "several", "bright"):
    data = Samples(name)
    found[name] = zeroshot_classification.evaluate(model, loader(data), tokenizer, data.classes, data.templates, "cpu", amp=False)
found["pairs"] = zeroshot_retrieval.evaluate(model, loader(Samples("pairs"), collate_fn=texts), tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
found["choice"] = image_caption_selection.evaluate(model, loader(Samples("choice"), collate_fn=texts), tokenizer, "cpu", amp=False)
data = Samples("bright")
classifier = zeroshot_classification.zero_shot_classifier(model, tokenizer, data.classes, data.templates, "cpu", amp=False)
logits, target = zeroshot_classification.run_classification(model, classifier, loader(data), "cpu", amp=False)
found["bright"]["roc_auc"] = roc_auc_score(target, logits[:, 1] - logits[:, 0])
found["bright"]["macro_f1"] = f1_score(target, logits.argmax(1), average="macro", labels=sorted(set(target.tolist())))
print(json.dumps({name: {k: v for k, v in one.items() if v == v} for name, one in found.items()}))
