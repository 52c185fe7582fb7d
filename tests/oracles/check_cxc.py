"""Crisscrossed Captions by NumPy and scipy, on the embeddings that `trireme evaluate` left of one tar.

usage: check_cxc.py STORE TAR SIS SITS STS     (a store with the embeddings of that tar alone; the three .csv or .csv.gz)
needs: numpy scipy

Prints one line of JSON: metric -> value. Spearman's rho is that of all pairs, which the bootstrap's mean comes near.
"""
import collections
import csv
import gzip
import json
import pathlib
import sys
import tarfile

import numpy
from feature_file import tensors
from scipy.stats import spearmanr

store, tar, ratings = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
parts = sorted((tensors(path) for path in store.glob("embed/*/*.features.safetensors")), key=lambda one: one["sample"][0])
image, text = (numpy.concatenate([one[name] for one in parts]).astype(numpy.float64) for name in ("image", "text"))
names, ids = [], []
with tarfile.open(tar) as members:
    for member in members:
        if member.name.endswith(".json"):
            names.append(member.name.removesuffix(".json"))
            ids.append([str(one) for one in json.loads(members.extractfile(member).read())["sentids"]])
assert len(names) == len(image) and sum(map(len, ids)) == len(text)
owner = numpy.array([i for i, some in enumerate(ids) for _ in some])
row = {name: i for i, name in enumerate(names)}
caption = {one: i for i, one in enumerate(one for some in ids for one in some)}


def pairs(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    of = lambda cell: caption[cell.split("sentid:")[1]] if "sentid:" in cell else row[cell.removesuffix(".jpg")]
    return [(of(a), of(b), float(rating)) for a, b, rating, _ in rows]


sis, sits, sts = map(pairs, ratings)
found = {}


def recall(name, queries, candidates, right, same):
    hits = collections.Counter()
    asked = [i for i in range(len(queries)) if right[i] - ({i} if same else set())]
    for i in asked:
        scores = candidates @ queries[i]
        if same:
            scores[i] = -numpy.inf
        best = max(scores[j] for j in right[i] if not (same and j == i))
        rank = (scores > best).sum()
        for k in (1, 5, 10):
            hits[k] += rank < k
    for k in (1, 5, 10):
        found[f"{name}_recall@{k}"] = hits[k] / len(asked)


def sets(count, *lists):
    right = [set() for _ in range(count)]
    for some in lists:
        for a, b in some:
            right[a].add(b)
    return right


rated = lambda some: [(a, b) for a, b, rating in some if rating >= 3]
turned = lambda some: [(b, a) for a, b in some]
own = [(i, owner[i]) for i in range(len(text))]
recall("image_retrieval", text, image, sets(len(text), own, rated(sits)), False)
recall("text_retrieval", image, text, sets(len(image), turned(own), turned(rated(sits))), False)
of_image = collections.defaultdict(list)
for i, of in own:
    of_image[of].append(i)
siblings = [(a, b) for some in of_image.values() for a in some for b in some]
recall("text_to_text", text, text, sets(len(text), siblings, rated(sts), turned(rated(sts))), True)
recall("image_to_image", image, image, sets(len(image), rated(sis), turned(rated(sis))), True)
for name, some, a, b in (("sis", sis, image, image), ("sits", sits, text, image), ("sts", sts, text, text)):
    found[f"{name}_spearman"] = spearmanr([(a[i] * b[j]).sum() for i, j, _ in some], [rating for *_, rating in some]).statistic
print(json.dumps(found))
