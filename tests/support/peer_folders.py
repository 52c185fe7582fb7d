"""Checkpoint folders in the shapes of other programs, with weights by a formula: tests/golden/peer_folders.json names files and tensors, and what
those programs compute of the same pictures and captions (tests/oracles/record_peer_folders.py)."""
import array
import io
import json
import math
import pathlib
import struct
import tarfile
import zlib

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
CAPTIONS = ["a photo of a dog", "It's TWO Dogs, and a cat; don't you see?", "r\u00e9sum\u00e9 na\u00efve caf\u00e9", "tabs\tand   spaces", "word " * 90, "\u6771\u4eac \u732b 12345"]
REPAIRED = ["&lt;b&gt; &amp;amp; caf&eacute;", "\u201ccurly\u201d sch\u00c3\u00b6n re\u0301sume\u0301 under_score"]  # what open_clip cleans and others do not
SIZES = [(32, 32), (32, 45), (51, 32), (61, 40), (130, 47), (40, 131)]  # the last three are resized to the short side, or all to a square; Pillow takes the last one's columns first


def pixels(width, height, seed):
    rows = bytearray()
    for y in range(height):
        for x in range(width):
            rows += bytes(((x * 7 + y * 3 + seed * 40 + (x * y * (11 + seed)) % 29) % 256, (255 * x // width + seed * 5) % 256, 230 if (x + y + seed) % 17 < 6 else 30))
    return bytes(rows)


def png(width, height, rgb):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    lines = b"".join(b"\0" + rgb[3 * width * y:3 * width * (y + 1)] for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def numbers(shape, name, seed):
    """Spread evenly around what layers of that shape have, so that a pooling, a mask or a norm shows."""
    if 0 in shape:
        return b""
    count, state = math.prod(shape), (seed * 40503 + 12345) % 65536
    if len(shape) >= 2:
        wide, middle = (1.7 if "embed" in name and "patch" not in name else 5.2 / math.sqrt(count / shape[0])), 0.0
    else:
        wide, middle = .3, 1.0 if name.endswith("weight") else 0.0
    out = array.array("f")
    for _ in range(count):
        state = (state * 75 + 74) % 65537
        out.append(middle + wide * (state / 65537 - .5))
    return out.tobytes()


def write_safetensors(path, tensors):
    header, body, at = {}, [], 0
    for seed, (name, shape) in enumerate(sorted(tensors.items())):
        data = numbers(shape, name, seed)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))


def write_folder(folder, case):
    folder.mkdir(parents=True)
    for name, content in case["files"].items():
        (folder / name).write_text(json.dumps(content))
    write_safetensors(folder / case["weights"], case["tensors"])


def write_pairs(path, captions):
    with tarfile.open(path, "w") as tar:
        for i, (width, height) in enumerate(SIZES):
            for j, caption in enumerate(captions):
                for suffix, data in (("png", png(width, height, pixels(width, height, i))), ("txt", caption.encode())):
                    info = tarfile.TarInfo(f"{i}-{j}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return path
