"""The GPU path as far as a machine without one can judge it: docs/gpu.md says what is judged where."""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest

from conftest import BIN, EXAMPLES, ROOT, environment, log_rows, need_program, trireme, weights

BUILD = BIN.parent
PACK_MIB = 60


def test_a_gpu_machine_without_kernels_trains(launch):
    """What a GPU without nvcc computes the loss with, forced on the CPU: the same losses."""
    short = ["spec.stages.train.steps=60"]
    want = log_rows(launch(EXAMPLES / "tiny.json", name="kernels", sets=short).succeed())
    got = log_rows(launch(EXAMPLES / "tiny.json", name="composed", sets=short, env=environment(TRIREME_PAIR_TILE="composed")).succeed())
    assert len(got) == len(want) == 60 and got != want, "the composed path was not taken"
    for a, b in zip(got, want):
        assert abs(a["loss"] - b["loss"]) < 1e-4 * abs(b["loss"]), (a["step"], a["loss"], b["loss"])


def test_nvcc_hidden_is_said_and_no_fault(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("hiding the toolkit needs root")
    hide = 'for f in /usr/local/cuda*; do [ -d "$f" ] && [ ! -L "$f" ] && mount -t tmpfs none "$f"; done; PATH=/usr/bin:/bin exec "$@"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", hide, "sh", "cmake", "-S", ROOT, "-B", tmp_path / "build", "-G", "Ninja", "-DTRIREME_TESTS=OFF", f"-DTRIREME_TORCH_ROOT={torch_folder()}"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not built" in done.stdout, done.stdout
    assert "cuda_pair_tile.o" not in (tmp_path / "build/build.ninja").read_text()


@pytest.mark.parametrize("toolkit", (False, True))
def test_a_gpu_machine_gets_torch_with_cuda_and_the_compiler_where_none_is(tmp_path, toolkit):
    """What quickstart installs beside a GPU, /dev/nvidia0 made and toolkits hidden; pip only writes down what it is asked for."""
    if os.geteuid() != 0:
        pytest.skip("a /dev of its own needs root")
    pip, said, dev, tools = tmp_path / "to/python/bin/python", tmp_path / "asked", tmp_path / "dev", tmp_path / "tools"
    for folder in (pip.parent, dev, tools):
        folder.mkdir(parents=True)
    pip.write_text(f'#!/bin/sh\necho "$*" >>{said}\n[ "$3" != show ]\n')
    pip.chmod(0o755)
    if toolkit:
        shutil.copy("/bin/true", tools / "nvcc")
    see = f"""mount -t tmpfs none {dev}
for one in null zero urandom; do touch {dev}/$one; mount --bind /dev/$one {dev}/$one; done
ln -s /proc/self/fd {dev}/fd; touch {dev}/nvidia0
mount --rbind {dev} /dev
for folder in /usr/local/cuda*; do [ -d "$folder" ] && [ ! -L "$folder" ] && mount -t tmpfs none "$folder"; done
PATH={tools}:/usr/bin:/bin exec "$@"
"""
    subprocess.run(["unshare", "-m", "sh", "-c", see, "sh", ROOT / "docker/install_dependencies.sh", tmp_path / "to", "python"], capture_output=True, timeout=60)  # its weights cannot be had
    asked = [line.split() for line in said.read_text().splitlines() if " install " in line]
    assert ["torch==2.11.0"] in [words[5:] for words in asked], asked
    compiler = ["nvidia-cuda-nvcc==13.0.88", "nvidia-nvvm==13.0.88", "nvidia-cuda-crt==13.0.88", "nvidia-cuda-cccl==13.0.85"]
    found = [words for words in asked if compiler[0] in words]
    assert (not found) if toolkit else (len(found) == 1 and found[0][-4:] == compiler and "--no-deps" in found[0]), asked
    assert not any(word.startswith("nvidia-cuda-runtime") for words in asked for word in words), "that is of machines without a GPU"


def torch_folder():
    return next((ROOT / ".trireme/python/lib").glob("python3*/site-packages/torch"))


def test_a_gpu_that_is_demanded_and_not_there_is_a_named_fault():
    if pathlib.Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    told = subprocess.run([BIN / "trireme-worker", "tool", "device"], env=environment(TRIREME_DEVICE="cuda"), capture_output=True, text=True)
    assert told.returncode == 69 and "TRIREME_DEVICE is cuda: no NVIDIA driver" in told.stderr, told.stderr
    told = subprocess.run([BIN / "trireme-worker", "tool", "device"], env=environment(TRIREME_DEVICE="gpu"), capture_output=True, text=True)
    assert told.returncode == 2 and "use auto, cpu or cuda" in told.stderr, told.stderr
    told = subprocess.run([BIN / "trireme-worker", "tool", "device"], env=environment(TRIREME_DEVICE="auto"), capture_output=True, text=True)
    assert told.returncode == 0 and told.stdout.startswith("device: cpu"), told.stdout + told.stderr


def device_beside(driver, spoil="true", words=("trireme-worker", "tool", "device"), **more):
    """What a worker (or another program) says of itself beside a driver of that version, which lists two GPUs, in a namespace of its own; `spoil` is done there before."""
    see = f'mount -t tmpfs none /proc/driver && mkdir /proc/driver/nvidia && echo "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build" >/proc/driver/nvidia/version && mkdir -p /proc/driver/nvidia/gpus/0000:01:00.0 /proc/driver/nvidia/gpus/0000:81:00.0 && {spoil} && exec "$@"'
    return subprocess.run(["unshare", "-m", "sh", "-c", see, "sh", BIN / words[0], *words[1:]], env=environment(**more), capture_output=True, text=True, timeout=120)


def test_what_stands_in_the_way_of_a_gpu_is_said_by_name(tmp_path):
    """Drivers and torches that do not fit, as far as the kernel's own files and torch's libraries tell: auto says it and takes the CPU, cuda stops with it."""
    if os.geteuid() != 0 or not pathlib.Path("/proc/driver").is_dir() or pathlib.Path("/dev/nvidiactl").exists():
        pytest.skip("needs root, /proc/driver and no GPU")
    library = torch_folder() / "lib/libtorch_cuda.so"
    cases = []
    if library.exists():
        (tmp_path / "broken.so").touch()  # in the place of torch's: one that does not load, and one that does and finds nothing
        subprocess.run(["cc", "-shared", "-x", "c", "/dev/null", "-o", tmp_path / "empty.so"], check=True)
        broken, empty = ({"spoil": f"mount --bind {tmp_path}/{name}.so {library}"} for name in ("broken", "empty"))
        cases += [("535.183.01", empty, "the NVIDIA driver is 535.183.01, and torch 2.11"), ("580.65.06", {**empty, "CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES leaves no GPU that works ('': it is empty)"),
                  ("580.65.06", {**empty, "CUDA_VISIBLE_DEVICES": "1,1"}, "('1,1': '1' is named twice, and CUDA then shows none)"),
                  ("580.65.06", {**empty, "CUDA_VISIBLE_DEVICES": "-1"}, "('-1': '-1' is none of this machine's 2 GPUs)"), ("580.65.06", empty, "finds no GPU: does nvidia-smi?"), ("580.65.06", broken, "libtorch_cuda.so does not load")]
    else:
        cases += [("580.65.06", {}, "there is a GPU driver, but")]
    for driver, more, why in cases:
        told = device_beside(driver, TRIREME_DEVICE="auto", **more)
        assert told.returncode == 0 and told.stdout.startswith("device: cpu") and why in told.stdout and "a GPU needs: an NVIDIA driver of 580" in told.stdout, (driver, more, told.stdout + told.stderr)
        told = device_beside(driver, TRIREME_DEVICE="cuda", **more)
        assert told.returncode == 69 and "TRIREME_DEVICE is cuda: " in told.stderr and why in told.stderr, (driver, more, told.stderr)
    told = device_beside(*cases[0][:1], **cases[0][1], words=("trireme", "doctor"), TRIREME_DEVICE="auto")
    assert cases[0][2] in told.stdout and "docs/gpu.md says what its machine needs" in told.stdout, told.stdout + told.stderr


def test_the_job_says_where_it_computes(launch):
    if pathlib.Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    run = launch(EXAMPLES / "tiny.json", sets=["spec.device=cuda", "spec.stages.train.steps=2"], env=environment(TRIREME_DEVICE="auto"))
    assert run.wait() == 1
    assert "the job's device is cuda, and this worker has no GPU: no NVIDIA driver" in run.text(), run.text()
    refused = trireme("plan", EXAMPLES / "tiny.json", "--set", "spec.device=gpu")
    assert refused.returncode == 2 and "/spec/device" in refused.stdout + refused.stderr


def test_a_gpu_that_is_lost_in_the_middle_leaves_the_job_to_the_others(launch, tiny_run):
    """By name, in the same start, from the last checkpoint: of three workers left the largest divisor of 8 slots is two."""
    run = launch(EXAMPLES / "tiny.json", workers=4, env=environment(TRIREME_FAULT="device.lost:50:error", TRIREME_FAULT_RANK=2)).succeed()
    said = (run.output / "logs/rank-0.log").read_text()
    assert "worker 2 on " in said and "lost its device, and is left out until the next start: train: CUDA error" in said, said[-4000:]
    assert "resumes at step 40" in said and run.progress()["incarnation"] == 1, said[-4000:]
    assert weights(run) == weights(tiny_run) and [row["loss"] for row in log_rows(run)] == [row["loss"] for row in log_rows(tiny_run)]
    states = {worker["rank"]: worker["state"] for worker in json.loads((run.output / "progress.json").read_text())["job"].get("workers", [])}
    assert states.get(2, "retired") == "retired", states


def questions(tmp_path, monkeypatch, seconds=480):
    """tests/gpu/run.py as a module; its result lies below tmp_path."""
    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path / "result.json")])
    monkeypatch.setenv("TRIREME_GPU_SECONDS", str(seconds))
    found = importlib.util.spec_from_file_location("pack_run", ROOT / "tests/gpu/run.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_question_that_hangs_costs_its_time_and_the_next_is_asked(tmp_path, monkeypatch):
    """A child in a process group of its own, as mpirun's ranks are, holds on to what the program writes to: it ends with it."""
    pack = questions(tmp_path, monkeypatch)
    hang = f"import os, signal\nchild = os.fork()\nif child == 0: os.setpgid(0, 0)\nelse: open({str(tmp_path / 'child')!r}, 'w').write(str(child))\nsignal.pause()"
    begun = time.monotonic()
    pack.check("hangs", 60, lambda figures: pack.run(sys.executable, "-c", hang, seconds=5, env=dict(os.environ)))
    assert time.monotonic() - begun < 20
    child = pathlib.Path("/proc", (tmp_path / "child").read_text(), "stat")
    gone = lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"
    while not gone() and time.monotonic() - begun < 30:
        time.sleep(0.05)
    assert gone()
    pack.check("fails", 60, lambda figures: pack.run("/bin/sh", "-c", "echo no; exit 3"))
    pack.check("no number", 60, lambda figures: pack.at_most(None, 1, "the loss"))
    pack.check("answers", 60, lambda figures: pack.run("/bin/sh", "-c", "echo a warning; echo device: cuda:0 H200").strip() and pack.said_device("a warning\ndevice: cuda:0 H200\n"))
    checks = json.loads((tmp_path / "result.json").read_text())["checks"]
    assert [one["state"] for one in checks] == ["FAIL", "FAIL", "FAIL", "pass"], checks
    assert "no answer within 5 s" in checks[0]["line"] and "exit code 3: no" in checks[1]["line"] and checks[3]["line"] == "device: cuda:0 H200", checks


HANGS = "#!/usr/bin/python3\nimport signal, sys\nfor one in (signal.SIGTERM, signal.SIGINT): signal.signal(one, signal.SIG_IGN)\nprint('a sign of life', flush=True)\nsignal.pause()\n"


def pack_that_hangs(folder):
    """run.py and a pack whose every program hangs, and asks nobody to end it."""
    content = folder / "content"
    for program in ("bin/trireme", "bin/trireme-worker", "bin/gpu_check", "bin/collective_mpi_ranks", "bin/worker_models_test", "openmpi/bin/mpirun"):
        (content / program).parent.mkdir(parents=True, exist_ok=True)
        (content / program).write_text(HANGS)
        (content / program).chmod(0o755)
    (content / "commit").write_text("none\n")
    subprocess.run(["tar", "-C", content, "-cJf", folder / "pack.tar.xz", "."], check=True)
    for name in ("run.sh", "run.py", "peer.py"):
        shutil.copy(ROOT / "tests/gpu" / name, folder)
    return folder


def judge_of_what_hangs(result, seconds, took):
    """Within its time; every question has its line; each that was asked cost its own limit, and from one on there was no time for any."""
    checks = result["checks"]
    assert took < seconds + 5 and result["seconds"] < seconds + 3, (took, result["seconds"])
    assert all(one["state"] in ("FAIL", "not run") for one in checks), checks
    hung = [one["name"] for one in checks if "within" in one["line"]]
    late = [index for index, one in enumerate(checks) if one["line"].startswith("time: ")]
    assert late and late[-1] == len(checks) - 1 and all(checks[index]["state"] == "not run" for index in late), checks
    assert all("within" not in one["line"] for one in checks[late[0]:]), "a question was asked after there was no time for one"
    return hung


@pytest.mark.parametrize("gpus", (0, 1))
def test_a_pack_whose_every_question_hangs_ends_in_its_time(tmp_path, monkeypatch, gpus):
    """A short budget, from which each limit follows: what matters most was asked, and nothing after the end."""
    folder, site = pack_that_hangs(tmp_path), tmp_path / "site/torch"
    site.mkdir(parents=True)
    (site / "version.py").write_text("__version__ = '2.11.0'\n")
    (site / "__init__.py").write_text("import signal\nsignal.pause()\n")  # a peer hangs, too
    (site.parent / "nvidia/nccl/lib").mkdir(parents=True)
    monkeypatch.syspath_prepend(site.parent)
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    seconds = 16
    begun = time.monotonic()
    pack = questions(tmp_path, monkeypatch, seconds)
    for name, value in (("HERE", folder), ("PLACE", tmp_path / "place"), ("RUNS", tmp_path / "runs"), ("count_gpus", lambda: gpus)):
        monkeypatch.setattr(pack, name, value)

    class SlowToEnd(threading.Timer):
        def run(self):
            super().run()
            time.sleep(0.5)

    monkeypatch.setattr(pack.threading, "Timer", SlowToEnd)
    assert pack.main() == 1
    assert not [one for one in threading.enumerate() if isinstance(one, SlowToEnd)], "a thread outlives the pack"
    result = json.loads((tmp_path / "result.json").read_text())
    names = [one["name"] for one in result["checks"]]
    hung = judge_of_what_hangs(result, seconds, time.monotonic() - begun)
    asked = ["device", "torch's CUDA parts and the plug-in load", "kernels against the CPU's", "losses and gradients against the CPU's", *(["NCCL group of 1"] if gpus else []), "50 training steps against the CPU's"]
    assert hung[:len(asked)] == asked, result
    if gpus:
        assert "step of ViT-B/32" in hung and "step of ViT-L/14" in hung and "loss of 1 Mi rows" in hung and names.index("loss of 1 Mi rows") == names.index("captions beside transformers") + 1, hung
    alive = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read_or_nothing(path)]
    assert not alive, "processes are left"


