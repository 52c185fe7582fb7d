"""Approximate search beside faiss-cpu, usearch and hnswlib: the same embeddings, one thread, queries a processor second at recall@10 of 0.95,
image -> image and text -> image apart, all measured in turns so that a busy machine is busy for everybody.

    python3 -m venv v && v/bin/pip install faiss-cpu usearch hnswlib numpy
    v/bin/python tests/bench/search_peer.py --rows 150000 [--bench build/bench/bin/search_bench] [--embeddings FILE | --like RUN]

Without --embeddings (safetensors with image and text, float32 [N, D], rows that belong together) embeddings are drawn: as those of a run's index
(search_embeddings.py), or two towers of one meaning with a gap between them; their cosines of pairs and of random ones and their effective
dimension are printed. Peers get pictures alone, which is all that they take; ours learns from captions of indexed pictures, never from queries.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import faiss
import hnswlib
import numpy as np
import search_embeddings
import usearch.index
from search_embeddings import tensors, unit, write

faiss.omp_set_num_threads(1)
PROBES = (2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def drawn(rows, width, seed=0):
    """Topics with a decaying spectrum, seen by two towers: an own part, an own map and an own offset each."""
    random = np.random.default_rng(seed)
    meaning = 256
    spectrum = (1 / np.arange(1, meaning + 1) ** 0.5).astype("f4")
    draw = lambda n: random.standard_normal((n, meaning), dtype="f4")
    topics = 1.2 * draw(2000)
    image_map = unit(random.standard_normal((meaning, width)))
    text_map = unit(image_map + 0.25 * unit(random.standard_normal((meaning, width))))
    image_gap = unit(random.standard_normal((1, width)))
    text_gap = unit(0.3 * image_gap + random.standard_normal((1, width)) / width ** 0.5)
    image, text = [], []
    for first in range(0, rows, 50000):
        n = min(50000, rows - first)
        seen = topics[random.integers(0, len(topics), n)] + 0.9 * draw(n)
        scale = np.linalg.norm(spectrum) * 1.5
        image.append(unit((seen + 0.45 * draw(n)) * spectrum @ image_map / scale + 0.9 * image_gap))
        text.append(unit((seen + 0.9 * draw(n)) * spectrum @ text_map / scale + 0.9 * text_gap))
    return np.concatenate(image), np.concatenate(text)


def shape_of(image, text):
    some = min(5000, len(image) // 2)
    value = np.linalg.eigvalsh(np.cov(image[:20000].T))
    return {"pair": float((image * text).sum(1).mean()), "image_text": float((image[:some] * text[some:2 * some]).sum(1).mean()),
            "image_image": float((image[:some] * image[some:2 * some]).sum(1).mean()),
            "text_text": float((text[:some] * text[some:2 * some]).sum(1).mean()), "effective_dimension": float(value.sum() ** 2 / (value ** 2).sum())}


def ten_best(rows, queries):
    score, row = np.full((len(queries), 10), -9, "f4"), np.zeros((len(queries), 10), int)
    for first in range(0, len(rows), 50000):
        here = queries @ rows[first:first + 50000].T
        best = np.argpartition(-here, 10, 1)[:, :10]
        all_score, all_row = np.concatenate([score, np.take_along_axis(here, best, 1)], 1), np.concatenate([row, best + first], 1)
        order = np.argsort(-all_score, 1)[:, :10]
        score, row = np.take_along_axis(all_score, order, 1), np.take_along_axis(all_row, order, 1)
    return row


class Faiss:
    def __init__(self, folder, name, factory, image, knob, values, refine=0):
        self.name, self.knob, self.values, self.refine = name, knob, values, refine
        path = folder / (re.sub("[^A-Za-z0-9]+", "-", name) + ".faiss")
        start = time.process_time()
        if path.exists():
            self.index = faiss.read_index(str(path))
        else:
            self.index = faiss.index_factory(image.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            self.index.train(image[:: max(1, len(image) // 100000)])
            self.index.add(image)
            faiss.write_index(self.index, str(path))
        self.built, self.bytes = time.process_time() - start, path.stat().st_size

    def set(self, value):
        space = faiss.ParameterSpace()
        space.set_index_parameter(self.index, self.knob, value)
        if self.refine:
            space.set_index_parameter(self.index, "k_factor_rf", self.refine)

    def ask(self, query):
        return self.index.search(query[None], 10)[1][0]


class Hnswlib:
    name, values = "hnswlib M=32", (16, 32, 64, 128, 256, 512)

    def __init__(self, image):
        start = time.process_time()
        self.index = hnswlib.Index("ip", image.shape[1])
        self.index.init_index(len(image), ef_construction=128, M=32)
        self.index.add_items(image, num_threads=1)
        self.index.set_num_threads(1)
        self.built, self.bytes = time.process_time() - start, image.nbytes + len(image) * 32 * 2 * 4

    def set(self, value):
        self.index.set_ef(value)

    def ask(self, query):
        return self.index.knn_query(query[None], 10)[0][0]


class Usearch:
    values = (16, 32, 64, 128, 256, 512)

    def __init__(self, image, kind):
        self.name = f"usearch {kind} M=32"
        start = time.process_time()
        self.index = usearch.index.Index(ndim=image.shape[1], metric="ip", dtype=kind, connectivity=32, expansion_add=128)
        self.index.add(np.arange(len(image)), image, threads=1)
        self.built, self.bytes = time.process_time() - start, self.index.memory_usage

    def set(self, value):
        self.index.expansion_search = value

    def ask(self, query):
        return self.index.search(query, 10, threads=1).keys


class Ours:
    name = "Trireme: IVF, 8-bit codes, float16 rows"

    def __init__(self, bench, files, folder):
        self.process = subprocess.Popen([bench, str(files), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.built, self.bytes, self.lists = ready["seconds"], ready["bytes"], ready["lists"]
        self.name += f", {ready['numbers']} numbers"
        self.values = [v for v in PROBES if v <= self.lists]

    def set(self, value):
        self.probes = value

    def measure(self, way, seconds):
        self.process.stdin.write(f"{way} {self.probes} {seconds}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return np.array(answer["rows"]), answer["per_second"]


def measured(one, way, queries, seconds):
    if isinstance(one, Ours):
        return one.measure(way, seconds)
    rows, count, start = [], 0, time.process_time()
    while time.process_time() - start < seconds or len(rows) < len(queries):
        found = one.ask(queries[count % len(queries)])
        if len(rows) < len(queries):
            rows.append(found)
        count += 1
    return np.array(rows), count / (time.process_time() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=150000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--recall", type=float, nargs="+", default=[0.95, 0.9])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embeddings")
    parser.add_argument("--like", type=pathlib.Path)
    parser.add_argument("--bench")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for faiss' indexes of these rows, used again when they are there")
    parser.add_argument("--only", default="", help="expression that the peers' names have to match")
    given = parser.parse_args()
    if given.embeddings:
        found, _ = tensors(given.embeddings)
        image, text = found["image"], found["text"]
    elif given.like:
        image, text = search_embeddings.drawn(*search_embeddings.pairs_of(given.like), given.rows + given.queries)
    else:
        image, text = drawn(given.rows + given.queries, given.width)
    given.width = image.shape[1]
    print(json.dumps({"rows": len(image) - given.queries, **shape_of(image, text)}))
    rows, queries = image[:-given.queries], {"image": image[-given.queries:], "text": text[-given.queries:]}
    truth = {way: ten_best(rows, q) for way, q in queries.items()}
    lists = int(2 * len(rows) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        folder = given.keep or pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if given.bench and not (folder / "all.safetensors").exists():
            learn = slice(0, len(rows), max(1, len(rows) // 20000))
            write(folder / "all.safetensors", {"rows": rows, **queries, "learn": np.concatenate([image[learn], text[:len(rows)][learn]])})
        makers = {"Trireme": lambda: Ours(given.bench, folder / "all.safetensors", folder)} if given.bench else {}
        makers |= {"faiss IVF SQ8": lambda name: Faiss(folder, name, f"IVF{lists},SQ8", rows, "nprobe", PROBES),
                   "faiss IVF RaBitQ, refined": lambda name: Faiss(folder, name, f"IVF{lists},RaBitQ,Refine(SQfp16)", rows, "nprobe", PROBES, 10),
                   "faiss IVF PQ fast scan, refined": lambda name: Faiss(folder, name, f"IVF{lists},PQ{given.width // 4}x4fsr,Refine(SQfp16)", rows, "nprobe", PROBES, 10),
                   "faiss HNSW32": lambda name: Faiss(folder, name, "HNSW32", rows, "efSearch", (16, 32, 64, 128, 256, 512)),
                   "usearch f16": lambda name: Usearch(rows, "f16"), "usearch i8": lambda name: Usearch(rows, "i8"), "hnswlib": lambda name: Hnswlib(rows)}
        all_of = []
        for name, maker in makers.items():
            if name == "Trireme" or re.search(given.only, name):
                all_of.append(maker() if name == "Trireme" else maker(name))
                print(f"built {all_of[-1].name}: {all_of[-1].built:.0f} s", file=sys.stderr)
        for least in given.recall:
            table(all_of, queries, truth, least, given)


def table(all_of, queries, truth, least, given):
    """Every index with the fewest lists (or the like) that have the recall, in turns."""
    chosen, rates = {}, {}
    for one in all_of:
        for way in queries:
            for value in one.values:
                one.set(value)
                found, _ = measured(one, way, queries[way], 0)
                recall = np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found, truth[way])])
                if recall >= least:
                    chosen[one.name, way] = value, recall
                    break
    for _ in range(given.rounds):
        for one in all_of:
            for way in queries:
                if (one.name, way) in chosen:
                    one.set(chosen[one.name, way][0])
                    rates.setdefault((one.name, way), []).append(measured(one, way, queries[way], given.seconds)[1])
    print(f"recall@10 of {least}\n| index | built, s | MB | image: knob, recall, queries/s | text: knob, recall, queries/s |\n|---|---|---|---|---|")
    for one in all_of:
        cells = [f"{chosen[one.name, way][0]}, {chosen[one.name, way][1]:.3f}, **{np.median(rates[one.name, way]):.0f}**" if (one.name, way) in chosen else "not reached"
                 for way in queries]
        print(f"| {one.name} | {one.built:.0f} | {one.bytes / 1e6:.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
