"""The real Prometheus scrapes real jobs, the real Alertmanager gets real alerts; every panel's query returns data; the rules hold (F64, F65)."""
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import pytest

from conftest import EXAMPLES, ROOT, environment, need_program

sys.path.insert(0, str(ROOT / "tests/support"))
from service import SearchService  # noqa: E402

MONITORING = ROOT / "monitoring"
RULES = MONITORING / "prometheus/alerts.yml"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((MONITORING / "grafana/dashboards").glob("*.json"))}


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def panels(board):
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def queries(of="training"):
    """{query as Grafana sends it when all is chosen: (dashboard, panel)}; what search has in common with another is search's when it is asked for."""
    boards = sorted(BOARDS, key=lambda name: (name == "search") == (of == "search"))
    return {re.sub(r"\$(run|job|host|stage|service)\b", ".*", target["expr"]): (board, panel["title"]) for board in boards for panel in panels(board) for target in panel["targets"]}


def test_rules_and_config_are_valid_and_every_alert_fires_in_its_test():
    promtool = need_program("promtool")
    folder = MONITORING / "prometheus"
    for words in ([promtool, "check", "config", "prometheus.yml"], [promtool, "check", "rules", "alerts.yml"], [promtool, "test", "rules", "alerts_test.yml"],
                  [need_program("amtool"), "check-config", "alertmanager.yml"]):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts: \[\{", (folder / "alerts_test.yml").read_text()))
    assert alerts == tested
    inhibited = set(re.findall(r"[A-Z]\w+", " ".join(re.findall(r'alertname=~?"([^"]*)"', (folder / "alertmanager.yml").read_text()))))
    assert inhibited and inhibited <= alerts


def bare(metric, known):
    return metric if metric in known else re.sub(r"_(bucket|sum|count)$", "", metric)


def test_rules_and_panels_name_only_metrics_of_the_catalog():
    catalog = set(re.findall(r'\{"(trireme_\w+)"', (ROOT / "common/telemetry/catalog.cpp").read_text()))
    used = {bare(name, catalog) for name in re.findall(r"\btrireme_\w+", RULES.read_text() + json.dumps(BOARDS))}
    assert used <= catalog, used - catalog


def test_every_alert_links_to_a_panel_that_shows_it():
    for alert, expression, link in re.findall(r"- alert: (\w+)\n\s+expr: (.*)\n(?:.*\n)*?.*dashboard: \"([^\"]*)\"", RULES.read_text()):
        board, number = re.fullmatch(r"/d/trireme-(\w+)\?viewPanel=(\d+)", link).groups()
        (panel,) = [panel for panel in panels(board) if panel["id"] == int(number)]
        shown = set(re.findall(r"\b(?:trireme_[a-z_]+|up)\b", " ".join(target["expr"] for target in panel["targets"])))
        assert shown & set(re.findall(r"\b(?:trireme_[a-z_]+|up)\b", expression)), (alert, panel["title"])


def test_dashboards_are_what_their_tables_say():
    done = subprocess.run([sys.executable, MONITORING / "grafana/make_dashboards.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    titles = {}
    for board in BOARDS:
        for panel in panels(board):
            titles.setdefault(panel["id"], set()).add(panel["title"])
    assert all(len(names) == 1 for names in titles.values()), "a number is given to one panel for ever: alerts link to it"


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_goes_into_any_grafana(name, tmp_path):
    dashboard = BOARDS[name]

    def sources(node):
        if isinstance(node, dict):
            if isinstance(node.get("datasource"), dict):
                yield node["datasource"]["uid"]
            node = list(node.values())
        for child in node if isinstance(node, list) else []:
            yield from sources(child)
    assert set(sources(dashboard)) == {"${DS_PROMETHEUS}"}, "a fixed data source is another Grafana's"
    assert [(given["name"], given["type"], given["pluginId"]) for given in dashboard["__inputs"]] == [("DS_PROMETHEUS", "datasource", "prometheus")]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["DS_PROMETHEUS"]["type"] == "datasource" and variables["DS_PROMETHEUS"]["query"] == "prometheus"
    assert set(variables) == {"DS_PROMETHEUS", *(["service"] if name == "search" else ["run", "job", "host", "stage"])}
    assert set(re.findall(r"\$([a-z]+)", json.dumps([dashboard["panels"], dashboard["annotations"]]))) <= set(variables), "what no variable says selects nothing"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and dashboard["uid"] == f"trireme-{name}"
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    for i, one in enumerate(places):
        assert one["x"] + one["w"] <= 24
        for other in places[:i]:
            apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"] or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert apart, "panels that lie on one another"
    own = [query for query, (board, _) in queries().items() if board == name]
    assert own and not [query for query in own if "vector(0)" in query or "$" in query], "an empty panel says so itself"
    rules = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(own)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([need_program("promtool"), "check", "rules", str(tmp_path / "queries.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Inbox:
    """A webhook receiver: what Alertmanager sent, by path."""

    def __enter__(self):
        self.got = got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.extend((self.path, alert) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def programs(*lines):
    started = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for line in lines]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


# Only a message from a run that is over is refused, and only broken features make a step that is not finite (train_stage_test.cpp);
# two are of GPUs.
NEVER = {'trireme_device_fallback{run=~".*", host=~".*"} == 1', 'trireme_device_peak_bytes{run=~".*", host=~".*"}',
         'sum by (reason) (trireme_control_rejected_total{run=~".*"})', 'sum by (where) (trireme_train_nonfinite_total{run=~".*", host=~".*"})'}


def everything(tmp_path):
    """A job that uses what panels show: counts, a filter, a loss of parts with gates, evaluation, an index."""
    spec = json.loads((EXAMPLES / "loss-combined.json").read_text())
    train, evaluate = spec["spec"]["stages"]
    train.update(needs=["filter", "evaluate", "index"], epochs=400)
    spec["spec"]["stages"] = [{"name": "filter", "kind": "filter", "data": ["train"], "min_words": 8, "short_side_over_px": None},
                              {"name": "early", "kind": "train", "data": "test", "model": "small", "global_batch": 64, "logical_slots": 8, "epochs": 1},
                              {**evaluate, "name": "evaluate", "needs": ["early"], "model": "early"},
                              {"name": "index", "kind": "index", "needs": ["early"], "data": "test", "model": "early"}, train]
    spec["spec"]["checkpoint"] = {"every_steps": 20, "every_seconds": 0}
    path = tmp_path / "everything.json"
    path.write_text(json.dumps(spec))
    return path


def test_every_panel_has_data_of_real_jobs_and_real_alerts_arrive(launch, tmp_path):
    for program in ("prometheus", "prometheus-alertmanager"):
        need_program(program)
    whole = launch(everything(tmp_path), name="whole", workers=2)
    # A worker that dies, and then a disk that is full for a moment: for the ledger, and for two checkpoints.
    full = "ledger.before_commit:8:enospc,ckpt.before_rename:2:enospc,ckpt.before_rename:3:enospc"
    faulty = launch(EXAMPLES / "tiny.json", name="faulty", workers=1, sets=["spec.stages.train.epochs=4000"],
                    env=environment(TRIREME_FAULT=full, TRIREME_FAULT_INCARNATION=2, TRIREME_FAULT_RANK=0))
    faulty.wait_for(lambda: faulty.step() >= 20, what="step 20")
    os.kill(faulty.processes("trireme-worker")[0], signal.SIGKILL)
    endpoint = json.loads(whole.wait_for(lambda: (whole.output / "endpoint.json").exists() and (whole.output / "endpoint.json").read_text(), what="endpoint.json"))
    port, alert_port = free_port(), free_port()
    config = (MONITORING / "prometheus/prometheus.yml").read_text()
    for shipped, here in {"http://127.0.0.1:9400": endpoint["url"], "127.0.0.1:9093": f"127.0.0.1:{alert_port}", "scrape_interval: 5s": "scrape_interval: 1s", "evaluation_interval: 15s":
                          "evaluation_interval: 1s", "refresh_interval: 10s": "refresh_interval: 1s", "# file_sd_configs": "file_sd_configs", "/shared/runs/RUN/targets.json": f"{faulty.output}/targets.json"}.items():
        assert shipped in config, shipped
        config = config.replace(shipped, here)
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "alerts.yml").write_text(RULES.read_text())
    with Inbox() as inbox:
        routing = (MONITORING / "prometheus/alertmanager.yml").read_text().replace("http://127.0.0.1:9095", inbox.url)
        (tmp_path / "alertmanager.yml").write_text(re.sub(r"group_wait: \w+", "group_wait: 1s", routing))
        with programs(["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                      ["prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/alertmanager", "--cluster.listen-address=",
                       f"--web.listen-address=127.0.0.1:{alert_port}"]):
            def ask(path):
                try:
                    return json.loads(get(f"http://127.0.0.1:{port}/api/v1/{path}"))["data"]
                except OSError:
                    return {}
            waiting = {query for query, (board, _) in queries().items() if board != "search"} - NEVER
            assert len(waiting) >= 50
            arrived, deadline = {}, time.monotonic() + 120
            while (waiting or {"LedgerError", "CheckpointFailing"} - set(arrived)) and time.monotonic() < deadline:
                time.sleep(0.5)
                assert whole.process.poll() is None and faulty.process.poll() is None, whole.text()[-2000:] + faulty.text()[-2000:]
                waiting -= {query for query in waiting if ask("query?query=" + urllib.parse.quote(query)).get("result")}
                arrived = {alert["labels"]["alertname"]: (path, alert) for path, alert in inbox.got}
            assert not waiting, {queries()[query]: query for query in waiting}
            targets = ask("targets")["activeTargets"]
            assert {target["labels"]["job"] for target in targets} == {"trireme-coordinator", "trireme-worker"} and all(target["health"] == "up" for target in targets)
            for variable in BOARDS["training"]["templating"]["list"][1:]:
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
                values = ask(f"label/{label}/values?match[]={metric}")
                assert values and (label != "job" or all(value.startswith("job-") for value in values)), (label, values)
            series = ask("query?query=" + urllib.parse.quote('count({__name__=~"trireme_.*"})'))
            assert int(series["result"][0]["value"][1]) < 3000
            # What pages somebody and what waits, each with the run and the panel; nothing of the job that is well.
            run = json.loads((faulty.output / "endpoint.json").read_text())["run_id"]
            path, page = arrived["LedgerError"]
            assert path == "/page" and page["status"] == "firing" and page["labels"]["run"] == run
            assert page["annotations"]["dashboard"] == "/d/trireme-coordinator?viewPanel=67" and "disk" in page["annotations"]["action"]
            assert arrived["CheckpointFailing"][0] == "/warn" and arrived["CheckpointFailing"][1]["labels"]["run"] == run


def test_every_panel_of_search_has_data_of_a_real_service(launch, tmp_path):
    need_program("prometheus")
    run = launch(EXAMPLES / "tiny.json", name="pictures", sets=["spec.stages.train.epochs=1"]).succeed().output
    service = SearchService(tmp_path / "log", run, "-n", 1, "--threads", 1)
    port, config = free_port(), (MONITORING / "prometheus/prometheus.yml").read_text()
    for shipped, here in {"# - {job_name: trireme-search": "- {job_name: trireme-search", "127.0.0.1:9410": service.address.netloc, "scrape_interval: 5s": "scrape_interval: 1s"}.items():
        assert shipped in config, shipped
        config = config.replace(shipped, here)
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "alerts.yml").write_text(RULES.read_text())
    (run / "index/manifest.json").write_text("{}")  # a newer index that is none
    waiting = {query for query, (board, _) in queries("search").items() if board == "search"}
    waiting |= {query.replace('".*"', json.dumps(re.escape(service.address.netloc)), 1) for query in waiting}  # and of this service alone
    assert len(waiting) >= 16
    try:
        with programs(["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]):
            deadline = time.monotonic() + 120
            while waiting and time.monotonic() < deadline:
                time.sleep(0.5)
                service.search({"text": "a red circle"}, k=1)
                assert service.ask("GET", "/nothing")[0] == 404
                with contextlib.suppress(OSError):
                    waiting -= {query for query in waiting if json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query=" + urllib.parse.quote(query)))["data"]["result"]}
        assert not waiting, waiting
    finally:
        service.stop()
