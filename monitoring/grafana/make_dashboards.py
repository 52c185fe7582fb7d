#!/usr/bin/env python3
"""Writes monitoring/grafana/dashboards/*.json from the tables below:  make_dashboards.py [--check]

A panel is (id, title, kind, unit, width, [(query, legend)…]). Alerts link to panels by id (monitoring/prometheus/alerts.yml): an id is never
given to another panel. In queries {C} is what selects series of the coordinator, {W} of workers, {J} and {S} the coordinator's of jobs and
stages, {I} of search services, which serve several runs and are scraped without discovery. No query hides that there is no data.
"""
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent / "dashboards"
SELECT = {"C": 'run=~"$run"', "W": 'run=~"$run", host=~"$host"', "J": 'run=~"$run", job=~"$job"', "S": 'run=~"$run", stage=~"$stage"', "I": 'instance=~"$service"'}
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
HEIGHT = {"stat": 4, "bargauge": 7, "timeseries": 8}

# name, label, where its values come from
VARIABLES = [("run", "Run", "trireme_run_info", "run"), ("job", "Job", "trireme_job_state", "job"), ("host", "Host", "trireme_worker_up", "host"),
             ("stage", "Stage", "trireme_shards", "stage")]
SEARCH_VARIABLES = [("service", "Service", "trireme_search_workers", "instance")]


def quantile(share, metric, by="", select="<C>", window="1m"):
    return f"histogram_quantile({share}, sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{select}}}[{window}])))"


def whole(query):
    for letter, selection in SELECT.items():
        query = query.replace(f"<{letter}>", selection)
    return query


STATE = [
    (2, "Job state", "stat", "none", 6, [('trireme_job_state{<J>} == 1', "{{job}} {{state}}")]),
    (3, "Progress", "bargauge", "percentunit", 10, [('trireme_job_progress_ratio{<J>, stage=~"$stage"}', "{{job}} {{stage}}")]),
    (4, "Time left", "stat", "s", 4, [('trireme_job_eta_seconds{<J>}', "{{job}}")]),
    (5, "Starts of the run", "stat", "none", 4, [('trireme_incarnation{<C>}', "{{run}}")]),
]

TRAINING = [
    ("Is it working?", [*STATE, (6, "Age of the last checkpoint", "stat", "s", 6, [('time() - trireme_checkpoint_last_success_timestamp_seconds{<C>}', "{{run}}")]),
                        (46, "Step of the last checkpoint", "stat", "none", 6, [('trireme_checkpoint_last_step{<C>}', "{{run}}")]),
                        (40, "Steps", "stat", "none", 6, [('sum by (run) (trireme_train_steps_total{<W>})', "{{run}}")])]),
    ("Speed", [(9, "Samples per second", "timeseries", "short", 12, [('sum by (run) (rate(trireme_train_samples_total{<W>}[30s]))', "{{run}}")]),
               (10, "Step time, median by phase", "timeseries", "s", 12, [(quantile(0.5, "trireme_train_step_duration_seconds", "phase", "<W>"), "{{phase}}")]),
               (11, "Step time, 99th percentile", "timeseries", "s", 8, [(quantile(0.99, "trireme_train_step_duration_seconds", "run", '<W>, phase="total"'), "{{run}}")]),
               (12, "Share of the step that waits for data", "timeseries", "percentunit", 8,
                [('sum by (run) (rate(trireme_train_step_duration_seconds_sum{<W>, phase="data_wait"}[1m])) / sum by (run) (rate(trireme_train_step_duration_seconds_sum{<W>, phase="total"}[1m]))', "{{run}}")]),
               (41, "Model FLOPs per second", "timeseries", "flops", 4, [('trireme_train_model_flops_per_second{<W>}', "{{run}}")]),
               (42, "Model FLOPs over those of the matrix product", "timeseries", "percentunit", 4, [('trireme_train_mfu_ratio{<W>}', "{{run}}")])]),
    ("Learning", [(15, "Loss", "timeseries", "none", 12, [('trireme_train_loss{<W>}', "{{run}}"), ('trireme_train_loss_part{<W>}', "{{part}}")]),
                  (16, "Gradient norm", "timeseries", "none", 6, [('trireme_train_grad_norm{<W>}', "{{run}}")]),
                  (18, "Learning rate", "timeseries", "none", 6, [('trireme_train_learning_rate{<W>}', "{{run}}")]),
                  (17, "Logit scale", "timeseries", "none", 8, [('trireme_train_logit_scale{<W>}', "{{run}}")]),
                  (34, "Gates (ALIP): running means, mean weights", "timeseries", "none", 8, [('trireme_train_gate{<W>}', "{{gate}}")]),
                  (19, "Non-finite values", "timeseries", "none", 8, [('sum by (where) (trireme_train_nonfinite_total{<W>})', "{{where}}")]),
                  (43, "Steps skipped", "stat", "none", 6, [('sum by (run) (trireme_train_steps_skipped_total{<W>})', "{{run}}")]),
                  (44, "Returns to a checkpoint", "stat", "none", 6, [('sum by (run) (trireme_train_rollbacks_total{<W>})', "{{run}}")])]),
    ("Exchange and checkpoints", [(13, "Collectives: seconds per second", "timeseries", "percentunit", 8, [('sum by (op, backend) (rate(trireme_collective_duration_seconds_sum{<W>}[1m]))', "{{op}} {{backend}}")]),
                                  (45, "Collectives: bytes per second", "timeseries", "Bps", 8, [('sum by (op) (rate(trireme_collective_bytes_total{<W>}[1m]))', "{{op}}")]),
                                  (47, "Checkpoint, mean time by part", "timeseries", "s", 8,
                                   [('sum by (part) (trireme_checkpoint_duration_seconds_sum{run=~"$run"}) / sum by (part) (trireme_checkpoint_duration_seconds_count{run=~"$run"})', "{{part}}")]),
                                  (48, "Checkpoint size", "stat", "bytes", 6, [('trireme_checkpoint_bytes{<C>}', "{{run}}")]),
                                  (49, "Checkpoints that failed", "timeseries", "none", 8, [('sum by (cause) (trireme_checkpoint_failures_total{<C>})', "{{cause}}")])]),
]

