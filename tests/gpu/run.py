"""What run.sh does: unpacks the pack, asks its programs one question after the other, and leaves one JSON with a line of judgement each."""
import fcntl
import glob
import importlib.util
import json
import math
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent
PLACE = pathlib.Path("/tmp/trireme-pack")  # as pack.sh wrote it into the programs
RUNS = pathlib.Path("/tmp/trireme-pack-runs")
WHOLE = 480.0  # seconds that the limits of the questions are made for
BUDGET = float(os.environ.get("TRIREME_GPU_SECONDS", WHOLE))  # of everything; the limits shrink and grow with it
BEGUN = time.monotonic()
LEAST = 5.0 * min(1.0, BUDGET / WHOLE)  # with less left a question is not asked
RESULT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "gpu-result.json").resolve()

NOMINAL_TFLOPS = {"H200": 989, "H100": 989, "B200": 2250, "A100": 312}  # bf16, dense, of the data sheets: what others' MFU is a part of

BF16_OFF = 2e-2  # of a loss: the CPU and a GPU leave other operations in float32

report = {"checks": []}
asked = {"name": None, "until": BEGUN + BUDGET}  # the question in hand, and when its time is up
sessions = []  # leaders of what was started and may still run
writing = threading.Lock()


def left():
    """Of everything, but a second to write down what was found."""
    return BUDGET - 1 - (time.monotonic() - BEGUN)


def time_left():
    """Of the question in hand."""
    return min(left(), asked["until"] - time.monotonic())


def no_time():
    return NotRun(f"time: {max(0, left()):.0f} s of {BUDGET:.0f} are left")


def late(what):
    """No end in time: the question's own fault, unless it was the whole budget that ended."""
    return no_time() if left() < LEAST / 5 else Failed(what)


def alone():
    """Holds the place, which is one on each machine, as long as what it returns lives."""
    lock = open(f"{PLACE}.lock", "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another pack runs on this machine and holds {PLACE}: wait for its end")
    return lock


def unpack():
    for old in (PLACE, RUNS):
        shutil.rmtree(old, ignore_errors=True)
    PLACE.mkdir(parents=True)
    with tarfile.open(HERE / "pack.tar.xz") as archive:
        archive.extractall(PLACE)
    found = importlib.util.find_spec("torch")
    if found is None:
        sys.exit("no torch in this python: name one that has torch 2.11 (cu130) with PYTHON=…")
    folder = pathlib.Path(found.submodule_search_locations[0])
    (PLACE / "torch").symlink_to(folder / "lib")
    lend_the_driver()
    version = (folder / "version.py").read_text()
    return folder, next((line.split("'")[1] for line in version.splitlines() if line.startswith("__version__")), "?")


