"""ALIGN's linearity, measured where truth is known: picture of one object + the words of another colour (- those of its own) -> a picture of the
same object in that colour. Over the rendered scenes of a run whose index stage covers a synthetic data set (jobs/examples/demo.json):

    python3 tests/bench/search_analogies.py RUN [--weight 2] [--queries 500]

Prints recall@1, @10: how often such a picture is among the hits; beside it the same by the words alone, by the picture alone, and by chance.
"""
import argparse
import json
import pathlib
import random
import struct
import subprocess
import tempfile


def segment_keys(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    part = lambda name: data[slice(*header[name]["data_offsets"])]
    ends = struct.unpack(f"<{header['about.end']['shape'][0]}q", part("about.end"))
    return [json.loads(part("about")[first:end])["key"] for first, end in zip((0, *ends), ends)]


def scenes(run):
    """id -> (shape, colour, background) of pictures with one object."""
    manifest = json.loads((run / "index/manifest.json").read_text())
    found = {}
    for segment in manifest["segments"]:
        truth = {}
        shard = pathlib.Path(manifest["shards"][segment["shard"]]["path"])
        for line in shard.with_name(shard.name.removesuffix(".tar") + ".truth.jsonl").read_text().splitlines():
            row = json.loads(line)
            truth[row["key"]] = row
        for row, key in enumerate(segment_keys(run / "index" / segment["name"])):
            scene = truth.get(key, {}).get("scene")
            if scene and len(scene["objects"]) == 1:
                found[f"{segment['xxh3'][:16]}.{row}"] = (scene["objects"][0]["shape"], scene["objects"][0]["colour"])
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--weight", type=float, default=2)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--trireme", default="trireme")
    given = parser.parse_args()
    of = scenes(given.run)
    by_scene = {}
    for item, scene in of.items():
        by_scene.setdefault(scene, []).append(item)
    draw = random.Random(1)
    asked = []
    for item in draw.sample(sorted(of), min(given.queries, len(of))):
        shape, colour = of[item]
        others = sorted(c for s, c in by_scene if s == shape and c != colour)
        if others:
            asked.append((item, shape, colour, draw.choice(others)))
    ways = {
        "picture + words": lambda i, s, c, t: [{"item": i}, {"text": f"a {t} {s}", "weight": given.weight}],
        "picture + words - its own": lambda i, s, c, t: [{"item": i}, {"text": f"a {t} {s}", "weight": given.weight}, {"text": f"a {c} {s}", "weight": -given.weight}],
        "words alone": lambda i, s, c, t: [{"text": f"a {t} {s}"}],
        "picture alone": lambda i, s, c, t: [{"item": i}],
    }
    print(f"{len(of)} pictures of one object, {len(asked)} queries\n| query | recall@1 | recall@10 |\n|---|---|---|")
    for name, parts in ways.items():
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for one in asked:
                file.write(json.dumps({"query": parts(*one), "k": 10, "exact": True}) + "\n")
            file.flush()
            done = subprocess.run([given.trireme, "search", given.run, "--batch", file.name], capture_output=True, text=True, check=True)
        at = {1: 0, 10: 0}
        for (_, shape, _, target), line in zip(asked, done.stdout.splitlines()):
            hits = [of.get(hit["id"]) for hit in json.loads(line)["hits"]]
            for k in at:
                at[k] += (shape, target) in hits[:k]
        print(f"| {name} | {at[1] / len(asked):.3f} | {at[10] / len(asked):.3f} |")
    total = json.loads((given.run / "index/manifest.json").read_text())["items"]
    chance = lambda k: sum(1 - (1 - len(by_scene[shape, target]) / total) ** k for _, shape, _, target in asked) / len(asked)
    print(f"| chance | {chance(1):.3f} | {chance(10):.3f} |")


if __name__ == "__main__":
    main()