DATA = [
    ("Is it working?", STATE[:3]),
    ("Tasks", [(26, "Tasks by stage and state", "timeseries", "none", 12, [('sum by (stage, state) (trireme_shards{<S>})', "{{stage}} {{state}}")]),
               (28, "Attempts at tasks", "timeseries", "none", 12, [('sum by (stage, outcome) (trireme_shard_attempts_total{<S>})', "{{stage}} {{outcome}}")]),
               (50, "Tasks per minute", "timeseries", "none", 8, [('60 * sum by (stage) (rate(trireme_shard_duration_seconds_count{<S>}[1m]))', "{{stage}}")]),
               (51, "From lease to commit, 99th percentile", "timeseries", "s", 8, [(quantile(0.99, "trireme_shard_duration_seconds", "stage", "<S>"), "{{stage}}")]),
               (52, "Time of a task on its worker, median", "timeseries", "s", 8, [(quantile(0.5, "trireme_task_duration_seconds", "kind", "<W>"), "{{kind}}")])]),
    ("Samples", [(27, "Samples by kind of stage and outcome", "timeseries", "none", 12, [('sum by (stage, outcome) (trireme_samples_total{<W>})', "{{stage}} {{outcome}}")]),
                 (53, "Samples per second", "timeseries", "none", 12, [('sum by (stage) (rate(trireme_samples_total{<W>, outcome="in"}[1m]))', "{{stage}}")]),
                 (54, "Share that the filters keep", "timeseries", "percentunit", 12,
                  [('sum by (run) (trireme_samples_total{<W>, stage="filter", outcome="kept"}) / sum by (run) (trireme_samples_total{<W>, stage="filter", outcome="in"})', "{{run}}")]),
                 (55, "Dropped, by reason", "timeseries", "none", 12, [('sum by (outcome) (trireme_samples_total{<W>, outcome=~"dropped[.].+"})', "{{outcome}}")])]),
]

