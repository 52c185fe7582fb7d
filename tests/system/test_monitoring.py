"""The real Prometheus scrapes a real job; every panel's query returns data; the rules hold (F64, F65)."""
import json
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from conftest import EXAMPLES, ROOT, need_program

MONITORING = ROOT / "monitoring"


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_rules_and_config_are_valid_and_every_alert_fires_in_its_test():
    promtool = need_program("promtool")
    folder = MONITORING / "prometheus"
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"- alert: (\w+)", (folder / "alerts.yml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts: \[\{", (folder / "alerts_test.yml").read_text()))
    assert alerts == tested


def test_rules_and_panels_name_only_metrics_of_the_catalog():
    catalog = set(re.findall(r'\{"(trireme_\w+)"', (ROOT / "common/telemetry/catalog.cpp").read_text()))
    text = (MONITORING / "prometheus/alerts.yml").read_text() + "".join(p.read_text() for p in (MONITORING / "grafana/dashboards").glob("*.json"))
    used = {re.sub(r"_(bucket|sum|count)$", "", name) if re.sub(r"_(bucket|sum|count)$", "", name) in catalog else name
            for name in re.findall(r"\btrireme_\w+", text)}
    assert used <= catalog, used - catalog


def dashboard_queries():
    """(panel, query) of the dashboard, its variables as Grafana fills them in when all is chosen."""
    dashboard = json.loads((MONITORING / "grafana/dashboards/trireme.json").read_text())
    return [(panel["title"], re.sub(r"\$(job|host|stage)\b", ".*", target["expr"]))
            for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_goes_into_any_grafana(tmp_path):
    dashboard = json.loads((MONITORING / "grafana/dashboards/trireme.json").read_text())

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
    assert set(variables) == {"DS_PROMETHEUS", "job", "host", "stage"}
    assert all(panel["datasource"] for panel in dashboard["panels"] if panel["type"] != "row")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    queries = dashboard_queries()
    assert not [query for _, query in queries if "vector(0)" in query or "$" in query], "an empty panel says so itself"
    rules = [{"record": f"panel:{i}", "expr": query} for i, (_, query) in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([need_program("promtool"), "check", "rules", str(tmp_path / "queries.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    labels = dict(re.findall(r'\{"(trireme_\w+)",[^{};]*?(\{"[^}]*\})', (ROOT / "common/telemetry/catalog.cpp").read_text()))
    for variable in ("job", "host", "stage"):
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[variable]["definition"]).groups()
        assert label == variable and f'"{label}"' in labels[metric]


# What a job without an objective of several parts, without gates and without a fault never has.
NOT_IN_TINY = {"trireme_train_loss_part", "trireme_train_gate", "sum(trireme_train_nonfinite_total)"}


def test_every_panel_returns_data_from_a_real_job(launch, tmp_path):
    prometheus = need_program("prometheus")
    run = launch(EXAMPLES / "tiny.json", sets=["spec.stages.0.epochs=40", "spec.checkpoint.every_steps=20"])
    endpoint = json.loads(run.wait_for(lambda: (run.output / "endpoint.json").exists() and (run.output / "endpoint.json").read_text(), what="endpoint.json"))
    run.wait_for(lambda: run.step() >= 20, what="step 20")
    port = free_port()
    config = (MONITORING / "prometheus/prometheus.yml").read_text()
    config = config.replace("http://127.0.0.1:9400", endpoint["url"]).replace("scrape_interval: 5s", "scrape_interval: 1s").replace("refresh_interval: 10s", "refresh_interval: 1s")
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "alerts.yml").write_text((MONITORING / "prometheus/alerts.yml").read_text())
    server = subprocess.Popen([prometheus, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
                               f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        queries = [(title, query) for title, query in dashboard_queries() if query not in NOT_IN_TINY]
        assert len(queries) >= 20
        deadline, empty = time.monotonic() + 60, queries
        while empty and time.monotonic() < deadline and run.process.poll() is None:
            time.sleep(1)
            still = []
            for title, query in empty:
                try:
                    answer = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"))
                except OSError:
                    still = empty
                    break
                if not answer["data"]["result"]:
                    still.append((title, query))
            empty = still
        assert not empty, f"no data for {empty}\n{get(f'http://127.0.0.1:{port}/api/v1/targets')[:3000]}"
        targets = json.loads(get(f"http://127.0.0.1:{port}/api/v1/targets"))["data"]["activeTargets"]
        assert {t["labels"]["job"] for t in targets} == {"trireme-coordinator", "trireme-worker"}
        assert all(t["health"] == "up" for t in targets)
        series = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query=" + urllib.parse.quote('count({__name__=~"trireme_.*"})')))
        assert int(series["data"]["result"][0]["value"][1]) < 2000
    finally:
        server.terminate()
        server.wait(20)
        run.process.send_signal(signal.SIGTERM)
        run.wait(30)
