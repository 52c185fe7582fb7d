"""Every kind of bad input ends in a clear message that names file, member or field and what to do: no hang, no crash."""
import io
import json
import os
import socket
import struct
import subprocess
import tarfile
import time
import zlib

import pytest

from conftest import BIN, EXAMPLES, ROOT, environment, trireme

TINY = json.loads((EXAMPLES / "tiny.json").read_text())


@pytest.fixture(scope="module")
def good_images(tiny_run):
    """Encoded images of the synthetic source."""
    images = []
    for path in sorted((tiny_run.output / "store/synthesize").rglob("*.tar"))[:2]:
        with tarfile.open(path) as tar:
            images += [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]
    assert len(images) >= 64
    return images


def png(width, height, colour=2, depth=8, lie=None):
    """A flat picture; `lie` is what its header claims instead of its real sides."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = b"".join(b"\0" + b"\x55" * (width * channels * depth // 8) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *(lie or (width, height)), depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def golden_image(name):
    """Of the pictures that Pillow wrote (tests/oracles/record_images.py)."""
    with tarfile.open(ROOT / "tests/golden/worker_data_images.tar") as tar:
        return tar.extractfile(name).read()


def with_sides(jpeg, width, height):
    """The same JPEG, with other sides in its frame header."""
    at = next(jpeg.index(bytes([0xFF, kind])) for kind in (0xC0, 0xC2) if bytes([0xFF, kind]) in jpeg)
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def write_tar(path, members):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def pairs(images, first=0):
    out = []
    for i, image in enumerate(images, first):
        out += [(f"{i:09d}.jpg", image), (f"{i:09d}.txt", f"a picture number {i} of some things".encode())]
    return out


def small_job(folder, data, **spec):
    """Filter only what a scan can find, then train two steps."""
    job = json.loads(json.dumps(TINY))
    job["spec"]["data"]["train"] = data
    job["spec"]["output"] = str(folder / "run")
    job["spec"]["stages"] = [{"name": "filter", "kind": "filter", "data": ["train"], "short_side_over_px": 8, "min_words": 1}]
    job["spec"].update(spec)
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def launch(path, workers=2, timeout=120, env=None):
    return subprocess.run([BIN / "trireme", "launch", "-n", str(workers), str(path)], capture_output=True, text=True, timeout=timeout, env=env or environment())


def read_terminal(folder, run="run"):
    return json.loads((folder / run / "terminal.json").read_text())


def counts(folder):
    progress = json.loads((folder / "run/progress.json").read_text())["job"]
    total = {}
    for stage in progress["stages"]:
        for name, value in stage["counts"].items():
            total[name] = total.get(name, 0) + value
    return total


@pytest.mark.parametrize("name, content, words", [
    ("empty.tar", b"", "empty"),
    ("text.tar", b"this is no tar archive at all, just some text\n" * 40, "not a tar"),
], ids=["empty", "text"])
def test_a_shard_that_is_no_tar_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    done = launch(small_job(tmp_path, str(tmp_path / name)))
    assert done.returncode == 1
    assert name in done.stdout + done.stderr and words in done.stdout + done.stderr


def test_a_missing_path_names_the_field_and_the_set_that_mends_it(tmp_path):
    done = trireme("plan", small_job(tmp_path, str(tmp_path / "nowhere")))
    assert done.returncode != 0
    assert "nowhere" in done.stderr + done.stdout and "--set spec.data.train=" in done.stderr + done.stdout


def test_truncated_duplicate_and_captionless_samples_are_counted(tmp_path, good_images):
    members = pairs(good_images[:20])
    members += [("000000003.jpg", good_images[3]), ("000000003.txt", b"the same key again")]
    members += [("000000100.jpg", good_images[21]), ("000000101.jpg", good_images[22]), ("000000101.txt", b""),
                ("000000102.jpg", good_images[23]), ("000000102.txt", b"\xff\xfe not utf-8 \xc3"),
                ("000000103.jpg", good_images[24]), ("000000103.txt", b"word " * 250000)]
    members += [("000000104.jpg", good_images[25])]
    path = write_tar(tmp_path / "a.tar", members)
    with tarfile.open(path) as tar:
        cut = tar.getmembers()[-1].offset_data + 300  # inside the last picture
    os.truncate(path, cut)
    done = launch(small_job(tmp_path, {"path": str(path), "max_bad_fraction": 1}))
    assert done.returncode == 0, done.stdout + done.stderr
    seen = counts(tmp_path)
    bad = {name[4:]: count for name, count in seen.items() if name.startswith("bad.")}
    assert bad == {"duplicate_key": 1, "no_caption": 2, "bad_text": 1, "truncated": 1}, seen
    assert seen["noted.long_caption"] == 1, seen
    report = (tmp_path / "run" / "report.html").read_text()
    log = (tmp_path / "run" / "logs" / "rank-0.log").read_text()
    for text in (report, log):
        assert "a.tar" in text and f"the file ends at byte {cut}" in text and "000000100: no_caption" in text
    assert seen["kept"] == 20, seen  # the long caption is cut to its limit, and then has too many words


def test_bad_images_are_counted_by_reason_and_the_rest_is_kept(tmp_path, good_images):
    bad = [b"", b"not an image", good_images[0][:200], good_images[1][: len(good_images[1]) // 2], b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
           b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 20]
    path = write_tar(tmp_path / "b.tar", pairs(good_images[:30] + bad))
    done = launch(small_job(tmp_path, {"path": str(path), "max_bad_fraction": 1}))
    assert done.returncode == 0, done.stdout + done.stderr
    seen = counts(tmp_path)
    assert seen["kept"] == 30 and seen["dropped.bad_decode"] == 6, seen
    assert seen["bad.empty_image"] == 1 and seen["bad.unknown_format"] == 1 and seen["bad.truncated_image"] >= 2, seen


def test_odd_images_are_kept_and_impossible_ones_counted(tmp_path, good_images):
    odd = [golden_image(name) for name in ("cmyk.jpg", "grey.jpg", "grey16.png", "rgba8.png", "palette.png", "lossless.webp")]
    odd += [png(24, 20, colour, depth) for colour, depth in ((0, 8), (0, 16), (2, 16), (3, 8), (4, 16), (6, 16))]
    giant = [png(8, 8, lie=(60000, 60000)), png(8, 8, lie=(16385, 1)), with_sides(good_images[0], 65500, 65500)]
    zero = [png(8, 8, lie=(0, 8)), with_sides(good_images[0], 0, 32)]
    path = write_tar(tmp_path / "odd.tar", pairs(odd + giant + zero + [golden_image("animated.webp")]))
    done = launch(small_job(tmp_path, {"path": str(path), "max_bad_fraction": 1}))
    assert done.returncode == 0, done.stdout + done.stderr
    seen = counts(tmp_path)
    assert seen["kept"] == len(odd), seen
    assert (seen["bad.too_large"], seen["bad.bad_header"], seen["bad.animated"]) == (len(giant), len(zero), 1), seen


def test_training_skips_no_batch_for_images_that_break_late(tmp_path, good_images):
    """Without a filter, damage is first seen while training: the sample is passed over, the job goes on."""
    images = good_images[:60] + [good_images[0][:300], b"", png(8, 8, lie=(60000, 60000)), golden_image("animated.webp")]
    path = write_tar(tmp_path / "late.tar", pairs(images))
    job = json.loads(small_job(tmp_path, {"path": str(path), "max_bad_fraction": 0.5}).read_text())
    job["spec"]["stages"] = [dict(TINY["spec"]["stages"][0], global_batch=32, epochs=2)]
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = counts(tmp_path)  # of both workers, once an epoch
    bad = {name[4:]: count for name, count in seen.items() if name.startswith("bad.")}
    assert bad == {"truncated_image": 2, "empty_image": 2, "too_large": 2, "animated": 2} and seen["samples"] == 120, seen


def test_a_table_with_missing_pictures_and_short_rows(tmp_path, good_images):
    rows = ["filepath,title"]
    for i in range(8):
        (tmp_path / f"{i}.jpg").write_bytes(good_images[i])
        rows.append(f'{i}.jpg,"a picture, number {i}"')
    rows += ["absent.jpg,not there", "half a row", "0.jpg,the same picture again", "7.jpg,"]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(rows) + "\n")
    done = launch(small_job(tmp_path, {"path": str(table), "max_bad_fraction": 0.5}))
    assert done.returncode == 0, done.stdout + done.stderr
    seen = counts(tmp_path)
    assert seen["kept"] == 8 and seen["bad.no_image"] == 1 and seen["bad.bad_row"] == 1, seen
    done = launch(small_job(tmp_path, {"sources": [{"path": str(table), "caption_column": "titel"}]}, output=str(tmp_path / "run2")))
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "pairs.csv" in text and "titel" in text and '"title"' in text and "caption_column" in text, text


def test_a_selection_beyond_the_data_is_refused(tmp_path, good_images):
    path = write_tar(tmp_path / "f.tar", pairs(good_images[:8]))
    done = launch(small_job(tmp_path, {"path": str(path), "select": "100:200"}))
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "100:200" in text and "8" in text and "train" in text, text


@pytest.mark.parametrize("override, code, words", [
    ("spec.data.trian=/nowhere/x", 2, ["/spec/data/trian", "/nowhere/x", '"train"']),
    ("spec.data.other=/nowhere/x", 3, ["/spec/data/other", "/nowhere/x"]),
    ("spec.stages.9.epochs=1", 2, ["spec.stages.9", "3 entries"]),
    ("spec.timeout.dead_seconds=1", 2, ["spec.timeout.dead_seconds", "timeouts"]),
    ("no equals sign", 2, ["no equals sign", "path=value"]),
    ("=5", 2, ["=5", "path=value"]),
], ids=["slip", "data", "index", "key", "no-value", "no-path"])
def test_a_wrong_set_is_named(override, code, words):
    done = trireme("plan", EXAMPLES / "tiny.json", "--set", override)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    for word in words:
        assert word in text, (word, text)


def test_frozen_towers_without_weights_are_refused(tmp_path):
    job = json.loads(json.dumps(TINY))
    job["spec"]["models"]["tiny"]["image"] = {"kind": "efficientnet_b0", "frozen": True}
    job["spec"]["models"]["tiny"]["text"] = {"kind": "bert", "frozen": True, "tokenizer": {"kind": "wordpiece"}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = trireme("plan", tmp_path / "job.json")
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    for word in ("/spec/models/tiny/image/weights", "/spec/models/tiny/text/weights", "needs weights", "tokenizer/vocabulary"):
        assert word in text, (word, text)


def test_a_shard_without_samples_fails_loudly_unless_allowed(tmp_path, good_images):
    shards = tmp_path / "shards"
    shards.mkdir()
    write_tar(shards / "0.tar", pairs(good_images[:8]))
    write_tar(shards / "1.tar", [("readme.md", b"nothing here")])
    done = launch(small_job(tmp_path, str(shards)))
    assert done.returncode == 1 and "1.tar" in done.stdout + done.stderr and "allow_empty_shards" in done.stdout + done.stderr
    done = launch(small_job(tmp_path, {"path": str(shards), "allow_empty_shards": True}, output=str(tmp_path / "run2")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_too_many_bad_samples_fail_the_job_with_the_reason(tmp_path, good_images):
    path = write_tar(tmp_path / "c.tar", pairs(good_images[:8]) + [(f"{i:09d}.jpg", good_images[i]) for i in range(100, 110)])
    done = launch(small_job(tmp_path, str(path)))
    assert done.returncode == 1 and "max_bad_fraction" in done.stdout + done.stderr and "no_caption" in done.stdout + done.stderr


def test_a_filter_that_keeps_nothing_names_the_rule(tmp_path, good_images):
    path = write_tar(tmp_path / "d.tar", pairs(good_images[:8]))
    job = json.loads(small_job(tmp_path, str(path)).read_text())
    job["spec"]["stages"][0]["short_side_over_px"] = 5000
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json")
    assert done.returncode == 1 and "short_side" in done.stdout + done.stderr


def test_fewer_shards_than_workers(tmp_path, good_images):
    path = write_tar(tmp_path / "e.tar", pairs(good_images[:8]))
    done = launch(small_job(tmp_path, str(path)), workers=3)
    assert done.returncode == 0, done.stdout + done.stderr


def test_more_workers_than_slots(tmp_path):
    job = json.loads(json.dumps(TINY))
    job["spec"]["output"] = str(tmp_path / "run")
    for stage in job["spec"]["stages"]:
        if stage["kind"] == "train":
            stage.update(epochs=1, logical_slots=2)
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json", workers=3)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_faults_of_a_spec_at_once(tmp_path):
    job = json.loads(json.dumps(TINY))
    train = next(i for i, s in enumerate(job["spec"]["stages"]) if s["kind"] == "train")
    job["spec"]["stages"][train].update({"epocs": 3, "global_batch": "many", "logical_slots": -1, "model": "tny"})
    job["spec"]["stages"].append({"name": "x", "kind": "trian", "needs": ["nobody"]})
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = trireme("plan", tmp_path / "job.json")
    assert done.returncode == 2
    text = done.stdout + done.stderr
    for expected in (f"/spec/stages/{train}/epocs", "epochs", f"/spec/stages/{train}/global_batch", f"/spec/stages/{train}/logical_slots", "tiny", "train", "nobody"):
        assert expected in text, (expected, text)
    (tmp_path / "job.json").write_text('{"apiVersion": "trireme/v1", "name": "a", "name": "b"}')
    assert "twice" in (t := trireme("plan", tmp_path / "job.json")).stderr + t.stdout or "duplicate" in t.stderr + t.stdout
    (tmp_path / "job.json").write_text("{" * 100000)
    assert trireme("plan", tmp_path / "job.json").returncode == 2


def test_a_wrong_weights_file_is_refused(tmp_path, tiny_run):
    job = json.loads(json.dumps(TINY))
    job["spec"]["output"] = str(tmp_path / "run")
    job["spec"]["store"] = str(tiny_run.output / "store")  # the scenes are there already
    model = next(iter(job["spec"]["models"].values()))
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"\x10\0\0\0\0\0\0\0{\"a\":1}         ")
    model["image"]["weights"] = str(wrong)
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json")
    text = done.stdout + done.stderr
    assert done.returncode in (1, 65) and "wrong.safetensors" in text, text
    assert read_terminal(tmp_path)["incarnation"] == 1
    # Right format, wrong model: the first tensor that does not fit is named.
    model["image"]["weights"] = str(tiny_run.output / "final/model.safetensors")
    model["image"]["width"] = 64
    job["spec"]["output"] = str(tmp_path / "run2")
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json")
    text = done.stdout + done.stderr
    assert done.returncode in (1, 65) and "model.safetensors" in text and "visual." in text, text


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    job = json.loads(json.dumps(TINY))
    job["spec"]["output"] = str(tmp_path / "file/run")
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = launch(tmp_path / "job.json")
    assert done.returncode != 0 and str(tmp_path / "file") in done.stdout + done.stderr


@pytest.mark.parametrize("options, code, says", [
    (["--listen", "nonsense"], 2, "'nonsense' is not an address to listen on (--listen)"),
    (["--listen", "198.51.100.7:9400"], 2, "cannot listen on 198.51.100.7:9400: this host has no such address (choose one of its own with --listen)"),
    (["--listen", "127.0.0.1:PORT"], 4, "cannot listen on 127.0.0.1:PORT: the port is in use"),
    (["--metrics-listen", "198.51.100.7"], 2, "this host has no such address (choose one of its own with --metrics-listen)"),
    (["--metrics-listen", "127.0.0.1:BELOW"], 4, "worker 1: cannot listen on 127.0.0.1:PORT: the port is in use"),
    (["--metrics-listen", "0.0.0.0", "--advertise", "198.51.100.0/24"], 2, "--advertise 198.51.100.0/24: this host has no address in that network"),
])
def test_a_place_where_nobody_can_listen_is_named_by_the_first_start(tmp_path, options, code, says):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        there = lambda text: text.replace("PORT", str(port)).replace("BELOW", str(port - 1))
        done = trireme("launch", "-n", 1, EXAMPLES / "tiny.json", "--set", f"spec.output={tmp_path}/run", *map(there, options), timeout=120)
    text = done.stdout + done.stderr
    assert done.returncode == code and there(says) in text.strip().splitlines()[-2], text  # the last line names the logs
    assert (tmp_path / "run/incarnation").read_text() == "1\n"


def test_mpirun_missing_or_of_another_make_is_said(tmp_path):
    env = environment()
    env["PATH"] = str(tmp_path)
    done = launch(EXAMPLES / "tiny.json", env=env)
    assert done.returncode != 0 and "mpirun" in done.stdout + done.stderr and "openmpi" in done.stdout + done.stderr
    (tmp_path / "mpirun").write_text("#!/bin/sh\necho 'HYDRA build details: Version: 4.0.2'\n")
    (tmp_path / "mpirun").chmod(0o755)
    env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = launch(EXAMPLES / "tiny.json", env=env)
    assert done.returncode != 0 and "Open MPI" in done.stdout + done.stderr


def test_a_second_launch_on_the_same_output_is_refused_at_once(tmp_path):
    job = json.loads(json.dumps(TINY))
    job["spec"]["output"] = str(tmp_path / "run")
    for stage in job["spec"]["stages"]:
        if stage["kind"] == "train":
            stage["epochs"] = 1000
    (tmp_path / "job.json").write_text(json.dumps(job))
    first = subprocess.Popen([BIN / "trireme", "launch", "-n", "1", tmp_path / "job.json"], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        end = time.monotonic() + 20
        while not (tmp_path / "run/LOCK").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        second = launch(tmp_path / "job.json", timeout=10)
        assert second.returncode == 4 and str(first.pid) in second.stdout + second.stderr
    finally:
        first.terminate()
        first.wait(30)
