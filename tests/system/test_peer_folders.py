"""The model that `weights inspect` prints of a folder, pasted into a job, computes what the folder's own program computes: pictures and captions,
not ids and pixels (tests/golden/peer_folders.json: transformers 5.24, open_clip 3.3, timm 1.0)."""
import array
import gzip
import json
import math
import shutil
import struct
import sys

import pytest

from conftest import ROOT, trireme

sys.path.insert(0, str(ROOT / "tests/support"))
import peer_folders

def cosines(run, stage):
    found = {}
    for line in (run / f"stages/{stage}/outputs.jsonl").read_text().splitlines():
        for out in json.loads(line)["outputs"]:
            if out["path"].endswith(".scores.jsonl"):
                for row in map(json.loads, (run / out["path"]).read_text().splitlines()):
                    if "key" in row:
                        found[row["key"]] = next(value for key, value in row.items() if key not in ("key", "sample"))
    return found


def image_rows(run, stage):
    """Unit rows of a stage's features, by sample."""
    found = {}
    for line in (run / f"stages/{stage}/outputs.jsonl").read_text().splitlines():
        for out in json.loads(line)["outputs"]:
            if out["path"].endswith(".features.safetensors"):
                raw = (run / out["path"]).read_bytes()
                size = struct.unpack("<Q", raw[:8])[0]
                head, body = json.loads(raw[8:8 + size]), raw[8 + size:]
                numbers = lambda name, code: array.array(code, body[slice(*head[name]["data_offsets"])])
                flat, width = numbers("image", "f"), head["image"]["shape"][1]
                for i, sample in enumerate(numbers("sample", "q")):
                    row = flat[i * width:(i + 1) * width]
                    norm = math.sqrt(sum(x * x for x in row))
                    found[sample] = [x / norm for x in row]
    return found


def test_a_printed_model_computes_what_the_folders_own_program_does(launch, tmp_path):
    golden = json.loads((peer_folders.GOLDEN / "peer_folders.json").read_text())
    timm = golden.pop("timm")
    data, models, stages = {}, {}, []
    for name, case in golden.items():
        folder = tmp_path / name
        peer_folders.write_folder(folder, case)
        if name == "siglip":
            shutil.copy(peer_folders.GOLDEN / "sentencepiece/t5.model", folder / "spiece.model")
        data[name] = {"path": str(peer_folders.write_pairs(tmp_path / f"{name}.tar", case["captions"])), "captions": "one"}
        found = json.loads(trireme("weights", "inspect", folder, "--json", check=True).stdout)
        assert not found.get("refused"), found["refused"]
        models[name] = found["model"]
        for tower in ("image", "text"):
            models[name][tower]["frozen"] = True
        stages.append({"name": name, "kind": "pair_scores", "data": [name], "model": name})
    assert models["clip"]["image"]["crop_rounding"] == "down" and "crop_rounding" not in models["open_clip"]["image"]
    assert models["siglip"]["text"]["tokenizer"]["marks"] == "siglip"
    folder = tmp_path / "timm"
    peer_folders.write_folder(folder, timm)
    data["timm"] = {"path": str(peer_folders.write_pairs(tmp_path / "timm.tar", ["a"])), "captions": "one"}
    models["timm"] = json.loads(trireme("weights", "inspect", folder, "--json", check=True).stdout)["model"]
    models["timm"]["image"] |= {"weights": str(folder), "frozen": True}
    models["timm"]["text"] = {"kind": "transformer", "width": 32, "layers": 1, "heads": 2, "context": 8, "tokenizer": {"kind": "hashed_words", "buckets": 64}}
    stages.append({"name": "timm", "kind": "embed", "data": ["timm"], "model": "timm"})
    assert [models[name]["image"].get("resampling") for name in ("open_clip", "timm", "clip", "siglip")] == ["pillow", "pillow", None, None]
    (tmp_path / "job.json").write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "folders", "spec": {
        "output": str(tmp_path / "run"), "data": data, "models": models, "stages": stages}}))
    run = launch(tmp_path / "job.json", workers=1).succeed()
    for name, case in golden.items():
        ours, worst = cosines(run.output, name), 0.0
        assert len(ours) == len(peer_folders.SIZES) * len(case["captions"])
        for i, row in enumerate(case["cosines"]):
            for j, theirs in enumerate(row):
                worst = max(worst, abs(ours[f"{i}-{j}"] - theirs))
        assert worst <= 1e-5, (name, worst)
    rows = image_rows(run.output, "timm")
    assert len(rows) == len(timm["rows"]) == len(peer_folders.SIZES)
    assert max(abs(a - b) for i, row in enumerate(timm["rows"]) for a, b in zip(rows[i], row)) <= 1e-5


@pytest.mark.parametrize("tower, field, said", [("text_cfg", "context_length", 30), ("vision_cfg", "image_size", 64)])
def test_positions_that_open_clip_would_stretch_are_refused(tmp_path, tower, field, said):
    """open_clip 3.3 resizes the positions of a file to what the config says (resize_pos_embed, resize_text_pos_embed)."""
    case = json.loads((peer_folders.GOLDEN / "peer_folders.json").read_text())["open_clip"]
    case["files"]["open_clip_config.json"]["model_cfg"][tower][field] = said
    peer_folders.write_folder(tmp_path / "stretched", case)
    refused = json.loads(trireme("weights", "inspect", tmp_path / "stretched", "--json", check=True).stdout)["refused"]
    assert len(refused) == 1 and f"{tower}.{field} is {said}" in refused[0], refused


