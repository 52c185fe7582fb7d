"""tiny.json's weights, bit for bit as they were recorded: what is not meant to change training does not."""
import hashlib
import re
import struct

import pytest

# Of one kind of processor each: libraries choose their kernels, and with them the last bits, by what it can do.
RECORDED = {
    "AuthenticAMD avx2 avx512_bf16 avx512f": "68c0225dbfbe6bcfb12b1b9842a64f76c5e9a6ea9abd62b404550f67023621df",
    "GenuineIntel avx2 avx512_bf16 avx512_fp16 avx512f": "d0a8d2869b83feba2af9cd10913e0055ece4ba8181285087017ecfc70baf5ae8",
}


def processor():
    text = open("/proc/cpuinfo").read()
    vendor = re.search(r"^vendor_id\s*: (\S+)", text, re.M)
    flags = re.search(r"^flags\s*: (.*)", text, re.M)
    wide = {"avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile"} & set(flags[1].split() if flags else [])
    return " ".join([vendor[1] if vendor else "?", *sorted(wide)])


def test_the_weights_of_tiny_are_those_that_were_recorded(tiny_run):
    bytes_ = (tiny_run.output / "final/model.safetensors").read_bytes()
    (header,) = struct.unpack("<Q", bytes_[:8])
    found = hashlib.sha256(bytes_[8 + header:]).hexdigest()
    if processor() not in RECORDED:
        pytest.skip(f"nothing is recorded for {processor()}; here the tensors have sha256 {found}")
    assert found == RECORDED[processor()]
