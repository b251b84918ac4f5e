"""Boards and alerts: each expression is evaluated by a real Prometheus that scrapes a real node; each alert fires."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import boards

from littoral.telemetry import METRICS, Log, LogOptions
from needs import need
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from otlp_receiver import receiver
from prometheus import Prometheus, case, check_rules, scraping
from raw_http import send
from supervised import short_folder
from waiting import until

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
OF_PROMETHEUS = {"up"}
PANELS = [
    (name, panel["title"], target["expr"])
    for name in boards.BOARDS
    for panel in json.loads((boards.FOLDER / f"{name}.json").read_text())["panels"]
    for target in panel["targets"]
]
TRACES = '[telemetry.traces]\nendpoint = "{url}"\nratio = 1\n'

FIRING = {
    "LittoralNodeDown": {'up{job="littoral"}': "0x40"},
    "LittoralNodeNotReady": {"littoral_node_ready": "0x40"},
    "LittoralRequestsFail": {
        'littoral_http_requests_total{status="500"}': "0+10x40",
        'littoral_http_requests_total{status="200"}': "0+50x40",
    },
    "LittoralRequestsSlow": {
        'littoral_http_request_duration_seconds_bucket{le="5.0"}': "0+1x40",
        'littoral_http_request_duration_seconds_bucket{le="10.0"}': "0+60x40",
        'littoral_http_request_duration_seconds_bucket{le="+Inf"}': "0+60x40",
    },
    "LittoralRefuses": {"littoral_pipeline_refused_total": "0+60x40"},
    "LittoralCollectionAway": {"littoral_collection_answers": "0x40"},
    "LittoralShardSlow": {
        'littoral_shard_request_duration_seconds_bucket{request="search",le="1.0"}': "0+1x40",
        'littoral_shard_request_duration_seconds_bucket{request="search",le="2.5"}': "0+60x40",
        'littoral_shard_request_duration_seconds_bucket{request="search",le="+Inf"}': "0+60x40",
    },
    "LittoralQuarantine": {"littoral_pool_quarantined": "1x40"},
    "LittoralAgentEnds": {'littoral_agent_ends_total{reason="trap"}': "0+10x40"},
    "LittoralMqttAway": {"littoral_mqtt_connected": "0x40"},
    "LittoralMqttDrops": {'littoral_mqtt_dropped_total{reason="aged"}': "0+5x40"},
    "LittoralMqttLate": {"littoral_mqtt_oldest_seconds": "100x40"},
    "LittoralTenantRefused": {'littoral_tenant_refused_total{tenant="acme",quota="store"}': "0+120x40"},
    "LittoralAnswersWrong": {'littoral_gateway_alarm{tenant="acme"}': "1x40"},
    "LittoralQuestionsMoved": {'littoral_gateway_moved_total{tenant="acme"}': "0x20 1x20"},
    "LittoralServiceAway": {'littoral_gateway_upstream_state{upstream="cloud",state="open"}': "1x40"},
    "LittoralBudgetExhausted": {
        'littoral_gateway_budget_refused_total{tenant="acme",what="tokens",window="86400"}': "0+5x40"
    },
    "LittoralJudgeBehind": {"littoral_gateway_judge_dropped_total": "0+10x40"},
    "LittoralNodesMissing": {"littoral_mesh_members": "3x40", "littoral_mesh_members_here": "2x40"},
    "LittoralShardsLost": {"littoral_mesh_shards_lost": "1x40"},
    "LittoralShardsShort": {"littoral_mesh_shards_short": "1x40"},
    "LittoralReplicaBehind": {"littoral_replica_lag_seconds": "1000x40"},
    "LittoralMigrationStuck": {"littoral_migration_points_refused": "3x40"},
    "LittoralFilesRunOut": {"process_open_fds": "900x40", "process_max_fds": "1000x40"},
    "LittoralTracesLost": {'littoral_trace_spans_dropped_total{reason="full"}': "0+10x40"},
    "LittoralLogDropped": {"littoral_log_lines_dropped_total": "0+10x40"},
}
CALM = {
    'up{job="littoral"}': "1x40",
    "littoral_node_ready": "1x40",
    'littoral_http_requests_total{status="200"}': "0+50x40",
    'littoral_http_requests_total{status="500"}': "0+1x40",
    "littoral_collection_answers": "1x40",
    "littoral_pool_quarantined": "0x40",
    "littoral_mqtt_connected": "1x40",
    "littoral_mqtt_oldest_seconds": "0x40",
    'littoral_tenant_refused_total{tenant="acme",quota="requests_per_s"}': "0+30x40",
    'littoral_gateway_alarm{tenant="acme"}': "0x40",
    'littoral_gateway_moved_total{tenant="acme"}': "3x40",
    'littoral_gateway_upstream_state{upstream="cloud",state="closed"}': "1x40",
    'littoral_gateway_upstream_state{upstream="cloud",state="open"}': "0x40",
    'littoral_gateway_budget_refused_total{tenant="acme",what="requests",window="1"}': "0+30x40",
    'littoral_gateway_budget_refused_total{tenant="acme",what="money",window="86400"}': "0x40",
    "littoral_gateway_judge_dropped_total": "0x40",
    "littoral_mesh_members": "3x40",
    "littoral_mesh_members_here": "3x40",
    "littoral_mesh_shards_lost": "0x40",
    "littoral_mesh_shards_short": "0x40",
    "littoral_replica_lag_seconds": "0x40",
    "process_open_fds": "100x40",
    "process_max_fds": "1000x40",
    "littoral_log_lines_dropped_total": "0x40",
}


def test_boards_are_what_their_tables_say() -> None:
    found = {path.name: path.read_text() for path in boards.FOLDER.glob("*.json")}
    assert found == boards.texts(), "python tools/boards.py"


def test_every_metric_that_is_named_is_one_of_ours() -> None:
    known = {*METRICS, *OF_PROMETHEUS}
    for spec in METRICS.values():
        if spec.kind.endswith("histogram"):
            known |= {f"{spec.name}_{end}" for end in ("bucket", "sum", "count")}
    expressions = [expression for _, _, expression in PANELS] + [rule["expr"] for rule in RULES]
    named = {name for one in expressions for name in re.findall(r"\b(?:littoral|process)_\w+", one)}
    assert named <= known
    labels = {label for spec in METRICS.values() for label in spec.labels} | {"instance", "le", "job"}
    grouped = {
        label.strip() for one in expressions for by in re.findall(r"by \(([^)]*)\)", one) for label in by.split(",")
    }
    assert grouped <= labels


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    assert [rule["alert"] for rule in RULES] == list(FIRING)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "mend"}


def test_each_alert_fires_when_it_should_and_none_otherwise(tmp_path: Path) -> None:
    need(shutil.which("promtool"), "promtool")
    cases = [
        case(series, [(f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', 1)])
        for name, series in FIRING.items()
    ]
    cases.append(case(CALM, [("count(ALERTS)", None)]))
    check_rules(tmp_path, ALERTS, cases)


# --- a real Prometheus ---


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with receiver() as collector, short_folder() as folder:
        site = write_site(folder, SITE + DOUBLE + TRACES.format(url=collector.url))
        with node_in_thread(folder, site=site) as found:
            found.node.log = log = Log.start(LogOptions())
            yield found
            log.stop()


@pytest.fixture(scope="module")
def prometheus(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Has scraped the node several times, with requests in between."""
    need(shutil.which("prometheus"), "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(folder, served.address, ALERTS) as found:

        def is_there() -> bool:
            send(served.address, "POST", "/pipelines/double", b'{"inputs": {"x": [[1, 2, 3]]}}')
            send(served.address, "POST", "/pipelines/double", b"{")
            return found.has('count_over_time(up{job="littoral"}[5m]) >= 3 and on() up == 1')

        until(is_there)
        yield found


def test_prometheus_takes_every_expression(prometheus: Prometheus, served: Served) -> None:
    lines = send(served.address, "GET", "/metrics").body.decode().splitlines()
    there = {re.match(r"\w+", line)[0] for line in lines if line and not line.startswith("#")}  # type: ignore[index]
    for name, title, expression in PANELS:
        asked = expression.replace("$instance", ".*").replace("$__rate_interval", "5m")
        assert isinstance(prometheus.value(asked), list)
        named = set(re.findall(r"\b(?:littoral|process)_\w+", expression))
        if named <= there and "> 0" not in expression and 'status=~"5.."' not in expression:
            try:
                until(lambda asked=asked: bool(prometheus.value(asked)))  # rates are of two scrapes
            except AssertionError as error:
                raise AssertionError(f"{name}: {title}: {asked}") from error


def test_prometheus_takes_every_alert(prometheus: Prometheus) -> None:
    def rules() -> Any:
        return prometheus.get("/rules")["groups"][0]["rules"]

    until(lambda: all(rule["health"] == "ok" for rule in rules()))
    assert [rule["name"] for rule in rules()] == [rule["alert"] for rule in RULES]
    assert {rule["name"] for rule in rules() if rule["state"] == "firing"} == set()