FLEET = [
    ("Workers", [(21, "Up", "stat", "none", 12, [('trireme_worker_up{<W>}', "{{worker}} on {{host}}")]),
                 (56, "Processes that a scrape reaches", "stat", "none", 6, [('sum by (job) (up{run=~"$run", job=~"trireme-.*"})', "{{job}}")]),
                 (22, "Age of the last heartbeat", "timeseries", "s", 12, [('time() - trireme_worker_last_heartbeat_timestamp_seconds{<C>} and on (run, worker) trireme_worker_up{<W>}', "{{worker}}")]),
                 (23, "Speed against the fastest", "timeseries", "percentunit", 12, [('trireme_worker_speed_ratio{<C>} and on (run, worker) trireme_worker_up{<W>}', "{{worker}}")]),
                 (24, "Resident memory", "timeseries", "bytes", 12, [('trireme_process_resident_bytes{<W>}', "rank {{rank}} {{host}}")]),
                 (57, "Busy: seconds of tasks per second", "timeseries", "percentunit", 12, [('sum by (host, rank) (rate(trireme_task_duration_seconds_sum{<W>}[1m]))', "rank {{rank}} {{host}}")]),
                 (72, "GPUs: what a worker goes without", "stat", "none", 12, [('trireme_device_fallback{<W>} == 1', "rank {{rank}} {{host}}: {{reason}}")]),
                 (73, "GPU memory at its peak", "timeseries", "bytes", 12, [('trireme_device_peak_bytes{<W>}', "rank {{rank}} {{host}}")])]),
    ("Losses and starts", [(58, "Starts of the run", "timeseries", "none", 8, [('trireme_incarnation{<C>}', "{{run}}")]),
                           (59, "Restarts by cause", "timeseries", "none", 8, [('sum by (cause) (trireme_restarts_total{<C>})', "{{cause}}")]),
                           (60, "From a start to its first task", "timeseries", "s", 8,
                            [('sum by (run) (trireme_recovery_duration_seconds_sum{<C>}) / sum by (run) (trireme_recovery_duration_seconds_count{<C>})', "{{run}}")]),
                           (61, "Control messages refused", "timeseries", "none", 8, [('sum by (reason) (trireme_control_rejected_total{<C>})', "{{reason}}")])]),
]

EVALUATION = [
    ("Is it working?", STATE[:3]),
    ("Results", [(70, "Metrics", "bargauge", "none", 12, [('trireme_evaluation_value{<W>}', "{{set}} {{metric}}")]),
                 (71, "Metrics over time", "timeseries", "none", 12, [('max by (set, metric) (trireme_evaluation_value{<W>})', "{{set}} {{metric}}")])]),
    ("Work of evaluation", [(62, "Samples evaluated, embedded and indexed per second", "timeseries", "none", 12,
                             [('sum by (stage) (rate(trireme_samples_total{<W>, stage=~"evaluate|embed|index|pair_scores", outcome="in"}[1m]))', "{{stage}}")]),
                            (63, "Time of their tasks, median", "timeseries", "s", 12,
                             [(quantile(0.5, "trireme_task_duration_seconds", "kind", '<W>, kind=~"evaluate|embed|index|pair_scores"', "5m"), "{{kind}}")]),
                            (64, "Samples so far, by outcome", "timeseries", "none", 12,
                             [('sum by (stage, outcome) (trireme_samples_total{<W>, stage=~"evaluate|embed|index|pair_scores"})', "{{stage}} {{outcome}}")])]),
]

COORDINATOR = [
    ("Is it working?", [*STATE[:2], (7, "Jobs waiting", "stat", "none", 4, [('trireme_jobs_queued{<C>}', "{{run}}")]),
                        (65, "Version", "stat", "none", 4, [('trireme_build_info{<C>, job="trireme-coordinator"}', "{{version}}")])]),
    ("Ledger and disk", [(30, "Commit, 99th percentile", "timeseries", "s", 8, [(quantile(0.99, "trireme_ledger_commit_duration_seconds", "run"), "{{run}}")]),
                         (66, "Commits per second", "timeseries", "none", 8, [('sum by (run) (rate(trireme_ledger_commit_duration_seconds_count{<C>}[1m]))', "{{run}}")]),
                         (31, "Ledger size", "timeseries", "bytes", 8, [('trireme_ledger_bytes{<C>}', "{{file}}")]),
                         (67, "Ledger errors", "timeseries", "none", 8, [('sum by (code) (trireme_ledger_errors_total{<C>})', "{{code}}")]),
                         (68, "Start check and replay", "stat", "s", 4, [('trireme_ledger_replay_duration_seconds{<C>}', "{{run}}")]),
                         (33, "Free disk space", "timeseries", "bytes", 12, [('trireme_disk_free_bytes{<C>}', "{{root}}")])]),
    ("API", [(32, "Requests per second", "timeseries", "none", 12, [('sum by (route, code) (rate(trireme_http_requests_total{<C>}[1m]))', "{{route}} {{code}}")]),
             (69, "Time of a request, 99th percentile", "timeseries", "s", 12, [(quantile(0.99, "trireme_http_request_duration_seconds", "route"), "{{route}}")])]),
]

