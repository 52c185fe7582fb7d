"""Every paper's loss and their combination as jobs on real processes: each trains, for any worker count with the same bits,
through a kill -9 too."""
import json
import os
import signal

import pytest

from conftest import EXAMPLES, Launch, environment, log_rows, paced, weights

PARTS = {
    "loss-align": [],
    "loss-alip": ["image_text", "image_caption"],
    "loss-diht": ["image_text", "concepts.objects", "concepts.attributes"],
    "loss-combined": ["image_text", "image_caption", "concepts.objects", "concepts.attributes"],
}
SHORT = ["spec.data.train.synthetic.samples=512", "spec.data.train.synthetic.shards=4", "spec.stages.train.epochs=6",
         "spec.stages.train.optimizer.warmup_steps=0", "spec.data.test.synthetic.samples=128", "spec.checkpoint.every_steps=4"]
STEPS = 24


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory):
    """Each example, shortened, on 2 workers; made when first asked for."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = Launch(EXAMPLES / f"{name}.json", tmp_path_factory.mktemp(name) / "run", sets=SHORT).succeed()
        return made[name]

    yield run
    for one in made.values():
        one.stop()


@pytest.mark.parametrize("name", PARTS)
def test_every_example_of_a_loss_trains(short_runs, name):
    run = short_runs(name)
    rows = log_rows(run)
    assert STEPS <= len(rows) <= STEPS + 6  # square-root sampling draws the length of an epoch too
    assert [r["step"] for r in rows] == list(range(1, len(rows) + 1))
    assert list(rows[-1].get("parts", {})) == PARTS[name]
    gated = name in ("loss-alip", "loss-combined")  # gates let more weight through as their running means fall
    falling = [part for part in PARTS[name] if not gated or part.startswith("concepts.")]
    for part in falling or ([] if gated else ["loss"]):
        early, late = (sum(r.get("parts", r)[part] for r in some) / 4 for some in (rows[:4], rows[-4:]))
        assert late < early, (part, early, late)
    assert ("gates" in rows[-1]) == (name in ("loss-alip", "loss-combined"))
    seen = json.loads((run.output / "stages/evaluate/evaluation.json").read_text())["metrics"]
    assert seen["image_retrieval_recall@10"] > 1.5 * 10 / 128, seen


def test_gates_fall_with_their_running_means(short_runs):
    gates = [r["gates"] for r in log_rows(short_runs("loss-alip"))]
    assert gates[0]["h_text_caption"] > 0.9 and gates[-1]["h_text_caption"] < gates[0]["h_text_caption"]
    assert all(0 < g["mean_sample"] <= 1 for g in gates)
    assert gates[-1]["mean_sample"] > gates[0]["mean_sample"]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_combined_loss_has_the_same_bits_for_any_worker_count(launch, short_runs, workers):
    run = launch(EXAMPLES / "loss-combined.json", workers=workers, sets=SHORT).succeed()
    expected = short_runs("loss-combined")
    drop = ("seconds", "data_wait_seconds")
    plain = [[{k: v for k, v in row.items() if k not in drop} for row in log_rows(one)] for one in (run, expected)]
    assert plain[0] == plain[1]
    assert weights(run) == weights(expected)


def test_a_kill_in_the_middle_of_the_combined_loss_costs_no_bit(launch, short_runs):
    run = launch(EXAMPLES / "loss-combined.json", sets=SHORT, env=environment(**paced(STEPS)))
    run.wait_for(lambda: run.step() >= 8, what="step 8")
    os.kill(run.processes("trireme-worker")[-1], signal.SIGKILL)
    run.succeed()
    assert run.progress().get("incarnation", 1) > 1
    expected = short_runs("loss-combined")
    assert [r["loss"] for r in log_rows(run)] == [r["loss"] for r in log_rows(expected)]
    assert [r["gates"] for r in log_rows(run)] == [r["gates"] for r in log_rows(expected)]
    assert weights(run) == weights(expected)


def test_a_loss_that_the_data_cannot_feed_is_refused_by_name(launch):
    run = launch(EXAMPLES / "loss-alip.json", sets=SHORT + ["spec.stages.train.synthetic_caption=told", "spec.retry.task_attempts=1"])
    assert run.wait(120) == 1
    assert "'told'" in run.text() + run.rank_logs()
