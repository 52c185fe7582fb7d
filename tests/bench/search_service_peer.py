"""A search service end to end beside clip-retrieval's back end: the same untrained ViT-B/32, the same pictures, captions and addresses, the same load.

    python3 tests/bench/search_service_peer.py BIN SCRATCH [--clients 16] [--seconds 20] [--long 300] [--pictures FOLDER]
    needs: torch open_clip_torch safetensors pandas pyarrow pillow faiss-cpu flask flask_restful flask_cors prometheus_client fire h5py, and
    clip_retrieval 2.45 without its dependencies (pip install --no-deps)

BIN: the folder of trireme and trireme-worker. SCRATCH keeps weights, index and the peer's copy of it. The back end is the published one (Flask, faiss
flat index, metadata in a table); only its loader of models is given the weights. Asked for: 4 times its rate for texts never seen, 10 for texts seen
before and for pictures by item or embedding; --long: 64 clients for so many seconds without an error or growth of memory; first answer <= 100 ms;
`trireme search` with a service <= 80 ms.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time
import types
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def weights(folder):
    """An untrained ViT-B/32 as open_clip writes it."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32")
    folder.mkdir(parents=True)
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {
        "mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({name: value.contiguous() for name, value in model.state_dict().items() if name != "attn_mask"}, folder / "open_clip_model.safetensors")


def indexed(programs, scratch, pictures):
    """Our index, and the same rows and words as the back end reads them."""
    import faiss
    import numpy
    import pandas
    if not (scratch / "model").exists():
        weights(scratch / "model")
    run = scratch / "run"
    if not (run / "index/manifest.json").exists():
        told = subprocess.run([programs / "trireme", "weights", "inspect", scratch / "model"], capture_output=True, text=True, check=True).stdout
        model, _ = json.JSONDecoder().raw_decode(told.split("\nmodel ", 1)[1])
        model["init_from"] = str(scratch / "model")
        (scratch / "job.json").write_text(json.dumps({"name": "service", "spec": {
            "output": str(run), "data": {"test": {"path": str(pictures)}}, "models": {"b32": model}, "stages": [
                {"name": "index", "kind": "index", "data": "test", "model": "b32"}]}}))
        subprocess.run([programs / "trireme", "launch", "-n", "1", scratch / "job.json"], check=True, stdout=sys.stderr)
    peer = scratch / "peer"
    if not peer.exists():
        from safetensors.numpy import load_file
        rows, words = [], []
        for place in json.loads((run / "index/manifest.json").read_text())["segments"]:
            segment = load_file(run / "index" / place["name"])
            rows.append(segment["image"].astype("f4"))
            first = 0
            for end in segment["about.end"]:
                about = json.loads(segment["about"][first:end].tobytes())
                words.append({"url": f"/thumbnails/{len(words)}", "caption": (about.get("captions") or [""])[0], "key": about["key"]})
                first = end
        (peer / "metadata").mkdir(parents=True)
        rows = numpy.concatenate(rows)
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        faiss.write_index(index, str(peer / "image.index"))
        pandas.DataFrame(words).to_parquet(peer / "metadata/0.parquet")
        (scratch / "indices.json").write_text(json.dumps({"run": str(peer)}))
    return run


def back_end(scratch, port):
    """clip_back.py as it is published, without the packages of its other commands; load_clip gives the weights."""
    import open_clip
    package = types.ModuleType("clip_retrieval")
    package.__path__ = [str(pathlib.Path(importlib.util.find_spec("clip_retrieval").submodule_search_locations[0]))]
    sys.modules["clip_retrieval"] = package
    loader = types.ModuleType("all_clip")

    def load_clip(*_, **__):
        model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + str(scratch / "model"))
        return model.eval(), preprocess, open_clip.get_tokenizer("local-dir:" + str(scratch / "model"))
    loader.load_clip = load_clip
    sys.modules["all_clip"] = loader
    import logging
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from clip_retrieval.clip_back import clip_back
    clip_back(str(scratch / "indices.json"), port, enable_mclip_option=False, use_jit=False, provide_aesthetic_embeddings=False,
              columns_to_return=["url", "caption", "key"])


def started(command, log, ready):
    process = subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT)
    end = time.monotonic() + 180
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.1)
    return process


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).read()
        return True
    except OSError:
        return False


def load(url, what, clients, seconds, *more):
    done = subprocess.run([sys.executable, HERE / "search_load.py", url, "--what", what, "--clients", str(clients), "--seconds", str(seconds), "--index", "run", *map(str, more)],
                          capture_output=True, text=True, check=True)
    print(done.stdout.strip(), file=sys.stderr)
    return json.loads(done.stdout.splitlines()[0])


def post_ms(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    start = time.perf_counter()
    urllib.request.urlopen(request, timeout=60).read()
    return 1000 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("scratch", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path, default=HERE / "../../../shared/data/flickr8k-500")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--long", type=float, default=0)
    parser.add_argument("--port", type=int, default=18710)
    parser.add_argument("--back-end", action="store_true", help="be the back end")
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    if given.back_end:
        return back_end(given.scratch.resolve(), given.port)
    run = indexed(given.programs.resolve(), given.scratch.resolve(), given.pictures.resolve())
    cores = len(os.sched_getaffinity(0))
    ours_url, peer_url = f"http://127.0.0.1:{given.port}", f"http://127.0.0.1:{given.port + 1}"
    result = {}
    process = started([given.programs / "trireme", "serve", run, "--listen", f"127.0.0.1:{given.port}", "-n", "1", "--threads", str(cores)], given.scratch / "ours.log",
                      lambda: "searching at" in (given.scratch / "ours.log").read_text())
    try:
        body = lambda text: {"query": [{"text": text}], "k": 10}
        result["first_answer_ms"] = round(post_ms(ours_url + "/api/v1/search", body("a man rides a wave")), 1)
        result["fresh_text_ms"] = round(statistics.median(post_ms(ours_url + "/api/v1/search", body(f"a brown dog runs over snow {i}")) for i in range(20)), 1)
        command = []
        for i in range(15):
            start = time.perf_counter()
            subprocess.run([given.programs / "trireme", "search", run, f"two children at a lake {i}", "--k", "10"], check=True, capture_output=True)
            command.append(1000 * (time.perf_counter() - start))
        result["command_ms"] = round(statistics.median(command), 1)
        ours = {what: load(ours_url, what, given.clients, given.seconds) for what in ("fresh", "seen", "items", "embeddings")}
        if given.long:
            result["long"] = load(ours_url, "fresh", 64, given.long, "--pid", process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    process = started([sys.executable, __file__, given.programs, given.scratch, "--back-end", "--port", str(given.port + 1)], given.scratch / "peer.log",
                      lambda: answers(peer_url + "/indices-list"))
    try:
        peer = {what: load(peer_url, what, given.clients, given.seconds, "--knn") for what in ("fresh", "seen", "embeddings")}
    finally:
        process.kill()
        process.wait()
    peer["items"] = peer["embeddings"]  # it has no query by item
    print("| what | ours, a second | clip-retrieval's back end | ratio | p99 ours, ms | p99 its, ms |\n|---|---|---|---|---|---|")
    for what, one in ours.items():
        print(f"| {what} | {one['per_second']} | {peer[what]['per_second']} | {one['per_second'] / peer[what]['per_second']:.1f} | {one['p99_ms']} | {peer[what]['p99_ms']} |")
    print(json.dumps({**result, "errors": sum(one["errors"] for one in [*ours.values(), *peer.values()])}))


if __name__ == "__main__":
    main()
