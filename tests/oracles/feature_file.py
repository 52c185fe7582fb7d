"""The tensors of a features file (safetensors), for the oracles."""
import json

import numpy


def tensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    kinds = {"F32": numpy.float32, "I64": numpy.int64}
    return {name: numpy.frombuffer(data[8 + size:][slice(*one["data_offsets"])], kinds[one["dtype"]]).reshape(one["shape"])
            for name, one in json.loads(data[8:8 + size]).items() if name != "__metadata__"}
