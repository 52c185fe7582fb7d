"""mteb's image tasks on the pictures and the exported model that `trireme evaluate` was given, through the wrapper that docs/judges.md carries.

usage: check_mteb.py FOLDER ROOT     (a folder of `trireme export --to open_clip`; the root of wds_colours, wds_choice and wds_pairs)
needs: torch open_clip_torch mteb datasets pillow

Prints one line of JSON: set -> metric -> value. Nothing is loaded from anywhere: the data sets are made of the tars.
"""
import io
import json
import pathlib
import re
import sys
import tarfile

import datasets
import mteb
from mteb.abstasks.image.image_text_pair_classification import AbsTaskImageTextPairClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from PIL import Image

folder, root = sys.argv[1], pathlib.Path(sys.argv[2])
page = pathlib.Path(__file__).resolve().parents[2] / "docs/judges.md"
wrapper = re.search(r"```python\n(.*?)```", page.read_text(), re.S).group(1)
assert len(wrapper.strip().splitlines()) <= 30, "the wrapper has more than 30 lines"
exec(wrapper)


def samples(name):
    found = {}
    with tarfile.open(root / f"wds_{name}/test/0.tar") as tar:
        for member in tar:
            key, suffix = member.name.split(".", 1)
            found.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return list(found.values())


def picture(sample):
    return Image.open(io.BytesIO(sample["png"])).convert("RGB")


def lines(name, file):
    return (root / f"wds_{name}" / file).read_text().splitlines()


def described(name, kind, category, modalities, score):
    return TaskMetadata(name=name, description="made here", reference=None, dataset={"path": "none", "revision": "1"}, type=kind, category=category, eval_splits=["test"], eval_langs=["eng-Latn"],
                        main_score=score, date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None, dialect=None, modalities=modalities, sample_creation=None, bibtex_citation="")


class Colours(AbsTaskZeroShotClassification):
    metadata = described("Colours", "ZeroShotClassification", "i2t", ["text", "image"], "accuracy")

    def load_data(self, **_):
        rows = samples("colours")
        self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"image": [picture(one) for one in rows], "label": [int(one["cls"]) for one in rows]})})
        self.data_loaded = True

    def get_candidate_labels(self):
        return [lines("colours", "zeroshot_classification_templates.txt")[0].format(c=name) for name in lines("colours", "classnames.txt")]


class Choice(AbsTaskImageTextPairClassification):
    """A picture and two captions, the first of which is right."""
    metadata = described("Choice", "Compositionality", "i2t", ["text", "image"], "text_acc")
    images_column_names, texts_column_names = "image", ["text_0", "text_1"]

    def load_data(self, **_):
        rows = samples("choice")
        texts = [one["txt"].decode().splitlines() for one in rows]
        self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"image": [picture(one) for one in rows], "text_0": [t[0] for t in texts], "text_1": [t[1] for t in texts]})})
        self.data_loaded = True


class Pairs(AbsTaskRetrieval):
    """Captions, and the picture of each."""
    metadata = described("Pairs", "Any2AnyRetrieval", "t2i", ["text", "image"], "recall_at_1")

    def load_data(self, **_):
        rows = samples("pairs")
        texts = [(i, line) for i, one in enumerate(rows) for line in one["txt"].decode().splitlines()]
        self.dataset = {"default": {"test": {
            "queries": datasets.Dataset.from_dict({"id": [f"q{n}" for n in range(len(texts))], "text": [text for _, text in texts]}),
            "corpus": datasets.Dataset.from_dict({"id": [f"p{i}" for i in range(len(rows))], "image": [picture(one) for one in rows]}),
            "relevant_docs": {f"q{n}": {f"p{i}": 1} for n, (i, _) in enumerate(texts)}, "top_ranked": None}}}
        self.data_loaded = True


model = Exported(folder)
found = {}
for name, task, keep in (("colours", Colours(), {"accuracy": "acc1"}), ("choice", Choice(), {"text_acc": "text_acc"}), ("pairs", Pairs(), {f"recall_at_{k}": f"image_retrieval_recall@{k}" for k in (1, 5, 10)})):
    task.load_data()
    scores = task.evaluate(model, "test", encode_kwargs={"batch_size": 16}, num_proc=None)
    scores = next(iter(scores.values()))
    found[name] = {ours: float(scores[theirs]) for theirs, ours in keep.items()}
print(json.dumps(found))