def test_a_pack_that_nothing_else_ends_is_ended_by_the_clock(tmp_path):
    """What no limit of a question reaches, reading a pack that never comes: the result is there all the same."""
    folder = pack_that_hangs(tmp_path)
    (folder / "pack.tar.xz").unlink()
    os.mkfifo(folder / "pack.tar.xz")
    (tmp_path / "site/torch").mkdir(parents=True)
    begun = time.monotonic()
    ended = subprocess.run([folder / "run.sh", tmp_path / "result.json"], env={**os.environ, "TRIREME_GPU_SECONDS": "3", "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and time.monotonic() - begun < 10, ended
    assert json.loads((tmp_path / "result.json").read_text())["count"] == {"pass": 0, "FAIL": 0, "not run": 0}


def test_a_second_pack_on_one_machine_leaves_the_first_alone(tmp_path, monkeypatch):
    pack = questions(tmp_path, monkeypatch)
    monkeypatch.setattr(pack, "PLACE", tmp_path / "place")
    (tmp_path / "place").mkdir()
    (tmp_path / "place/of-the-first").touch()
    first = pack.alone()
    with pytest.raises(SystemExit, match="another pack runs on this machine"):
        pack.main()
    assert (tmp_path / "place/of-the-first").exists()
    assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)], "its clock would end this process"
    first.close()
    pack.alone().close()