SEARCH = [
    ("Search service", [(100, "Workers ready", "stat", "none", 6, [('trireme_search_workers{<I>}', "{{instance}}")]),
                        (101, "Items", "stat", "none", 6, [('trireme_search_items{<I>}', "{{index}}")]),
                        (102, "Waiting calls", "timeseries", "none", 12, [('trireme_search_waiting{<I>}', "{{instance}}")]),
                        (103, "Workers lost, newer indexes", "timeseries", "none", 12,
                         [('trireme_search_worker_losses_total{<I>}', "lost"), ('trireme_search_takeovers_total{<I>}', "{{outcome}}")]),
                        (104, "Requests per second", "timeseries", "none", 12, [('sum by (route) (rate(trireme_http_requests_total{<I>}[1m]))', "{{route}}")]),
                        (105, "Refusals per second", "timeseries", "none", 12, [('sum by (route, code) (rate(trireme_http_requests_total{<I>, code=~"[45].."}[1m]))', "{{route}} {{code}}")]),
                        (106, "Time of a request, median and 99th percentile", "timeseries", "s", 12,
                         [(quantile(0.5, "trireme_http_request_duration_seconds", "route", "<I>"), "{{route}}"), (quantile(0.99, "trireme_http_request_duration_seconds", "route", "<I>"), "{{route}}, p99")])]),
]

BOARDS = {"training": ("Trireme: training", TRAINING), "data": ("Trireme: data and curation", DATA), "fleet": ("Trireme: fleet", FLEET),
          "evaluation": ("Trireme: evaluation", EVALUATION), "coordinator": ("Trireme: coordinator", COORDINATOR), "search": ("Trireme: search", SEARCH)}


def panel(number, title, kind, unit, width, queries, place):
    targets = [{"refId": chr(ord("A") + i), "expr": query, "legendFormat": legend, "datasource": SOURCE} for i, (query, legend) in enumerate(queries)]
    made = {"id": number, "type": kind, "title": title, "datasource": SOURCE, "gridPos": place, "fieldConfig": {"defaults": {"unit": unit}, "overrides": []}, "targets": targets}
    if kind != "timeseries":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return made


def panels_of(rows):
    made, y = [], 0
    for index, (title, panels) in enumerate(rows):
        made.append({"id": 1000 + index, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, tallest = y + 1, 0, 0
        for number, name, kind, unit, width, queries in panels:
            if x + width > 24:
                x, y, tallest = 0, y + tallest, 0
            made.append(panel(number, name, kind, unit, width, [(whole(query), legend) for query, legend in queries], {"x": x, "y": y, "w": width, "h": HEIGHT[kind]}))
            x, tallest = x + width, max(tallest, HEIGHT[kind])
        y += tallest
    return made


def variable(name, label, metric, value):
    query = f"label_values({metric}, {value})"
    everything = None if name == "service" else ".*"  # all services are those of the list: a coordinator answers requests, too
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
            "multi": True, "includeAll": True, "allValue": everything, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "hide": 0, "options": [], "regex": ""}


def board(name, title, rows):
    source = {"name": "DS_PROMETHEUS", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "regex": "", "hide": 0, "multi": False,
              "includeAll": False, "current": {}, "options": []}
    return {
        "__inputs": [{"name": "DS_PROMETHEUS", "label": "Prometheus", "description": "The Prometheus that scrapes Trireme", "type": "datasource", "pluginId": "prometheus", "pluginName": "Prometheus"}],
        "__requires": [{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "9.0.0"}, {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}],
        "uid": f"trireme-{name}", "title": title, "tags": ["trireme"], "timezone": "browser", "schemaVersion": 39, "version": 1, "editable": True, "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "links": [{"type": "dashboards", "title": "Trireme", "tags": ["trireme"], "asDropdown": True, "includeVars": True, "keepTime": True}],
        "annotations": {"list": [] if name == "search" else [{"name": "Restarts", "enable": True, "datasource": SOURCE, "expr": 'changes(trireme_incarnation{run=~"$run"}[1m]) > 0', "iconColor": "red", "titleFormat": "restart"}]},
        "templating": {"list": [source, *(variable(*each) for each in (SEARCH_VARIABLES if name == "search" else VARIABLES))]},
        "panels": panels_of(rows)}


def main():
    texts = {f"{name}.json": json.dumps(board(name, title, rows), indent=1) + "\n" for name, (title, rows) in BOARDS.items()}
    if "--check" in sys.argv:
        found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
        wrong = sorted(name for name in texts if found.get(name) != texts[name])
        sys.exit(f"run monitoring/grafana/make_dashboards.py: {', '.join(wrong)}" if wrong else 0)
    for name, text in texts.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
