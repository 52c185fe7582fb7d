"""The search service: real workers, a real browser, the published client of clip-retrieval."""
import asyncio
import base64
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time

import pytest

from conftest import EXAMPLES, ROOT, Launch, need_program, trireme

sys.path.insert(0, str(ROOT / "tests/support"))
from service import SearchService  # noqa: E402


CLIENT = os.environ.get("TRIREME_CLIP_CLIENT", ROOT / ".trireme/search-client/bin/python")  # a Python that has clip-retrieval


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A run whose index the tests may damage and replace."""
    run = Launch(EXAMPLES / "tiny.json", tmp_path_factory.mktemp("served") / "pictures", sets=["spec.stages.train.epochs=1"])
    try:
        run.succeed()
    finally:
        run.stop()
    return run.output


@pytest.fixture(scope="module")
def service(indexed, tmp_path_factory):
    one = SearchService(tmp_path_factory.mktemp("service") / "log", indexed, "-n", 2, "--threads", 1)
    yield one
    one.stop()


def a_picture(run):
    """Of the indexed data: its bytes and the item that it belongs to."""
    manifest = json.loads((run / "index/manifest.json").read_text())
    with tarfile.open(manifest["shards"][0]["path"]) as tar:
        member = next(m for m in tar if m.name.endswith((".jpg", ".png", ".webp")))
        return tar.extractfile(member).read(), member.name.rsplit(".", 1)[0]


def test_texts_pictures_items_pages_and_thumbnails(service, indexed):
    first = service.search({"text": "a red circle"}, k=5)
    assert first["items"] == 256 and first["recall"] == 1 and [h["rank"] for h in first["hits"]] == [1, 2, 3, 4, 5]
    scores = [h["score"] for h in first["hits"]]
    assert scores == sorted(scores, reverse=True)
    page = service.search({"text": "a red circle"}, k=2, offset=3)
    assert page["hits"] == first["hits"][3:5]
    picture, key = a_picture(indexed)
    found = service.search({"image": base64.b64encode(picture).decode()}, k=1)["hits"][0]
    assert found["key"] == key and found["score"] > 0.999
    like = service.search({"item": found["id"]}, k=256)["hits"]
    assert len(like) == 255 and found["id"] not in {h["id"] for h in like}
    both = service.search({"image": base64.b64encode(picture).decode()}, {"text": "blue", "weight": 2}, {"text": "green", "weight": -1})
    assert both["query"].endswith("+ 2 × blue - green")
    status, headers, jpeg = service.ask("GET", f"/api/v1/thumbnails/pictures/{found['id']}")
    assert status == 200 and headers["content-type"] == "image/jpeg" and jpeg[:2] == b"\xff\xd8"
    assert service.ask("GET", f"/api/v1/items/pictures/{found['id']}")[2]["key"] == key
    indexes = service.ask("GET", "/api/v1/indexes")[2]["indexes"]
    assert [i["name"] for i in indexes] == ["pictures"] and indexes[0]["width"] == 32


def test_the_command_asks_the_service(service, indexed):
    found = json.loads(trireme("search", indexed, "a red circle", "-o", "json", "--k", 3, check=True).stdout)
    alone = json.loads(trireme("search", indexed, "a red circle", "-o", "json", "--k", 3, "--no-service", "--html", "none", check=True).stdout)
    assert [h["id"] for h in found["hits"]] == [h["id"] for h in alone["hits"]] and "html" not in found
    assert "pictures: http://127.0.0.1" in trireme("search", indexed, "a red circle", check=True).stdout
    refused = trireme("search", indexed, "x", "--where", "none>=1")
    assert refused.returncode == 2 and "no column" in refused.stderr


def test_many_at_once_are_answered_as_one_by_one(service):
    texts = [f"a {c} {s}" for c in ("red", "green", "blue", "yellow") for s in ("circle", "square", "triangle")] * 8
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        together = list(pool.map(lambda text: service.search({"text": text}, k=20)["hits"], texts))
    for text, hits in list(zip(texts, together))[:12]:
        alone = service.search({"text": text}, k=20)["hits"]
        assert [h["id"] for h in hits] == [h["id"] for h in alone]


@pytest.mark.parametrize("body, status, words", [
    (b"no json", 422, "not JSON"), ({"query": []}, 422, "/query"), ({"query": [{"text": "a"}], "k": 10001}, 422, "/k"),
    ({"query": [{"image_url": "http://localhost/"}]}, 422, "never fetched"), ({"query": [{"text": "a"}], "filter": [{"column": "none", "least": 1}]}, 422, "no column"),
    (b'{"query":[{"embedding":[NaN]}]}', 422, "not JSON"), (b'{"query":[{"embedding":[1e999]}]}', 422, ""), ({"query": [{"embedding": [1, 2]}]}, 422, "32 numbers"),
    ({"query": [{"item": "0123456789abcdef.1"}]}, 404, "no item"), ({"query": [{"image": base64.b64encode(b"no picture").decode()}]}, 422, "cannot be read"),
    ({"query": [{"text": "a"}], "index": "other"}, 404, "no index"), (b"x" * (16 << 20), 413, "15 MiB")])
def test_what_cannot_be_answered_is_told(service, body, status, words):
    got, headers, answer = service.ask("POST", "/api/v1/search", body)
    assert got == status and words in answer["detail"] and headers["content-type"] == "application/problem+json", answer


def test_an_image_bomb_is_refused(service):
    import struct
    import zlib
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0" * 100000)) + chunk(b"IEND", b"")
    start = time.monotonic()
    status, _, answer = service.ask("POST", "/api/v1/search", {"query": [{"image": base64.b64encode(bomb).decode()}]})
    assert status == 422 and time.monotonic() - start < 2, answer


def test_the_door_on_loopback(service):
    own = f"http://127.0.0.1:{service.address.port}"
    body = {"query": [{"text": "a"}]}
    assert service.ask("POST", "/api/v1/search", body, {"Origin": own, "Sec-Fetch-Site": "same-origin"})[0] == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}, {"Origin": own.replace("127.0.0.1", "localhost")}):
        assert service.ask("POST", "/api/v1/search", body, headers)[0] == 403, headers
    assert service.ask("POST", "/api/v1/search", body, {"Content-Type": "text/plain"})[0] == 415
    assert service.ask("DELETE", "/api/v1/search")[0] == 405 and service.ask("GET", "/nothing")[0] == 404
    assert service.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200
    status, headers, page = service.ask("GET", "/")
    assert "default-src 'none'" in headers["content-security-policy"] and b"http://" not in page and b"https://" not in page


def test_a_door_with_a_token(indexed, tmp_path):
    one = SearchService(tmp_path / "log", indexed, "--require-token", "--state", tmp_path)
    try:
        token = (tmp_path / "search-token").read_text().strip()
        assert (tmp_path / "search-token").stat().st_mode & 0o77 == 0
        assert one.ask("GET", "/api/v1/indexes")[0] == 401 and one.ask("GET", "/")[0] == 401 and one.ask("GET", "/metrics")[0] == 401
        assert one.ask("GET", "/healthz")[0] == 200
        assert one.ask("GET", "/api/v1/indexes", headers={"Authorization": f"Bearer {token}"})[0] == 200
        key = one.link.split(str(one.address.port))[1]
        status, headers, _ = one.ask("GET", key)
        assert status == 303 and headers["location"] == "/" and "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"]
        cookie = headers["set-cookie"].split(";")[0]
        assert one.ask("GET", "/api/v1/indexes", headers={"Cookie": cookie})[0] == 200
        assert one.ask("GET", key)[0] == 401, "a link opens once"
        assert one.ask("GET", "/api/v1/indexes", headers={"Cookie": "trireme_search=" + "0" * 64})[0] == 401
        link = one.ask("POST", "/api/v1/links", {}, {"Authorization": f"Bearer {token}"})[2]["link"]
        assert one.ask("GET", link.split(str(one.address.port))[1])[0] == 303
    finally:
        one.stop()


def test_batches_of_queries(indexed, tmp_path):
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps({"query": [{"text": t}], "k": 2}) + "\n" for t in ("red", "blue")) + "nonsense\n")
    lines = [json.loads(line) for line in trireme("search", indexed, "--batch", tmp_path / "queries.jsonl", check=True).stdout.splitlines()]
    assert [len(line.get("hits", [])) for line in lines] == [2, 2, 0] and "error" in lines[2]


def test_a_worker_killed_under_load(service):
    """What was on its way is refused or cut, nothing is wrong, and soon all is answered again."""
    expected = [h["id"] for h in service.search({"text": "a red circle"}, k=10)["hits"]]
    seen, wrong = [], []

    def load(until):
        while time.monotonic() < until:
            try:
                status, _, answer = service.ask("POST", "/api/v1/search", {"query": [{"text": "a red circle"}], "k": 10})
            except OSError:
                status = 0
            seen.append(status)
            if status == 200 and [h["id"] for h in answer["hits"]] != expected:
                wrong.append(answer)

    before = service.workers()
    assert len(before) == 2
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(load, time.monotonic() + 4) for _ in range(8)]
        time.sleep(0.5)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        while True:
            status, _, answer = service.ask("POST", "/api/v1/search", {"query": [{"text": "a red circle"}], "k": 10})
            if status == 200:
                break
            assert status == 503 and time.monotonic() - killed < 5, answer
            time.sleep(0.02)
        for call in calls:
            call.result()
    assert not wrong and set(seen) <= {0, 200, 503} and seen.count(200) > 10
    end = time.monotonic() + 10
    while len(service.workers()) != 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert 'trireme_search_worker_losses_total 2' in service.ask("GET", "/metrics")[2].decode()


def test_a_damaged_segment_and_a_newer_index(indexed, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(indexed / "index", run / "index")
    one = SearchService(tmp_path / "log", run)
    try:
        assert "damaged" not in one.search({"text": "red"})
        newer = tmp_path / "newer"
        shutil.copytree(run / "index", newer)
        segment = sorted((newer / "segments").iterdir())[0]
        segment.write_bytes(segment.read_bytes()[:-1] + b"\1")
        failed = 0
        (run / "index").rename(tmp_path / "old")
        newer.rename(run / "index")
        end = time.monotonic() + 60
        while True:
            status, _, answer = one.ask("POST", "/api/v1/search", {"query": [{"text": "red"}], "k": 256})
            failed += status != 200
            if "damaged" in answer:
                break
            assert time.monotonic() < end, one.text()
            time.sleep(0.02)
        assert failed == 0 and answer["damaged"] == [f"segments/{segment.name}"] and 0 < len(answer["hits"]) < 256
        (run / "index/manifest.json").write_text("{}")  # no index: the one before stays
        time.sleep(3)
        assert one.search({"text": "red"}, k=256)["damaged"] == answer["damaged"]
    finally:
        assert one.stop() == 0
    assert not (run / "search-service.json").exists()


def test_a_later_job_makes_the_segments_of_new_shards_alone(indexed, tmp_path):
    tars = sorted({shard["path"] for shard in json.loads((indexed / "index/manifest.json").read_text())["shards"]})
    assert len(tars) == 4
    tiny = json.loads((EXAMPLES / "tiny.json").read_text())["spec"]["models"]["tiny"]
    segments = lambda: {path: path.stat().st_mtime_ns for path in (tmp_path / "store/segment").rglob("*.segment")}

    def index(name, shards, **settings):
        (tmp_path / name).mkdir()
        for tar in shards:
            os.link(tar, tmp_path / name / pathlib.Path(tar).name)
        (tmp_path / "job.json").write_text(json.dumps({"name": "shelf", "spec": {
            "output": str(tmp_path / f"run-{name}"), "store": str(tmp_path / "store"), "data": {"test": {"path": str(tmp_path / name), "captions": "lines"}},
            "models": {"m": {**tiny, "init_from": str(indexed / "final")}}, "stages": [{"name": "index", "kind": "index", "data": "test", "model": "m", **settings}]}}))
        before = segments()
        trireme("launch", "-n", 1, tmp_path / "job.json", check=True)
        after = segments()
        assert all(after[path] == when for path, when in before.items()), "none is made twice"
        manifest = json.loads((tmp_path / f"run-{name}/index/manifest.json").read_text())
        found = json.loads(trireme("search", tmp_path / f"run-{name}", "a red circle", "--k", 300, "--exact", "-o", "json", "--html", "none", check=True).stdout)
        assert manifest["items"] == len(found["hits"]) == 64 * len(shards)
        return len(after) - len(before), manifest["search"]

    assert index("three", tars[:3]) == (3, "exact")
    assert index("four", tars) == (1, "exact")
    assert index("two", tars[2:], search="approximate", least_recall=1, lists=8) == (0, "approximate")
    refused = trireme("plan", tmp_path / "job.json", "--set", "spec.stages.index.search=exact")
    assert refused.returncode == 2 and "an exact search has no lists" in refused.stderr + refused.stdout


def test_a_run_without_an_index(tmp_path):
    done = trireme("serve", tmp_path)
    assert done.returncode == 3 and "holds no index yet" in done.stderr


def test_more_connections_than_may_be(service):
    """Idle ones are cut in favour of those that ask."""
    idle = []
    for _ in range(400):
        try:
            idle.append(socket.create_connection(("127.0.0.1", service.address.port), timeout=5))
        except OSError:
            break
    try:
        assert service.search({"text": "red"}, k=1)["hits"]
    finally:
        for one in idle:
            one.close()


@contextlib.contextmanager
def crowd_of_files(wanted):
    """As many open files as a crowd of sockets needs, or a skip that says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are needed, `ulimit -Hn` is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_clients(service):
    """Each is answered, refused (429) or cut; no answer is another's, and the service is there for the next one."""
    async def one(number, text):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.address.port, local_addr=(f"127.0.0.{2 + number % 50}", 0))
        except OSError:
            return number, 0, b""
        try:
            body = json.dumps({"query": [{"text": text}], "k": 3}).encode()
            writer.write(b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (service.address.port, len(body)) + body)
            head, _, content = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
            return number, int(head.split()[1]) if head else 0, content
        except OSError:
            return number, 0, b""
        finally:
            writer.close()

    async def crowd():
        return await asyncio.gather(*(one(i, f"words {i % 7}") for i in range(10000)))

    calm = [[hit["id"] for hit in service.search({"text": f"words {i}"}, k=3)["hits"]] for i in range(7)]
    with crowd_of_files(12000):
        found = asyncio.run(crowd())
    counts = collections.Counter(status for _, status, _ in found)
    assert set(counts) <= {200, 429, 0} and counts[200] > 100, counts
    wrong = [number for number, status, content in found if status == 200 and [hit["id"] for hit in json.loads(content)["hits"]] != calm[number % 7]]
    assert not wrong, wrong[:10]
    begun = time.monotonic()
    assert service.search({"text": "words 1"}, k=3)["hits"] and time.monotonic() - begun < 5


