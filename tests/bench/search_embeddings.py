"""Many embeddings that lie as those of a model do: drawn from the pairs of image and caption of a run's index, and compared with them.

    trireme launch -n 2 jobs/examples/flickr.json --set spec.output=runs/flickr-all --set spec.data.test.select=0:500
    python3 tests/bench/search_embeddings.py runs/flickr-all --rows 100000 [--out FILE] [--seed 0]

Every drawn pair is a real one, chosen at random, drawn towards the mean and blurred by the covariance of all pairs (image and caption
together), so that mean and covariance stay and neighbours exist: x = m + sqrt(1 - h^2) (x_i - m) + h C^(1/2) z, then unit rows. Prints cosines
of pairs and of random ones, and effective dimensions ((sum of eigenvalues)^2 / sum of their squares), real and drawn; ends with 1 when one is
off by more than a tenth. --out: safetensors with image and text, float32 [N, D], for search_peer.py --embeddings.
"""
import argparse
import json
import pathlib
import struct
import sys

import numpy as np

BLUR = 0.7
MOST_OFF = 0.1


def tensors(path):
    """Name -> array of a safetensors file, and its metadata."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    kinds = {"F32": "f4", "I64": "i8"}
    return {n: np.frombuffer(data[slice(*t["data_offsets"])], kinds[t["dtype"]]).reshape(t["shape"]) for n, t in header.items() if t["dtype"] in kinds}, metadata


def write(path, arrays):
    header, at = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4")


def pairs_of(run):
    """Image and text of every caption of the run's index, in the shared space."""
    image, text = [], []
    for line in (run / "stages/index/inputs.jsonl").read_text().splitlines():
        file = json.loads(line).get("input") or {}
        if file.get("role") != "features":
            continue
        features, metadata = tensors(file["path"])
        if metadata.get("space") != "shared" or "text" not in features:
            continue
        image.append(features["image"][features["text_owner"]])
        text.append(features["text"])
    return unit(np.concatenate(image)), unit(np.concatenate(text))


def drawn(image, text, rows, seed=0, blur=BLUR):
    random = np.random.default_rng(seed)
    both = np.concatenate([image, text], 1).astype("f8")
    mean = both.mean(0)
    value, vector = np.linalg.eigh(np.cov((both - mean).T))
    root = vector * np.sqrt(np.maximum(value, 0))
    width, images, texts = image.shape[1], [], []
    for first in range(0, rows, 50000):
        count = min(50000, rows - first)
        made = mean + (1 - blur ** 2) ** 0.5 * (both[random.integers(0, len(both), count)] - mean) + blur * random.standard_normal((count, len(value))) @ root.T
        images.append(unit(made[:, :width]))
        texts.append(unit(made[:, width:]))
    return np.concatenate(images), np.concatenate(texts)


def dimension(x):
    value = np.linalg.eigvalsh(np.cov(x[:20000].T.astype("f8")))
    return float(value.sum() ** 2 / (value ** 2).sum())


def shape_of(image, text):
    random = np.random.default_rng(1)
    some = min(4000, len(image))
    a, b = (random.choice(len(image), some, replace=False) for _ in range(2))
    mean = lambda x, y: float((x[a] @ y[b].T).mean())
    return {"pair": float((image * text).sum(1).mean()), "image_text": mean(image, text), "image_image": mean(image, image), "text_text": mean(text, text),
            "image_dimension": dimension(image), "text_dimension": dimension(text)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    given = parser.parse_args()
    image, text = pairs_of(given.run)
    made = drawn(image, text, given.rows, given.seed)
    real, of_made = shape_of(image, text), shape_of(*made)
    print(f"{len(image)} pairs of {given.run}, {given.rows} drawn\n| | real | drawn | off by |\n|---|---|---|---|")
    worst = 0
    for name, value in real.items():
        # A cosine near 0 is held against that of pairs: a tenth of nothing is nothing.
        off = abs(of_made[name] - value) / (abs(value) if "dimension" in name else max(abs(value), real["pair"]))
        worst = max(worst, off)
        print(f"| {name} | {value:.3f} | {of_made[name]:.3f} | {off:.1%} |")
    if given.out:
        write(given.out, {"image": made[0], "text": made[1]})
    return int(worst > MOST_OFF)


if __name__ == "__main__":
    sys.exit(main())
