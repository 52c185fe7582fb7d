"""What onnxruntime makes of exported towers, against the rows that were written beside them.

usage: check_onnx.py FOLDER   (sub-folders with image.onnx, text.onnx, onnx_config.json and expected.safetensors)
needs: onnxruntime numpy safetensors

Prints one line per sub-folder: its name and the largest difference.
"""
import json
import pathlib
import sys

import numpy
import onnxruntime
from safetensors.numpy import load_file

onnxruntime.set_default_logger_severity(3)
for folder in sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir()):
    config = json.loads((folder / "onnx_config.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    worst = 0.
    for tower, prefix in (("image", "pixels"), ("text", "tokens")):
        session = onnxruntime.InferenceSession(str(folder / config[tower]["file"]), providers=["CPUExecutionProvider"])
        given = sorted(name for name in expected if name.startswith(prefix))
        assert given, folder
        for name in given:  # batches of several sizes, texts of several lengths
            rows = session.run([config[tower]["output"]], {config[tower]["input"]: expected[name]})[0]
            wanted = expected[name.replace(prefix, tower)]
            assert rows.shape == wanted.shape and numpy.isfinite(rows).all(), (folder, name, rows.shape, wanted.shape)
            worst = max(worst, float(abs(rows - wanted).max()))
    print(folder.name, worst)