@pytest.mark.parametrize("kind", ["open_clip", "clip", "siglip", "timm"])
def test_a_tensor_of_no_extent_is_refused_by_what_it_means(tmp_path, kind):
    case = json.loads((peer_folders.GOLDEN / "peer_folders.json").read_text())[kind]
    shapes = case["tensors"]
    patches = next(name for name in shapes if "patch_embed" in name and len(shapes[name]) == 4 or name == "visual.conv1.weight")
    for axis, field in ((0, "image.width: 0"), (2, "image.patch_px: 0")):
        folder = tmp_path / f"{axis}"
        peer_folders.write_folder(folder, {**case, "tensors": {**shapes, patches: [0 if i == axis else extent for i, extent in enumerate(shapes[patches])]}})
        done = trireme("weights", "inspect", folder)
        assert "the shapes of the tensors mean" in done.stdout and field in done.stdout, (done.returncode, done.stdout, done.stderr)


def test_a_job_that_states_its_text_tower_is_refused_where_open_clip_would_stretch(tmp_path):
    """Neither the file's positions nor the first ones of them are what open_clip would make of another context_length."""
    case = json.loads((peer_folders.GOLDEN / "peer_folders.json").read_text())["open_clip"]
    folder = tmp_path / "stretched"
    peer_folders.write_folder(folder, case)
    model = json.loads(trireme("weights", "inspect", folder, "--json", check=True).stdout)["model"]
    whole = model["text"]["context"]
    assert whole == case["files"]["open_clip_config.json"]["model_cfg"]["text_cfg"]["context_length"] > 30
    data = {"d": {"path": str(peer_folders.write_pairs(tmp_path / "d.tar", ["a dog"]))}}

    def planned(context):
        stated = {**model, "text": {**model["text"], "context": context, "frozen": True}, "image": {**model["image"], "frozen": True}}
        (tmp_path / "job.json").write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "m", "spec": {
            "output": str(tmp_path / "run"), "data": data, "models": {"m": stated}, "stages": [{"name": "scores", "kind": "pair_scores", "data": ["d"], "model": "m"}]}}))
        return trireme("plan", tmp_path / "job.json")

    assert planned(whole).returncode == 0 and planned(30).returncode == 0, "a causal tower that reads less"
    config = case["files"]["open_clip_config.json"]
    config["model_cfg"]["text_cfg"]["context_length"] = 30
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for context in (whole, 30):
        done = planned(context)
        assert done.returncode != 0 and f"has {whole}, context_length of open_clip_config.json is 30" in done.stderr, done.stderr


def clip_ids():
    merges = gzip.open(ROOT / ".trireme/weights/clip-merges.txt.gz").read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    return {merge.replace(" ", ""): 512 + i for i, merge in enumerate(merges)}


def test_another_vocabulary_of_the_same_size_is_refused(tmp_path):
    """transformers reads ids from vocab.json, or from tokenizer.json where there is no other file; two that are exchanged are two other words."""
    if not (ROOT / ".trireme/weights/clip-merges.txt.gz").exists():
        pytest.skip("the published vocabularies are not installed")
    case = json.loads((peer_folders.GOLDEN / "peer_folders.json").read_text())["clip"]
    folder = tmp_path / "clip"
    peer_folders.write_folder(folder, case)
    model = json.loads(trireme("weights", "inspect", folder, "--json", check=True).stdout)["model"]
    (tmp_path / "job.json").write_text(json.dumps({"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "words", "spec": {
        "output": str(tmp_path / "run"), "data": {"d": {"path": str(peer_folders.write_pairs(tmp_path / "d.tar", ["a dog"]))}}, "models": {"m": {**model, "image": {**model["image"], "frozen": True}, "text": {**model["text"], "frozen": True}}},
        "stages": [{"name": "scores", "kind": "pair_scores", "data": ["d"], "model": "m"}]}}))
    ids = clip_ids()
    (folder / "vocab.json").write_text(json.dumps(ids))
    assert trireme("plan", tmp_path / "job.json").returncode == 0
    swapped = {**ids, "dog</w>": ids["cat</w>"], "cat</w>": ids["dog</w>"]}
    (folder / "vocab.json").write_text(json.dumps(swapped))
    done = trireme("plan", tmp_path / "job.json")
    assert done.returncode != 0 and "vocab.json" in done.stderr and ("dog</w>" in done.stderr or "cat</w>" in done.stderr), done.stderr
    (folder / "vocab.json").write_text(json.dumps(ids))
    lines = gzip.open(ROOT / ".trireme/weights/clip-merges.txt.gz").read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n")
    assert trireme("plan", tmp_path / "job.json").returncode == 0
    at = lines.index("do g</w>")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines[:at], *lines[at + 1:], lines[at]]) + "\n")
    done = trireme("plan", tmp_path / "job.json")
    assert done.returncode != 0 and f"merge {at + 1} of {folder / 'merges.txt'}" in done.stderr, "the same ids, other pieces: " + done.stderr
    (folder / "merges.txt").unlink()
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": ids, "merges": [line.split(" ") for line in lines[:at]]}}))
    done = trireme("plan", tmp_path / "job.json")
    assert done.returncode != 0 and f"merge {at + 1} of {folder / 'tokenizer.json'} is nothing" in done.stderr, done.stderr
    (folder / "vocab.json").unlink()
    for vocabulary, normalizer, word in ((swapped, "Lowercase", "tokenizer.json"), (ids, "NFC", "does not lower-case"), (ids, "Lowercase", "")):
        (folder / "tokenizer.json").write_text(json.dumps({"normalizer": {"type": normalizer}, "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
        done = trireme("plan", tmp_path / "job.json")
        assert (done.returncode == 0) == (word == "") and word in done.stderr, done.stderr
