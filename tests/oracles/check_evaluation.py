"""CLIP_benchmark, scikit-learn and open_clip on the pictures and the exported model that `trireme evaluate` was given.

usage: check_evaluation.py FOLDER ROOT SUITE     (a folder of `trireme export --to open_clip`; the root of wds_* folders, of one tar each; the suite)
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
from sklearn.neighbors import KNeighborsClassifier

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
    def __init__(self, name, select="", split="test"):
        here = root / ("wds_" + name)
        samples = {}
        with tarfile.open(here / split / "0.tar") as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()
        self.samples = list(samples.values())[slice(*map(int, select.split(":"))) if select else slice(None)]
        lines = lambda file, usual=None: (here / file).read_text().splitlines() if (here / file).exists() else usual
        self.classes, self.templates = lines("classnames.txt"), lines("zeroshot_classification_templates.txt", ["a photo of a {c}."])

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        sample = self.samples[i]
        picture = next(sample[suffix] for suffix in ("png", "jpg", "webp") if suffix in sample)
        image = preprocess(Image.open(io.BytesIO(picture)).convert("RGB"))
        if "npy" in sample:
            return image, torch.from_numpy(numpy.load(io.BytesIO(sample["npy"])))
        return image, int(sample["cls"]) if "cls" in sample else sample["txt"].decode().splitlines()


def texts(batch):
    images, captions = zip(*batch)
    return torch.stack(images), captions


def loader(data, **more):
    return torch.utils.data.DataLoader(data, batch_size=8, **more)


def classified(data, also):
    result = zeroshot_classification.evaluate(model, loader(data), tokenizer, data.classes, data.templates, "cpu", amp=False)
    if also:
        classifier = zeroshot_classification.zero_shot_classifier(model, tokenizer, data.classes, data.templates, "cpu", amp=False)
        logits, target = zeroshot_classification.run_classification(model, classifier, loader(data), "cpu", amp=False)
        result["roc_auc"] = roc_auc_score(target, logits[:, 1] - logits[:, 0])
        result["macro_f1"] = f1_score(target, logits.argmax(1), average="macro", labels=sorted(set(target.tolist())))
    return result


def neighbours(name, settings):
    """scikit-learn's nearest neighbour by cosine."""
    rows = {}
    for part in ("train", "test"):
        data = Samples(name, settings[part + "_select"], settings["train_split"] if part == "train" else "test")
        with torch.no_grad():
            rows[part] = [(model.encode_image(images, normalize=True), labels) for images, labels in loader(data)]
        rows[part] = [torch.cat(some).numpy() for some in zip(*rows[part])]
    nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(*rows["train"])
    return {"knn_recall@1": nearest.score(*rows["test"])}


found = {}
for task in json.loads(pathlib.Path(sys.argv[3]).read_text())["tasks"]:
    name, settings = task["set"], task.get("settings", {})
    if task["task"] == "knn":
        found[name] = neighbours(name, settings)
    elif task["task"] in ("retrieval", "choice"):
        data = loader(Samples(name), collate_fn=texts)
        found[name] = zeroshot_retrieval.evaluate(model, data, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]) if task["task"] == "retrieval" else \
            image_caption_selection.evaluate(model, data, tokenizer, "cpu", amp=False)
    else:
        found[name] = classified(Samples(name, settings.get("test_select", "")), settings.get("also"))
print(json.dumps({name: {k: v for k, v in one.items() if v == v} for name, one in found.items()}))