def lend_the_driver():
    """The driver's libraries where this machine's own loader finds them; the pack's may look elsewhere. Nothing else of the machine's libraries may come along."""
    driver = PLACE / "driver"
    driver.mkdir()
    find = "import ctypes; ctypes.CDLL('libcuda.so.1'); print(next(line.split()[-1] for line in open('/proc/self/maps') if 'libcuda.so' in line))"
    try:
        found = subprocess.run([sys.executable, "-c", find], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:  # a driver that hangs is met by the first question
        return driver
    if found.returncode == 0:
        folder = pathlib.Path(found.stdout.strip()).parent
        for library in (*folder.glob("libcuda.so*"), *folder.glob("libnvidia-*.so*")):
            (driver / library.name).symlink_to(library)
    return driver


def count_gpus():
    return len(glob.glob("/dev/nvidia[0-9]*"))


def environment(**more):
    # btl_vader_single_copy_mechanism: a container that may not read another process's memory says so with every message otherwise.
    env = {"PATH": f"{PLACE}/bin:{PLACE}/openmpi/bin:{os.environ.get('PATH', '/usr/bin:/bin')}", "HOME": "/tmp", "OPAL_PREFIX": f"{PLACE}/openmpi", "PMIX_INSTALL_PREFIX": f"{PLACE}/pmix",
           "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_plm": "isolated", "OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
           "TRIREME_WEIGHTS": f"{PLACE}/weights", "LD_LIBRARY_PATH": f"{PLACE}/driver"}
    env.update({name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES", "TMPDIR") if name in os.environ})
    env.update({name: str(value) for name, value in more.items()})
    return env


class Failed(Exception):
    pass


class NotRun(Exception):
    pass


def end_session(leader):
    """All that a program has started, also in process groups of their own, as mpirun's ranks are: what is left would hold the device, and our pipe."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            after_name = pathlib.Path(path).read_text().rpartition(")")[2].split()
            if int(after_name[3]) == leader:  # state, parent, group, session
                os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except (OSError, ValueError, IndexError):  # gone meanwhile
            pass


def run(*words, seconds=math.inf, env=None):
    """Output of a program; its end is its own, or ours when it takes too long."""
    limit = min(seconds, time_left())
    if limit < LEAST / 5:
        raise no_time()
    with tempfile.TemporaryFile() as said:  # no pipe: whoever is left of its children must not keep us waiting
        in_time, code = wait_for(start(words, env or environment(), said), limit)
        said.seek(0)
        output = said.read().decode(errors="replace")
    if not in_time:
        raise late(f"no answer within {limit:.0f} s: {output[-300:]}")
    if code != 0:
        raise Failed(f"exit code {code}: {output[-600:]}")
    return output


def start(words, env, said):
    process = subprocess.Popen([str(word) for word in words], env=env, cwd="/tmp", stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
    sessions.append(process.pid)
    return process


def wait_for(process, seconds):
    """Whether it ended in time, and its exit code; nothing of it is left but what a device keeps in the kernel."""
    try:
        process.wait(timeout=max(0.1, seconds))
        in_time = True
    except subprocess.TimeoutExpired:
        in_time = False
    end_session(process.pid)
    try:
        process.wait(timeout=max(0.1, min(2, left())))
    except subprocess.TimeoutExpired:
        pass
    sessions.remove(process.pid)
    return in_time, process.returncode


def ask(*words, env=None):
    """Lines of JSON of gpu_check."""
    lines = [json.loads(line) for line in run(f"{PLACE}/bin/gpu_check", *words, env=env).splitlines() if line.startswith("{")]
    if not lines:
        raise Failed("no answer")
    return lines


def check(name, seconds, body):
    """A question with its own limit; its line is in the result whatever happens."""
    begun = time.monotonic()
    entry = {"name": name, "figures": {}}
    asked.update(name=name, until=begun + seconds)
    try:
        if left() < LEAST:
            raise no_time()
        entry["line"] = body(entry["figures"])
        entry["state"] = "pass"
    except NotRun as reason:
        entry.update(state="not run", line=str(reason))
    except Exception as failure:  # the next question is asked all the same
        entry.update(state="FAIL", line=f"{failure}"[:1000] or type(failure).__name__)
    entry["seconds"] = round(time.monotonic() - begun, 1)
    with writing:
        note(entry)


def note(entry):
    report["checks"].append(entry)
    asked["name"] = None
    print(f"{entry['state']:8} {entry['name']}: {entry['line']} ({entry['seconds']} s)", flush=True)
    RESULT.write_text(json.dumps(report, indent=1))


def close_report():
    count = {state: sum(entry["state"] == state for entry in report["checks"]) for state in ("pass", "FAIL", "not run")}
    report.update(count=count, seconds=round(time.monotonic() - BEGUN, 1))
    RESULT.write_text(json.dumps(report, indent=1))
    print(f"{count['pass']} passed, {count['FAIL']} failed, {count['not run']} not run, {report['seconds']} s; {RESULT}", flush=True)
    return 1 if count["FAIL"] else 0


def give_up(names):
    """The whole time is over, and whoever should have noticed has not: a disk that hangs, say."""
    with writing:
        for leader in list(sessions):
            end_session(leader)
        done = {entry["name"] for entry in report["checks"]}
        for name in names:
            if name not in done:
                note({"name": name, "figures": {}, "state": "not run", "line": f"time: {BUDGET:.0f} s are over", "seconds": 0})
        code = close_report()
    os._exit(code or 1)


def said_device(text):
    """That line of `tool device`, behind whatever warnings."""
    return next((line for line in text.splitlines() if line.startswith("device: ")), "")


def at_most(value, limit, what):
    if value is None or not value <= limit:  # NaN is not, and is null in JSON
        raise Failed(f"{what} is {value}, over {limit:g}")


def job(name, steps, env, workers=1, more=(), document=None, more_sets=()):
    """A run of tiny.json, or of another document; the losses of its steps."""
    output = RUNS / name
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    file = PLACE / "jobs/tiny.json"
    if document:
        file = output / "job.json"
        file.write_text(json.dumps(document))
    words = [PLACE / "bin/trireme", "launch", "-n", workers, *more, file, "--set", f"spec.output={output}"]
    if steps:
        words += ["--set", f"spec.stages.train.steps={steps}", "--set", "spec.stages.train.epochs=1"]
    for one in more_sets:
        words += ["--set", one]
    limit = time_left()
    if limit < LEAST / 5:
        raise no_time()
    with open(output / "launch.txt", "w") as said:
        in_time, code = wait_for(start(words, env, said), limit)
    said = (output / "launch.txt").read_text()[-800:]
    if not in_time:
        raise late(f"{name}: no end within {limit:.0f} s: {said}")
    if code != 0:
        raise Failed(f"{name}: exit code {code}: {said}")
    return (log_of(output, "train") if steps else None), output


def log_of(output, stage):
    return [json.loads(line) for line in (output / "stages" / stage / "log.jsonl").read_text().splitlines()]


def warm(env):
    """Compiles the peers' models in the background, which torch keeps on disk: a minute or two of processors alone."""
    script = "\n".join(f'"{sys.executable}" "{HERE / "peer.py"}" {what} warm' for what in ("step", "step_l14"))
    RUNS.mkdir(parents=True, exist_ok=True)
    with open(RUNS / "warm.txt", "w") as said:
        return start(("/bin/sh", "-c", script), env, said)


def finish(warming, seconds):
    """From here on nothing else may compute. Whether it came to its end."""
    return warming is None or wait_for(warming, min(seconds, left()))[0]


def fed_by_shards(image, text, embed_dim, samples, batch, bf16):
    """A job that trains that model and does nothing else; what it reads is rendered once for all of them."""
    px = image["image_px"]
    train = {"name": "train", "kind": "train", "data": "train", "model": "fed", "global_batch": batch, "logical_slots": 1, "epochs": 1, "optimizer": {"learning_rate": 1e-4},
             "precision": "bf16" if bf16 else "float32"}
    text = {"kind": "transformer", "layers": 12, "context": 77, "tokenizer": {"kind": "hashed_words", "buckets": 49408}, **text}
    return {"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "fed",
            "spec": {"output": "set", "store": str(RUNS / "store"), "data": {"train": {"synthetic": {"samples": samples, "shards": 32, "seed": 3, "image_px": px, "captions": 2}}},
                     "models": {"fed": {"image": {"kind": "vit", **image}, "text": text, "embed_dim": embed_dim}}, "stages": [train]}}


def labelled_pictures(folder):
    """Folders of classes with small pictures in them: squares of a class's colour, each somewhere else."""
    for label, colour in enumerate(((220, 30, 30), (30, 200, 30), (40, 40, 220))):
        (folder / f"class-{label}").mkdir(parents=True)
        for index in range(64):
            x, y = index % 8 * 3, index // 8 * 3
            rows = b"".join(b"\0" + b"".join(bytes(colour if x <= column < x + 10 and y <= row < y + 10 else (90, 90, 90)) for column in range(32)) for row in range(32))
            chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            (folder / f"class-{label}/{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def other_objectives(folder):
    """A captioner, and a classifier with batch norms and mixed pictures: nothing of a pair's loss."""
    image = {"kind": "vit", "image_px": 32, "patch_px": 8, "width": 32, "layers": 2, "heads": 2}
    words = {"kind": "transformer", "width": 32, "layers": 1, "heads": 2, "context": 16, "tokenizer": {"kind": "hashed_words", "buckets": 256}}
    decoder = {"kind": "decoder", "width": 32, "layers": 2, "heads": 2, "context": 24, "positions": 24, "prompt": "a picture of", "tokenizer": {"kind": "wordpiece", "vocabulary": "pretrained:minilm"}}
    lite = {"kind": "efficientnet_lite0", "image_px": 32, "width_factor": 0.25, "batch_norm": {"policy": "batch"}}
    stage = {"kind": "train", "global_batch": 32, "logical_slots": 2, "steps": 20, "optimizer": {"learning_rate": 1e-3}}
    return {"apiVersion": "trireme/v1", "kind": "Pipeline", "name": "others",
            "spec": {"output": "set", "data": {"pairs": {"synthetic": {"samples": 512, "shards": 8, "seed": 3, "image_px": 32, "captions": 2}}, "classes": {"path": str(folder), "layout": "class_folders"}},
                     "models": {"classifier": {"image": lite, "text": words, "embed_dim": 32}, "captioner": {"image": image, "text": decoder, "embed_dim": 32}},
                     "stages": [{**stage, "name": "caption", "data": "pairs", "model": "captioner", "objective": "captioning"},
                                {**stage, "name": "classify", "data": "classes", "model": "classifier", "objective": "classification", "classification": {"mixup": 0.2, "head_steps": 5}}]}}


def same_losses(got, want, figures, what, limit=1e-3):
    if len(got) != len(want):
        raise Failed(f"{len(got)} steps, not {len(want)}")
    off = max(abs(a["loss"] - b["loss"]) / max(1.0, abs(b["loss"])) for a, b in zip(got, want))
    figures.update(steps=len(got), worst_loss_off=off, last_loss=got[-1]["loss"])
    at_most(off, limit, "the loss's difference")
    return f"{len(got)} steps, losses within {off:.1e} of {what}"


def main():
    lock = alone()  # as long as this function runs
    names = []
    end = threading.Timer(max(0.1, left() + 1), give_up, (names,))
    end.daemon = True
    end.start()
    try:
        return ask_everything(names)
    finally:
        end.cancel()
        end.join()  # a thread that wakes while Python ends is ended through libgcc_s, which a machine may lack: abort


def ask_everything(names):
    folder, version = unpack()
    gpus = count_gpus()
    gpu = gpus > 0
    device = "cuda:0" if gpu else "cpu"
    on_device = environment() if gpu else environment(TRIREME_DEVICE="cpu", TRIREME_PAIR_TILE="composed")
    on_cpu = environment(TRIREME_DEVICE="cpu")
    report.update(commit=(PLACE / "commit").read_text().strip(), torch=version, torch_folder=str(folder), gpus=gpus, device=device, device_name="", date=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
                  figures_wanted={"step_over_open_clip": 1.5, "mfu": 0.45, "data_wait": 0.05, "loss_1m_gib": 139, "caption_over_generate": 3})

    def which_device(figures):
        text = run(f"{PLACE}/bin/trireme-worker", "tool", "device", env=on_device)
        figures["report"] = text.strip().splitlines()
        line = said_device(text)
        if gpu and not line.startswith("device: cuda:"):
            raise Failed(text.strip())
        report["device_name"] = line
        return line

    def loads(figures):
        if not (folder.parent / "nvidia/nccl/lib").is_dir():
            raise NotRun("this torch is without its CUDA libraries")
        figures.update(ask("load", device, env=environment())[0])
        if not figures["kernels"]:
            raise Failed("the pack was made without the CUDA kernels")
        return "torch's CUDA parts, the plug-in with its kernels, and NCCL are found and load"

    def kernels(figures):
        figures["paths"] = ask("tiles", device)
        for one in figures["paths"]:
            at_most(one["worst_statistics"], 1e-3, f"{one['path']}: statistics")
            at_most(one["worst_gradient"], 1e-3, f"{one['path']}: gradient")
        if gpu and not any(one["path"] == "cuda" for one in figures["paths"]):
            raise Failed("the plug-in's kernels were not there: only torch's own operations were judged")
        return ", ".join(f"{one['path']} within {max(one['worst_statistics'], one['worst_gradient']):.1e}" for one in figures["paths"])

    def tests(program, pattern):
        def body(figures):
            text = run(f"{PLACE}/bin/{program}", f"--gtest_filter={pattern}", env=environment(TRIREME_BIN=f"{PLACE}/bin"))
            figures["tail"] = text.strip().splitlines()[-3:]
            if gpu and "SKIPPED" in text:
                raise Failed("skipped on a machine with a GPU")
            if "SKIPPED" in text:
                raise NotRun("no GPU")
            return figures["tail"][-1].strip()
        return body

    def losses(figures):
        figures["members"] = ask("loss", device, *(() if gpu else (300, 64)), env=None if gpu else on_device)
        for one in figures["members"]:
            at_most(one["loss_off"], 1e-4, f"{one['member']}: loss")
            at_most(one["gradient_off"], 1e-3, f"{one['member']}: gradient")
        return f"{len(figures['members'])} members by the {figures['members'][0]['path']} path, gradients within {max(one['gradient_off'] for one in figures['members']):.1e}"

    def group(size):
        def body(figures):
            if gpus < size:
                raise NotRun(f"needs {size} GPU(s), there are {gpus}")
            return run("mpirun", "--oversubscribe", "--bind-to", "none", "-n", size, f"{PLACE}/bin/collective_mpi_ranks", "--nccl", f"{PLACE}/bin").strip().splitlines()[-1]
        return body

    def host_group(figures):
        return run("mpirun", "--oversubscribe", "--bind-to", "none", "-n", 2, f"{PLACE}/bin/collective_mpi_ranks").strip().splitlines()[-1]

    undisturbed = {}

    def training(figures):
        want, _ = job("cpu", 50, on_cpu)
        got, output = job("device", 50, on_device)
        undisturbed["rows"] = got
        later = got[5:]
        figures["data_wait"] = sum(row["data_wait_seconds"] for row in later) / max(1e-9, sum(row["seconds"] for row in later))
        figures["log"] = [line for path in sorted((output / "logs").glob("rank-*.log")) for line in path.read_text().splitlines() if " device: " in line or " collective: " in line][:12]
        return same_losses(got, want, figures, "the CPU's")

    def resumed(figures):
        if not undisturbed:
            raise NotRun("the undisturbed run did not end")
        rows, output = job("killed", 50, {**on_device, "TRIREME_FAULT": "train.after_step_before_ack:25:kill9"})
        started = json.loads((output / "progress.json").read_text())["incarnation"]
        if started < 2:
            raise Failed(f"a job whose worker was killed at step 25 has started {started} time(s)")
        return "killed at step 25 and gone on: " + same_losses(rows, undisturbed["rows"], figures, "the undisturbed run's")

    def others(figures):
        labelled_pictures(RUNS / "pictures")
        document = other_objectives(RUNS / "pictures")
        want, got = (job(f"others-{where}", None, env, document=document)[1] for where, env in (("cpu", on_cpu), ("device", on_device)))
        lines = []
        for stage, limit in (("caption", 1e-3), ("classify", 2e-2 if gpu else 1e-3)):  # cuDNN convolves in TF32
            figures[stage] = {}
            lines.append(f"{stage}: " + same_losses(log_of(got, stage), log_of(want, stage), figures[stage], "the CPU's", limit))
        return "; ".join(lines)

    def read_later(figures):
        """Steps read when the next one is launched beside steps read at once: a GPU's own way is the first."""
        if not undisturbed:
            raise NotRun("the undisturbed run did not end")
        other = "now" if gpu else "later"
        rows, _ = job(f"read-{other}", 50, {**on_device, "TRIREME_STEP_READS": other})
        return f"read {other}: " + same_losses(rows, undisturbed["rows"], figures, "the undisturbed run's")

    def two_on_one(figures):
        if gpus != 1:
            raise NotRun("needs a machine with one GPU")
        rows, _ = job("shared", 50, environment(), workers=2, more=("--share-gpus",))
        return "two workers on one GPU: " + same_losses(rows, undisturbed["rows"], figures, "one worker's")

    def refused(figures):
        if not gpu:
            raise NotRun("no GPU")
        try:
            job("refused", 5, environment(), workers=gpus + 1)
        except Failed as failure:
            if "share" in str(failure) or "GPU" in str(failure):
                return "more workers than GPUs are refused by name"
            raise
        raise Failed("more workers than GPUs were taken")

    def hidden(figures):
        text = run(f"{PLACE}/bin/trireme-worker", "tool", "device", env={**environment(), "CUDA_VISIBLE_DEVICES": ""})
        if not said_device(text).startswith("device: cpu"):
            raise Failed(text)
        return next(line for line in text.splitlines() if line.startswith("why: "))

    def step(model, batch, steps):
        def body(figures):
            figures.update(ask("step", device, model, batch, steps, env=None if gpu else on_device)[0])
            if not math.isfinite(figures["last_loss"]):
                raise Failed("the loss is not finite")
            line = f"{figures['samples_per_second']:.0f} samples/s, MFU {100 * figures['mfu']:.1f} %"
            nominal = next((most for name, most in NOMINAL_TFLOPS.items() if name in report["device_name"]), None)
            if nominal:
                figures["mfu_of_nominal"] = figures["model_tflops"] / nominal
                line += f" of what matmul reaches ({figures['matmul_tflops']:.0f} TFLOP/s), {100 * figures['mfu_of_nominal']:.1f} % of the data sheet's {nominal}"
            line += f", {figures['peak_gib']:.1f} GiB"
            if gpu and model == "b32" and figures["mfu"] < 0.45:
                raise Failed(f"{line}: MFU under 45 %")
            return line
        return body

    def alip_diht(model, batch, steps):
        """Two texts, gates, hard negatives and a head; a tiny one beside the CPU's, then the figure."""
        def body(figures):
            small = [ask("step", where, "tiny", 32, 5, "alip_diht", env=env)[0] for where, env in (("cpu", on_cpu), (device, None if gpu else on_device))]
            for which in ("first_loss", "last_loss"):
                at_most(abs(small[1][which] - small[0][which]) / max(1.0, abs(small[0][which])), 2e-2 if gpu else 1e-3, f"{which}'s difference from the CPU's")
            figures.update(small[1])
            if not gpu:
                return f"a tiny model's losses are the CPU's kernels', {small[1]['samples_per_second']:.0f} samples/s"
            figures.update(ask("step", device, model, batch, steps, "alip_diht")[0])
            return f"a tiny model's losses are the CPU's; {figures['samples_per_second']:.0f} samples/s, {figures['peak_gib']:.1f} GiB"
        return body

    def with_graphs(model, batch, steps, plain):
        """The same steps, the passes of the towers recorded there and back."""
        def body(figures):
            without = figure(plain, lambda f: f)()
            if not gpu or without is None:
                raise NotRun("no GPU" if not gpu else f"'{plain}' has no figures")
            figures.update(ask("step", device, model, batch, steps, "graphs")[0])
            at_most(abs(figures["last_loss"] - without["last_loss"]) / max(1.0, abs(without["last_loss"])), 1e-2, "the loss's difference")
            return f"{figures['samples_per_second'] / without['samples_per_second']:.2f} times as fast as without, {figures['peak_gib']:.1f} GiB, the same loss"
        return body

    def data_wait(model, steps):
        """Shards, decoders and copies beside the model: what part of a step waits for them."""
        def body(figures):
            document = {"b32": lambda: fed_by_shards({"image_px": 224, "patch_px": 32, "width": 768, "layers": 12, "heads": 12}, {"width": 512, "heads": 8}, 512, 4096, 1024, gpu),
                        "l14": lambda: fed_by_shards({"image_px": 224, "patch_px": 14, "width": 1024, "layers": 24, "heads": 16}, {"width": 768, "heads": 12}, 768, 4096, 256, gpu),
                        "tiny": lambda: fed_by_shards({"image_px": 32, "patch_px": 8, "width": 32, "layers": 2, "heads": 2}, {"width": 32, "heads": 2, "layers": 2, "context": 24}, 32, 256, 32, gpu)}
            rows, _ = job(f"fed-{model}", steps, on_device, document=document[model]())
            later = rows[min(4, len(rows) - 1):]  # the first ones record graphs and fill the pipeline
            whole = sum(row["seconds"] for row in later)
            figures.update(steps=len(later), data_wait=sum(row["data_wait_seconds"] for row in later) / whole, samples_per_second=sum(row["live"] for row in later) / whole)
            line = f"{100 * figures['data_wait']:.1f} % of a step, at {figures['samples_per_second']:.0f} samples/s from shards"
            if gpu and figures["data_wait"] > 0.05:
                raise Failed(f"{line}: over 5 %")
            return line
        return body

    def memory(rows, width):
        def body(figures):
            figures.update(ask("memory", device, rows, width, env=None if gpu else on_device)[0])
            if not math.isfinite(figures["loss"]):
                raise Failed("the loss is not finite")
            if gpu:
                at_most(figures["peak_gib"], 139, "memory in GiB")
            return f"{figures['rows']} x {figures['width']}: {figures['seconds']:.2f} s, {figures['peak_gib']:.1f} GiB, tiles of {figures['tile']}"
        return body

    def passes(figures):
        figures["passes"] = ask("passes", device, *((512, 3) if gpu else (8, 1, "small")), env=None if gpu else on_device)
        return ", ".join(f"{one['pass']} {one['images_per_second']:.0f} images/s" for one in figures["passes"])

    def no_gpu(figures):
        raise NotRun("no GPU")

    def peer(what, own, wanted):
        def body(figures):
            if not gpu:
                raise NotRun("no GPU")
            mine = own()
            if mine is None:
                raise NotRun("our own figure is missing")
            text = run(sys.executable, HERE / "peer.py", what, env=of_peers)
            figures.update(json.loads([line for line in text.splitlines() if line.startswith("{")][-1]))
            if "missing" in figures:
                raise NotRun(f"this python has no peer: {figures['missing']}")
            figures["ratio"] = mine / figures["rate"]
            line = f"{figures['ratio']:.2f} times {figures['peer']} ({mine:.0f} to {figures['rate']:.0f} per second)" + (f", wanted {wanted}" if wanted else "")
            if wanted and figures["ratio"] < wanted:
                raise Failed(line)
            return line
        return body

    def figure(name, pick):
        return lambda: next((pick(entry["figures"]) for entry in report["checks"] if entry["name"] == name and entry["figures"]), None)

    def in_bf16(figures):
        want, got = (job(f"bf16-{where}", 50, env, more_sets=("spec.stages.train.precision=bf16",))[0] for where, env in (("cpu", on_cpu), ("device", on_device)))
        return same_losses(got, want, figures, "the CPU's", BF16_OFF)

    of_peers = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": "/tmp/trireme-pack-inductor"}
    in_hand = {}

    def undisturbed_from_here(figures):
        if not finish(in_hand.get("warming"), time_left()):
            raise NotRun("the peers' models are not all compiled: what is left is part of the peers' time")
        return "the peers' models are compiled"

    # What matters most comes first: whoever runs out of time misses the end. Seconds of 480; were all of one GPU's up to the loss of 1 Mi rows to hang, all of them would be asked.
    b32, l14 = "step of ViT-B/32", "step of ViT-L/14"
    rate_of = lambda name: figure(name, lambda f: f.get("samples_per_second"))
    questions = [
        ("device", 25, which_device),
        ("torch's CUDA parts and the plug-in load", 20, loads),
        ("kernels against the CPU's", 30, kernels),
        ("losses and gradients against the CPU's", 30, losses),
        ("NCCL group of 1", 20, group(1)),
        ("NCCL group of 2", 20, group(2)),
        ("50 training steps against the CPU's", 60, training),
        ("a job killed and resumed", 45, resumed),
        *([("nothing else computes", 30, undisturbed_from_here)] if gpu else []),
        (b32, 35, step("b32", 1024, 20) if gpu else no_gpu),
        ("step beside open_clip", 60, peer("step", rate_of(b32), 1.5)),
        (l14, 35, step("l14", 256, 10) if gpu else no_gpu),
        ("embed, teacher and caption pass", 30, passes),
        ("captions beside transformers", 30, peer("caption", figure("embed, teacher and caption pass", lambda f: f["passes"][2]["images_per_second"]), 3)),
        ("loss of 1 Mi rows", 60, memory(1048576, 512) if gpu else no_gpu),
        ("loss of 32 Ki rows", 20, memory(32768, 512) if gpu else no_gpu),
        ("CUDA graphs of towers", 40, tests("worker_models_test", "ReplayedTowers*")),
        ("captioner and classifier against the CPU's", 60, others),
        ("50 bf16 steps against the CPU's", 60, in_bf16),
        ("data wait of ViT-B/32", 60, data_wait("b32", 24) if gpu else no_gpu),
        ("step of ViT-B/32 with graphs", 50, with_graphs("b32", 1024, 20, b32)),
        ("step with ALIP and DiHT", 60, alip_diht("b32", 512, 10)),
        ("steps read later and at once", 40, read_later),
        ("two workers on one GPU", 45, two_on_one),
        ("more workers than GPUs", 20, refused),
        ("GPUs hidden", 20, hidden),
        ("group over MPI", 40, host_group),
        ("step of ViT-L/14 beside open_clip", 80, peer("step_l14", rate_of(l14), None)),
        ("data wait of ViT-L/14", 90, data_wait("l14", 24) if gpu else no_gpu)]
    if not gpu:  # what the GPU is asked above, in small
        questions += [("loss of 2 Ki rows", 20, memory(2048, 64)), ("step of a tiny model", 20, step("tiny", 32, 5)), ("data wait of a tiny model", 40, data_wait("tiny", 8))]
    # A machine without a GPU, that of the dry run, may be a slow one.
    scale = BUDGET / WHOLE * (1 if gpu else 2)
    names += [name for name, _, _ in questions]
    for name, seconds, body in questions:
        check(name, seconds * scale, body)
        if gpu and name.startswith("torch's CUDA parts"):
            in_hand["warming"] = warm(of_peers)  # beside what follows, up to the first figure
    with writing:
        return close_report()


if __name__ == "__main__":
    sys.exit(main())
