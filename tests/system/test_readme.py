"""Every command of the README runs. Blocks that install and build are covered by the run that starts this test."""
import json
import os
import re
import signal
import subprocess
import time


from conftest import BIN, EXAMPLES, ROOT, environment, need_shared, trireme

README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
# Where each command of the README is run for real.
ELSEWHERE = {
    "./quickstart demo": "test_quickstart_knows_its_commands, test_examples.py",
    "./quickstart test": "the run that starts this test",
    "trireme serve  runs/flickr": "test_serve.py",
}


def flickr_sets():
    shard = need_shared("data/flickr8k-500/test/0.tar")
    return ["--set", f"spec.data.train={shard}", "--set", f"spec.data.test={shard}"]


def test_every_command_is_known_to_this_file():
    known = ("./quickstart", "export PATH", "cmake --install", "trireme doctor", "trireme plan", "trireme launch", "trireme sweep", "trireme search", "trireme serve", "mpirun", "trireme submit", "trireme list",
             "trireme watch", "trireme cancel")
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        assert command.startswith(known), f"no test runs: {command}"


def test_quickstart_knows_its_commands():
    done = subprocess.run([ROOT / "quickstart"], capture_output=True, text=True)
    assert done.returncode == 2 and "quickstart build" in done.stdout


def test_the_job_file_of_the_readme_runs(launch, tmp_path):
    text = re.search(r"```json\n(.*?)```", README, re.S).group(1)
    (tmp_path / "job.json").write_text(text)
    run = launch(tmp_path / "job.json", sets=[*flickr_sets()[1::2], "spec.stages.0.min_words=1", "spec.stages.2.epochs=2", "spec.stages.2.global_batch=50"]).succeed(300)
    assert json.loads((run.output / "stages/evaluate/evaluation.json").read_text())["metrics"]["mean_recall@1"] > 0