def read_or_nothing(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    need_program("patchelf")
    missing = [name for name in ("gpu_check", "worker_kernels_test", "worker_models_test") if not (BIN / name).exists()]
    if missing:
        pytest.skip(f"not built: {missing}")
    folder = tmp_path_factory.mktemp("pack") / "pack"
    done = subprocess.run([ROOT / "tests/gpu/pack.sh", folder, BUILD], env=environment(TRIREME_PACK_LEVEL=1), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder)


def test_the_pack_is_small_and_has_nothing_of_torch_or_cuda(pack):
    assert sum(path.stat().st_size for path in pack.iterdir()) <= PACK_MIB << 20
    names = subprocess.run(["tar", "-tf", pack / "pack.tar.xz"], capture_output=True, text=True, check=True).stdout.split()
    assert "./lib/ld-linux-x86-64.so.2" in names and "./lib/libc.so.6" in names and "./lib/libutil.so.1" in names and "./bin/trireme-worker" in names
    assert any("openmpi3/mca_btl_vader" in name for name in names)
    hardware = [name for name in names if any(part in name for part in ("_ofi.so", "_ucx.so", "_psm.so", "_psm2.so", "_openib.so", "libfabric", "libucp"))]
    assert not hardware, f"Open MPI would take them, and crash without what they drive: {hardware}"
    foreign = [name for name in names if any(part in name for part in ("libtorch", "libc10", "libcudart", "libnccl", "libcublas"))]
    assert not foreign, foreign


def bare_root(folder):
    """A root with a shell, a python and a torch wheel, and nothing else; its mounts are made in the namespace that uses it."""
    for name in ("bin", "usr/bin", "lib64", "proc", "dev", "tmp", "etc", "pack", "site"):
        (folder / name).mkdir(parents=True)
    python = pathlib.Path(os.path.realpath("/usr/bin/python3"))
    standard = pathlib.Path(f"/usr/lib/{python.name}")
    extensions = list((standard / "lib-dynload").glob("*.so"))
    told = "".join(subprocess.run(["ldd", path], capture_output=True, text=True).stdout for path in (python, "/bin/sh", "/usr/bin/dirname", *extensions))
    for word in {word for word in told.split() if word.startswith("/")}:
        target = folder / word.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, target)
    for program in (python, "/bin/sh", "/usr/bin/dirname"):
        shutil.copy(program, folder / str(program).lstrip("/"))
    (folder / "usr/bin/python3").symlink_to(python.name)
    (folder / str(standard).lstrip("/")).mkdir(parents=True)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    (folder / "etc/hosts").write_text("127.0.0.1 localhost\n")
    return standard


