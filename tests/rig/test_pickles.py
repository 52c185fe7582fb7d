"""PyTorch files made to grow: what comes out of a small file is small (SECURITY.md, "Data from strangers")."""
import io
import pathlib
import pickle
import subprocess
import sys
import time
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Named:
    """Pickled as a call of torch's function of that name."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Storage:
    def __init__(self, elements):
        self.elements = elements


class Writer(pickle._Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", Global("torch", "FloatStorage"), "0", "cpu", value.elements)
        return None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Global):
            self.write(b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n")
        elif isinstance(value, Named):
            self.save(Global(value.module, value.name))
            self.save(tuple(value.arguments))
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


class Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


def archive(path, tensors, elements):
    body = io.BytesIO()
    storage = Storage(elements)
    writer = Writer(body, 2)
    writer.dump({name: Named("torch._utils", "_rebuild_tensor_v2", storage, 0, shape, strides, False, {}) for name, (shape, strides) in tensors.items()})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", body.getvalue())
        file.writestr("archive/data/0", bytes(4 * elements))


def convert(path, timeout=20):
    return subprocess.run([sys.executable, ROOT / "worker/checkpoint/pth_to_safetensors.py", path, f"{path}.safetensors"], capture_output=True, text=True, timeout=timeout)


def test_an_honest_one_is_converted(tmp_path):
    archive(tmp_path / "a.pth", {"w": ((2, 3), (3, 1)), "tied": ((2, 3), (3, 1)), "turned": ((3, 2), (1, 3)), "none": ((0, 4), (4, 1))}, 6)
    done = convert(tmp_path / "a.pth")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tensors, elements", [
    ({"w": ((1 << 40, 0), (0, 0))}, 4),                                    # no element, and a loop over a million millions
    ({"w": ((1 << 30, 1 << 30), (0, 0))}, 4),                              # one number again and again
    ({f"w{i}": ((1 << 18,), (1,)) for i in range(3000)}, 1 << 18),         # one storage under many names
    ({f"w{i}": ((1 << 9, 1 << 9), (1, 1 << 9)) for i in range(3000)}, 1 << 18),
])
def test_what_grows_is_refused_or_small(tmp_path, tensors, elements):
    archive(tmp_path / "a.pth", tensors, elements)
    done = convert(tmp_path / "a.pth")
    result = tmp_path / "a.pth.safetensors"
    size = result.stat().st_size if result.exists() else 0
    assert size <= 9 * (tmp_path / "a.pth").stat().st_size, size
    assert done.returncode == 0 or "pth_to_safetensors:" in done.stderr, done.stderr[-1000:]


def pickled(path, body, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("archive/data.pkl", body)


def test_a_few_bytes_do_not_get_all_memory(tmp_path):
    """The place 2^31 of a pickle's memo: 32 GiB in CPython's own reader."""
    pickled(tmp_path / "a.pth", b"\x80\x02}r" + (1 << 31).to_bytes(4, "little") + b".")
    before = time.monotonic()
    done = convert(tmp_path / "a.pth")
    assert done.returncode == 1 and "asks for more memory" in done.stderr, done.stderr[-1000:]
    assert time.monotonic() - before < 10


def test_what_is_damaged_is_named_and_no_traceback(tmp_path):
    path = tmp_path / "a.pth"
    pickled(path, b"\x80\x02}." + b" " * 400, zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    at = whole.index(b"data.pkl") + len("data.pkl")
    reasons = set()
    for damaged in (whole[:at] + b"\xff" + whole[at + 1:],                  # no deflated stream
                    whole.replace(b"\x08\x00\x00\x00", b"\x08\x00\x63\x00"),  # nothing known compresses so
                    whole[:6] + b"\x01" + whole[7:].replace(b"\x14\x00\x00\x00", b"\x14\x00\x01\x00", 1)):  # said to be encrypted
        path.write_bytes(damaged)
        done = convert(path)
        assert done.returncode == 1 and done.stderr.startswith("pth_to_safetensors: ") and "Traceback" not in done.stderr, done.stderr[-1000:]
        reasons.add(done.stderr.partition(": ")[2])
    assert len(reasons) == 3, reasons
    pickled(path, b"\x80\x02(X\x07\x00\x00\x00storage\x8c\x01atQ.")  # a storage of two words
    assert "a storage without its size" in convert(path).stderr