def test_doctor_finds_everything_that_running_needs():
    done = trireme("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("mpirun", "torch", "SQLite", "weights"):
        assert word.lower() in done.stdout.lower()


def test_plan_of_every_example():
    for example in sorted(EXAMPLES.glob("*.json")):
        if example.name.startswith("sweep-"):  # a sweep is many jobs: each is read, the first is planned
            done = trireme("sweep", example, "--dry-run", check=True)
            assert re.search(r"^\S+-s\d+-[0-9a-f]{8} ", done.stdout, re.M)
            continue
        if example.name == "evaluate.json":  # of a run of demo.json, which is not made for this; test_evaluate.py runs its like
            done = trireme("plan", example)
            assert done.returncode == 0 or 'weights "' in done.stderr and 'runs/demo/final" is no file' in done.stderr, done.stderr
            continue
        sets = []
        if "../shared" in example.read_text():
            sets = flickr_sets() if "flickr" in example.name else [
                "--set", f"spec.data.train={need_shared('data/cifar10/train')}", "--set", f"spec.data.test={need_shared('data/cifar10/test')}"]
        done = trireme("plan", example, *sets, check=True)
        assert "train" in done.stdout


def table(page, head):
    """Rows of the table under this head, as lists of cells."""
    rows = page.split(head, 1)[1].split("\n\n", 1)[0].strip().splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def filter_settings():
    schema = json.loads((ROOT / "jobs/schema/job.schema.json").read_text())
    kinds = schema["properties"]["spec"]["properties"]["stages"]["items"]["anyOf"]
    return next(k["properties"] for k in kinds if "short_side_over_px" in k["properties"])


def test_every_rule_of_the_readme_is_a_setting_and_every_setting_a_rule():
    """Names, and the defaults that stand behind them without brackets."""
    known, told = filter_settings(), set()
    for rule, setting, _ in table(README, "| rule | setting | from |"):
        for name, default in re.findall(r"`(\w+)`(?: (\d+)(?=[,;| ]|$))?", setting):
            if name in known:
                told.add(name)
                assert not default or float(default) == known[name]["default"], (rule, name, default)
    assert told == set(known) - {"name", "kind", "needs", "data", "seed"}


def example(name):
    spec = json.loads((EXAMPLES / name).read_text())["spec"]
    return spec, {stage["name"]: stage for stage in spec["stages"]}


def test_the_examples_do_what_the_readme_says():
    cat = {"min_complexity", "min_actions", "spotted_text_below"}
    rows = {name: what for cell, what, _ in table(README, "| example | what it does | data |") for name in re.findall(r"`([\w.-]+\.json)`", cell)}
    for name in rows:
        assert (EXAMPLES / name).is_file(), name
    shown = "".join(row[0] for head in ("| job | what it does | data |", "| sweep (`trireme sweep`) | what it compares | runs |")
                    for row in table((EXAMPLES / "README.md").read_text(), head))
    assert set(re.findall(r"`([\w.-]+\.json)`", shown)) == {p.name for p in EXAMPLES.glob("*.json")}

    _, align = example("align.json")
    loss, optimizer, kept = align["train"]["loss"], align["train"]["optimizer"], align["filter"]
    assert (loss["reduction"], loss["label_smoothing"], loss["temperature"]["parameter"]) == ("sum_of_means", 0.1, "sigma")
    assert (optimizer["kind"], optimizer["schedule"], optimizer["decay_on"]) == ("lamb", "linear", "all") and optimizer["warmup_steps"] > 0
    assert kept["against"] == ["test"] and {"pairs", "ngrams", "near"} <= set(kept["needs"])
    assert {"short_side_over_px", "aspect_below", "min_words", "max_words", "max_images_per_text", "max_texts_per_image", "min_ngram_count"} <= set(kept)

    for name, training in (("diht.json", "train"), ("voyage.json", "alip-diht")):
        _, stages = example(name)
        assert cat <= set(stages["filter"]), name
        assert stages[training]["loss"]["hard_negatives"]["beta"] > 0 and len(stages[training]["concepts"]["heads"]) == 2
        assert "filter" in stages[training]["needs"] or "labels" in stages[training]["needs"]
    assert all(example("voyage.json")[1]["alip-diht"]["loss"]["gates"][gate] for gate in ("sample", "text", "caption"))

    strict = example("curate.json")[1]["arm-strict"]
    rules = set(filter_settings()) - {"name", "kind", "needs", "data", "seed", "keep_list", "drop_list", "list_by", "random_like", "min_ngram_count",
                                      "keep_unknown_language", "count_intransitive", "spot_confidence"}
    assert rules <= set(strict) and strict["near_unique"] == ["image", "embedding", "text"]
    _, kept = example("kept.json")
    assert any(s["kind"] == "pair_scores" for s in kept.values()) and any("random_like" in s for s in kept.values())
    assert kept["scored"]["columns"][0]["top_fraction"] < 1


def test_the_run_without_the_supervisor(tmp_path, tiny_run):
    command = next(c for c in COMMANDS if c.startswith("mpirun") and "--job" in c)
    job = json.loads((EXAMPLES / "tiny.json").read_text())
    job["spec"]["output"] = str(tmp_path / "run")
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run/final/model.safetensors").read_bytes() == (tiny_run.output / "final/model.safetensors").read_bytes()


def test_search_of_a_finished_run(tiny_run):
    done = trireme("search", tiny_run.output, "a dog running through snow", check=True)
    assert "rank" in done.stdout and (tiny_run.output / "search.html").exists()


def test_the_standing_service_with_its_default_folder(tmp_path):
    """The service section, word for word, from a scratch folder."""
    start = next(c for c in COMMANDS if c.startswith("mpirun") and "--run-dir" in c)
    service = subprocess.Popen(start, shell=True, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 30
        while not (tmp_path / "runs/service/endpoint.json").exists():
            assert service.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        job = json.loads((EXAMPLES / "tiny.json").read_text())
        job["spec"]["stages"] = job["spec"]["stages"][:1]
        job["spec"]["stages"][0]["epochs"] = 200
        (tmp_path / "job.json").write_text(json.dumps(job))
        submitted = trireme("submit", "job.json", "-o", "json", cwd=tmp_path, check=True)
        identity = json.loads(submitted.stdout)["id"]
        assert identity in trireme("list", cwd=tmp_path, check=True).stdout
        watch = subprocess.Popen([BIN / "trireme", "watch", identity], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
        time.sleep(2)
        trireme("cancel", identity, cwd=tmp_path, check=True)
        text, _ = watch.communicate(timeout=30)
        assert watch.returncode == 1 and "CANCELLED" in text
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        try:
            service.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(service.pid, signal.SIGKILL)