def run_in_bare_root(pack, root, seconds):
    """run.sh there; the process that ended, and its result."""
    standard = bare_root(root)
    enter = f"""set -e
mount --bind {standard} {root}{standard}
mount --bind {torch_folder().parent} {root}/site
mount --bind {pack} {root}/pack
mount --rbind /dev {root}/dev
mount -t proc none {root}/proc
exec chroot {root} /bin/sh /pack/run.sh /tmp/result.json"""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "/site", "TRIREME_GPU_SECONDS": str(seconds)}
    done = subprocess.run(["unshare", "-m", "/bin/bash", "-c", enter], env=env, capture_output=True, text=True, timeout=seconds + 120)
    return done, json.loads((root / "tmp/result.json").read_text())


def test_a_pack_that_hangs_ends_in_its_time_in_a_bare_root(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a root of its own needs root")
    (tmp_path / "pack").mkdir()
    begun = time.monotonic()
    done, result = run_in_bare_root(pack_that_hangs(tmp_path / "pack"), tmp_path / "root", 8)
    hung = judge_of_what_hangs(result, 8, min(result["seconds"], time.monotonic() - begun))
    assert done.returncode == 1 and hung[0] == "device" and "50 training steps against the CPU's" in hung, result


def test_the_dry_run_in_a_bare_root(pack, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("a root of its own needs root")
    done, result = run_in_bare_root(pack, tmp_path / "root", 280)
    said = done.stdout + done.stderr
    states = {one["name"]: one["state"] for one in result["checks"]}
    assert done.returncode == 0 and "FAIL" not in states.values(), said[-6000:]
    for name in ("device", "kernels against the CPU's", "losses and gradients against the CPU's", "group over MPI", "50 training steps against the CPU's", "captioner and classifier against the CPU's", "50 bf16 steps against the CPU's",
                 "a job killed and resumed", "steps read later and at once", "loss of 2 Ki rows", "step of a tiny model", "step with ALIP and DiHT", "data wait of a tiny model", "embed, teacher and caption pass"):
        assert states[name] == "pass", said[-6000:]
    wanted = ("NCCL group of 1", "loss of 1 Mi rows", "step of ViT-B/32", "step of ViT-L/14", "step of ViT-B/32 with graphs", "data wait of ViT-B/32", "data wait of ViT-L/14",
              "step beside open_clip", "captions beside transformers", "step of ViT-L/14 beside open_clip")
    assert [states[name] for name in wanted] == ["not run"] * len(wanted), "a figure that waits for a device is in the list"
    assert all(one["line"] for one in result["checks"]) and result["seconds"] < 280
