"""transformers' AutoTokenizer on the files beside exported graphs, against the ids that were written beside them.

usage: check_tokenizers.py FOLDER   (sub-folders with the files of a tokenizer and ids.json)
needs: transformers sentencepiece

Prints the name of each sub-folder whose ids are equal; ends with an error at the first that are not.
"""
import json
import os
import pathlib
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import AutoTokenizer  # noqa: E402

for folder in sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir()):
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    for row in json.loads((folder / "ids.json").read_text()):
        ids = tokenizer(row["text"], truncation=True).input_ids
        assert ids == row["ids"], (folder.name, type(tokenizer).__name__, row, ids)
    print(folder.name, flush=True)