def test_a_stop_answers_what_is_on_its_way_and_leaves_the_run_to_the_other_service(service, indexed, tmp_path):
    announced = lambda: json.loads((indexed / "search-service.json").read_text())["pid"] if (indexed / "search-service.json").exists() else None
    one = SearchService(tmp_path / "log", indexed)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(one.ask, "POST", "/api/v1/search", {"query": [{"text": f"words {i}"}]}) for i in range(4)]
        assert announced() == one.process.pid
        statuses = []
        for call in calls:
            statuses.append(call.result()[0])
        assert one.stop() == 0
    assert statuses == [200] * 4
    end = time.monotonic() + 10
    while announced() != service.process.pid:
        assert time.monotonic() < end, announced()
        time.sleep(0.05)


def test_the_words_of_clip_retrieval(service, indexed, tmp_path):
    """Its client's requests as they are sent (clip_client.py of 2.45)."""
    body = {"text": "a red circle", "image": None, "image_url": None, "embedding_input": None, "deduplicate": True, "use_safety_model": True,
            "use_violence_detector": True, "indice_name": "pictures", "use_mclip": False, "aesthetic_score": 9, "aesthetic_weight": 0.5,
            "modality": "image", "num_images": 4, "num_result_ids": 4}
    status, _, found = service.ask("POST", "/knn-service", json.dumps(body), {"Content-Type": None})
    assert status == 200 and 0 < len(found) <= 4 and set(found[0]) >= {"id", "similarity", "caption", "url"}
    words = service.ask("POST", "/metadata", json.dumps({"ids": [found[0]["id"]], "indice_name": "pictures"}), {"Content-Type": None})[2]
    assert words[0]["id"] == found[0]["id"] and words[0]["metadata"]["caption"] == found[0]["caption"]
    assert service.ask("GET", "/indices-list")[2] == ["pictures"]
    assert service.ask("POST", "/knn-service", json.dumps({**body, "text": None, "image_url": "http://localhost/x.jpg"}), {"Content-Type": None})[0] == 422


