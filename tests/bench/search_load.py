"""Load on a search service: requests a second, times, errors, and whether its processes grow.

    trireme serve RUN --listen 127.0.0.1:8000 -n 1 --threads 2
    python3 tests/bench/search_load.py http://127.0.0.1:8000 --clients 64 --seconds 300 [--what fresh|seen|items|embeddings] [--knn] [--pid PID]

fresh: texts never asked before; seen: one of a hundred; items: "more like this"; embeddings: drawn, of --width numbers. --knn speaks clip-retrieval's words, so that the same
script loads its back end (clip-retrieval back --provide_violence_detector False --provide_safety_model False …) with the same content.
"""
import argparse
import http.client
import json
import pathlib
import random
import threading
import time
import urllib.parse


def resident(pid):
    """MB of a process and its children."""
    sum_of = 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(entry.name) == pid or int(words[1]) == pid:
                    pages = (entry / "smaps_rollup").read_text()
                    sum_of += sum(int(line.split()[1]) for line in pages.splitlines() if line.startswith(("Anonymous:",)))
            except OSError:
                continue
    return sum_of / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--what", choices=("fresh", "seen", "items", "embeddings"), default="fresh")
    parser.add_argument("--knn", action="store_true")
    parser.add_argument("--index", default="")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--pid", type=int)
    given = parser.parse_args()
    address = urllib.parse.urlsplit(given.url)
    words = "a dog cat man woman child red blue green runs jumps sits through on beside the snow beach street field water two three".split()
    times, errors, lock = [], [], threading.Lock()

    def post(connection, target, body):
        connection.request("POST", target, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {content[:200]}")
        return json.loads(content)

    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    items = [] if given.what != "items" else [h["id"] for h in post(connection, "/api/v1/search", {"query": [{"text": "a dog"}], "k": 100, "index": given.index})["hits"]]

    draw = random.Random(1)
    embeddings = [[round(draw.gauss(0, given.width ** -0.5), 6) for _ in range(given.width)] for _ in range(100)] if given.what == "embeddings" else []

    def body(draw):
        if given.what == "items":
            part = {"item": draw.choice(items)}
        elif given.what == "embeddings":
            part = {"embedding_input" if given.knn else "embedding": draw.choice(embeddings)}
        else:
            text = " ".join(draw.choices(words, k=8)) + (f" {draw.random()}" if given.what == "fresh" else "")
            part = {"text": text if given.what == "fresh" else f"seen {draw.randrange(100)}"}
        if given.knn:
            return "/knn-service", {**part, "modality": "image", "num_images": 10, "indice_name": given.index, "deduplicate": False}
        return "/api/v1/search", {"query": [part], "k": 10, "index": given.index}

    def client(number, until):
        draw, own = random.Random(f"{number} {time.time()}"), http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        mine, wrong = [], []
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                post(own, *body(draw))
            except Exception as error:
                wrong.append(repr(error))
                own.close()
            mine.append(time.monotonic() - start)
        with lock:
            times.extend(mine)
            errors.extend(wrong)

    before = resident(given.pid) if given.pid else 0
    until = time.monotonic() + given.seconds
    threads = [threading.Thread(target=client, args=(i, until)) for i in range(given.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    out = {"what": given.what, "clients": given.clients, "requests": len(times), "per_second": round(len(times) / given.seconds, 1), "errors": len(errors),
           **{f"p{p}_ms": round(1000 * times[min(len(times) - 1, len(times) * p // 100)], 1) for p in (50, 99)}}
    if given.pid:
        out.update(anonymous_mb_before=round(before), anonymous_mb_after=round(resident(given.pid)))
    print(json.dumps(out))
    if errors:
        print(errors[0])


if __name__ == "__main__":
    main()
