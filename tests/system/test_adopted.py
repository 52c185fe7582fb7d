"""A store that version 8b5d5c5 wrote (tests/golden/adopted: store.json on one worker) goes on to count: every result in it is taken over,
and what is computed anew has the same names and, where no processor rounds, the same bytes."""
import tarfile

import pytest

from conftest import ROOT

GOLDEN = ROOT / "tests/golden/adopted"
# Sums of floating-point numbers: their last bits are the processor's, and so are the sums of files over them.
ROUNDED = ("train", "embed", "evaluate", "pair_scores")


@pytest.fixture
def old(tmp_path):
    with tarfile.open(GOLDEN / "store.tar.gz") as tar:
        tar.extractall(tmp_path / "old")
    return tmp_path / "old/store"


def files(store):
    return {str(p.relative_to(store)): p for p in sorted(store.rglob("*")) if p.is_file()}


def test_every_result_is_taken_over(launch, old):
    run = launch(GOLDEN / "store.json", workers=1, sets=[f"spec.store={old}"]).succeed()
    stages = {s["name"]: (s["tasks_done"], s["tasks_reused"]) for s in run.progress()["stages"]}
    done, reused = stages.pop("index")  # its embeddings are taken over; a segment of each, and the index of them, are made since
    assert done == 2 * reused + 1 > 1
    assert len(stages) == 14 and all(done == reused > 0 for done, reused in stages.values()), stages
    (weights,) = old.glob("train/*/*/model.safetensors")
    assert (run.output / "final/model.safetensors").read_bytes() == weights.read_bytes()


def test_what_is_computed_anew_has_the_same_names_and_bytes(launch, old, tmp_path):
    launch(GOLDEN / "store.json", sets=[f"spec.store={tmp_path / 'store'}"]).succeed()
    was, now = ({name: path for name, path in files(store).items() if not name.startswith(("index/", "segment/"))} for store in (old, tmp_path / "store"))
    assert was.keys() == now.keys()
    counted_since = {name for name in was if name.startswith("inspect/") and name.endswith(".receipt.json")}  # members by what became of them
    compared = [name for name in was if not name.startswith(ROUNDED) and name not in counted_since]
    assert len(compared) > 100
    assert [name for name in compared if was[name].read_bytes() != now[name].read_bytes()] == []