def test_the_published_client_of_clip_retrieval(service, indexed, tmp_path):
    done = subprocess.run([CLIENT, "-c", "import importlib.util, requests; assert importlib.util.find_spec('clip_retrieval')"], capture_output=True, text=True) if pathlib.Path(CLIENT).exists() else None
    if done is None or done.returncode != 0:
        pytest.skip(f"clip-retrieval's client is not installed for {CLIENT} (./quickstart judges)")
    picture, key = a_picture(indexed)
    (tmp_path / "p.jpg").write_bytes(picture)
    url = f"http://127.0.0.1:{service.address.port}/knn-service"
    done = subprocess.run([CLIENT, ROOT / "tests/oracles/ask_clip_client.py", url, "pictures", "a red circle", tmp_path / "p.jpg"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    by_text, by_picture = json.loads(done.stdout)
    ours = [h["captions"][0] for h in service.search({"text": "a red circle"}, k=4, distinct=0.94)["hits"]]
    assert [hit["caption"] for hit in by_text] == ours and 0 < len(ours) <= 4
    assert by_picture[0]["key"] == key


def test_the_description_names_every_route(service):
    document = service.ask("GET", "/openapi.json")[2]
    assert document["openapi"].startswith("3.1")
    import re
    source = (ROOT / "coordinator/serve/door.cpp").read_text()
    routes = {(m.group(1).lower(), m.group(2)) for m in re.finditer(r'\{Action::k\w+, "(\w+)", "([^"]+)"', source)}
    assert routes == {(method, path) for path, ways in document["paths"].items() for method in ways}


@pytest.fixture
def browser():
    need_program("chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    from selenium.webdriver.chrome.service import Service
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    yield driver
    driver.quit()


def test_the_page_in_a_browser(browser, service, indexed, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
    wait = WebDriverWait(browser, 20)
    hits = lambda: browser.find_elements(By.CSS_SELECTOR, ".hit")
    loaded = "return [...document.querySelectorAll('.hit img')].filter(i => i.complete && i.naturalWidth > 0).length"
    parts = lambda: [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#parts .name")]
    browser.get(service.link)
    wait.until(lambda d: "256 pictures" in d.find_element(By.ID, "status").text)
    browser.find_element(By.ID, "text").send_keys("a red circle", Keys.ENTER)
    wait.until(lambda d: len(hits()) == 40)
    wait.until(lambda d: d.execute_script(loaded) >= 12)
    expected = service.search({"text": "a red circle"}, k=40)["hits"]
    assert [h.find_element(By.CSS_SELECTOR, "img").get_attribute("alt") for h in hits()] == [h["captions"][0] for h in expected]
    browser.save_screenshot(str(tmp_path / "light.png"))

    hits()[2].click()
    wait.until(lambda d: d.find_element(By.ID, "detail").get_attribute("open"))
    assert expected[2]["key"] in browser.find_element(By.ID, "detail-words").text
    browser.save_screenshot(str(tmp_path / "detail.png"))
    browser.find_element(By.ID, "like").click()
    wait.until(lambda d: parts() == [expected[2]["key"]] and len(hits()) == 40)
    browser.find_element(By.ID, "text").send_keys("blue")
    browser.find_element(By.ID, "minus").click()
    wait.until(lambda d: len(parts()) == 2 and len(hits()) == 40)
    address = browser.current_url
    seen = [h.text for h in hits()]
    browser.get("about:blank")
    browser.get(address)  # an address can be shared
    wait.until(lambda d: len(hits()) == 40)
    assert [h.text for h in hits()] == seen and len(parts()) == 2
    browser.back()

    browser.get(service.link)
    wait.until(lambda d: "256 pictures" in d.find_element(By.ID, "status").text)
    picture, key = a_picture(indexed)
    (tmp_path / "query.jpg").write_bytes(picture)
    browser.find_element(By.ID, "file").send_keys(str(tmp_path / "query.jpg"))
    wait.until(lambda d: len(hits()) == 40)
    assert service.search({"image": base64.b64encode(picture).decode()}, k=1)["hits"][0]["captions"][0] in hits()[0].text
    browser.execute_script("document.activeElement.blur()")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys("m")
    wait.until(lambda d: len(parts()) == 1 and parts()[0] != "query.jpg")
    browser.find_element(By.ID, "next").click()
    wait.until(lambda d: len(hits()) == 80)

    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True})
    browser.execute_script("scrollTo(0, 0)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, "nothing runs out of a narrow screen"
    browser.save_screenshot(str(tmp_path / "narrow-dark.png"))
    unlabelled = browser.execute_script("""return [...document.querySelectorAll('button, input, select')].filter(e => !e.hidden && !e.closest('[hidden]') &&
        !(e.ariaLabel || e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label') || e.title)).map(e => e.outerHTML)""")
    assert not unlabelled
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not severe, severe
    print("screenshots in", tmp_path)


def test_an_index_spread_over_several_services(indexed, tmp_path):
    """Two halves, each with a service of its own, asked as one: what the whole index finds, exactly."""
    tars = sorted({shard["path"] for shard in json.loads((indexed / "index/manifest.json").read_text())["shards"]})
    tiny = json.loads((EXAMPLES / "tiny.json").read_text())["spec"]["models"]["tiny"]

    def half(name, shards, **model):
        (tmp_path / name).mkdir()
        for tar in shards:
            os.link(tar, tmp_path / name / pathlib.Path(tar).name)
        (tmp_path / "job.json").write_text(json.dumps({"name": "half", "spec": {
            "output": str(tmp_path / f"run-{name}"), "data": {"test": {"path": str(tmp_path / name), "captions": "lines"}},
            "models": {"m": {**tiny, "init_from": str(indexed / "final"), **model}}, "stages": [{"name": "index", "kind": "index", "data": "test", "model": "m"}]}}))
        trireme("launch", "-n", 1, tmp_path / "job.json", check=True)
        return SearchService(tmp_path / f"log-{name}", tmp_path / f"run-{name}", "--threads", 1, "--require-token", "--state", tmp_path / "token")

    (tmp_path / "token").mkdir()
    parts, whole = [half("a", tars[:2]), half("b", tars[2:])], SearchService(tmp_path / "log-whole", indexed, "--threads", 1)
    urls = [f"http://127.0.0.1:{part.address.port}" for part in parts]
    spread = SearchService(tmp_path / "log", "--spread", f"all={urls[0]},{urls[1]}/run-b", "--spread-token", tmp_path / "token/search-token")
    try:
        picture, key = a_picture(indexed)
        image = {"image": base64.b64encode(picture).decode()}
        found = lambda service, *parts, **more: [(h["rank"], h["key"], h["captions"], pytest.approx(h["score"], abs=3e-5)) for h in service.search(*parts, **more)["hits"]]
        item = {one: one.search(image, k=1)["hits"][0]["id"] for one in (spread, whole)}
        for parts_of, more in [([{"text": "a red circle"}], {}), ([{"text": "a red circle"}], {"k": 256}), ([{"text": "blue"}], {"k": 7, "offset": 20}),
                               ([image, {"text": "blue", "weight": 2}, {"text": "green", "weight": -1}], {"k": 30}), ([{"text": "a red circle"}], {"k": 40, "distinct": 0.9}),
                               ([{"embedding": [1.0] * 32, "weight": 3}, image], {"k": 12}), ([{"text": "a"}], {"k": 10000, "exact": True})]:
            assert found(spread, *parts_of, **more) == found(whole, *parts_of, **more), (parts_of, more)
        assert found(spread, {"item": item[spread]}, k=300) == found(whole, {"item": item[whole]}, k=300)
        answer = spread.search({"text": "a red circle"}, k=3)
        assert answer["items"] == 256 and answer["recall"] == 1 and "damaged" not in answer and "embedding" not in answer["hits"][0]
        hit = answer["hits"][0]
        status, headers, jpeg = spread.ask("GET", f"/api/v1/thumbnails/all/{hit['id']}")
        assert status == 200 and headers["content-type"] == "image/jpeg" and jpeg[:2] == b"\xff\xd8"
        described = spread.ask("GET", f"/api/v1/items/all/{hit['id']}")[2]
        assert described["key"] == hit["key"] and described["row"] == hit["row"] and described["index"] == "all"
        knn = spread.ask("POST", "/knn-service", json.dumps({"text": "a red circle", "modality": "image", "num_images": 256, "indice_name": "all"}))[2]
        assert sorted(one["id"] for one in knn) == list(range(256))
        ids = [knn[0]["id"], knn[255]["id"], knn[3]["id"]]
        words = spread.ask("POST", "/metadata", json.dumps({"ids": ids, "indice_name": "all"}))[2]
        assert [w["id"] for w in words] == ids and [w["metadata"]["key"] for w in words] == [knn[0]["key"], knn[255]["key"], knn[3]["key"]]
        indexes = spread.ask("GET", "/api/v1/indexes")[2]["indexes"]
        assert [(i["name"], i["items"], i["width"], i["parts"], i["damaged"]) for i in indexes] == [("all", 256, 32, 2, [])]
        for body, status, words in [({"query": [{"text": "a"}], "filter": [{"column": "none", "least": 1}]}, 422, "no column"), ({"query": [{"item": "0123456789abcdef.1"}]}, 404, "no item"),
                                    ({"query": [{"embedding": [1, 2]}]}, 422, "32 numbers"), ({"query": [{"text": "a"}, {"text": "a", "weight": -1}]}, 422, "cancel out"),
                                    ({"query": [{"text": "a"}], "model": "another"}, 422, "another model"), ({"query": [{"text": "a", "of": "texts"}]}, 422, "/query/0/of")]:
            got, _, refused = spread.ask("POST", "/api/v1/search", body)
            assert got == status and words in refused["detail"], refused

        gone = next(h for h in spread.search({"text": "a red circle"}, k=256)["hits"] if h["shard"] != hit["shard"])  # of one that nobody has opened
        os.unlink(gone["shard"])  # a withdrawn tar: its pictures are gone, what is known of them stays
        status, _, refused = spread.ask("GET", f"/api/v1/thumbnails/all/{gone['id']}")
        assert status == 404 and "shard cannot be read any more" in refused["detail"], refused
        assert spread.ask("GET", f"/api/v1/items/all/{gone['id']}")[2]["key"] == gone["key"]

        weights = bytearray((indexed / "final/model.safetensors").read_bytes())
        weights[-4:] = b"\0\0\0\0"
        (tmp_path / "model.safetensors").write_bytes(weights)
        other = half("other", tars[:1], init_from=str(tmp_path / "model.safetensors"))
        try:
            with pytest.raises(AssertionError, match="another model"):
                SearchService(tmp_path / "log-mixed", "--spread", f"all={urls[0]},http://127.0.0.1:{other.address.port}", "--spread-token", tmp_path / "token/search-token")
        finally:
            other.stop()

        parts[1].stop()  # the other half goes on serving, and that is said
        alone = spread.search({"text": "a red circle"}, k=256)
        assert len(alone["hits"]) == 128 and alone["items"] == 128 and alone["damaged"] == [urls[1]]
        parts[0].stop()
        assert spread.ask("POST", "/api/v1/search", {"query": [{"text": "a red circle"}]})[0] == 503
    finally:
        for one in [*parts, whole, spread]:
            one.stop()
