"""The board and alerts of a fleet: a real Prometheus scrapes a real orchestrator; each alert fires when it should."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tools import boards

from fleet_filled import fill
from fleet_pages import FleetPages, fleet_pages
from littoral.orchestrator.metrics import FLEET_METRICS
from needs import need
from prometheus import case, check_rules, scraping
from raw_http import send
from waiting import until

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy/prometheus/fleet-alerts.yml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
JOB = "littoral-fleet"
PANELS = [
    (panel["title"], target["expr"])
    for panel in json.loads((boards.FOLDER / "fleet.json").read_text())["panels"]
    for target in panel["targets"]
]
FIRING = {
    "LittoralOrchestratorDown": {f'up{{job="{JOB}"}}': "0x800"},
    "LittoralFleetOffline": {"littoral_fleet_nodes_online": "7x800", 'littoral_fleet_nodes{state="settled"}': "10x800"},
    "LittoralFleetUntold": {"littoral_fleet_nodes_untold": "1x800"},
    "LittoralVersionTakenBack": {'littoral_fleet_nodes{state="rolled_back"}': "1x800"},
    "LittoralRolloutAborted": {'littoral_fleet_rollouts{state="aborted"}': "1x790 2x10"},
    "LittoralRolloutPaused": {'littoral_fleet_rollouts{state="paused"}': "1x800"},
    "LittoralFleetGuessed": {'littoral_fleet_refused_total{reason="token"}': "0+60x800"},
    "LittoralDownloadsRefused": {"littoral_fleet_downloads_refused_total": "0+5x800"},
    "LittoralFleetFailures": {
        "littoral_fleet_failures_total": "0+10x800",
        "littoral_fleet_write_failures_total": "0x800",
    },
    "LittoralFleetBrokerAway": {"littoral_fleet_mqtt_connected": "0x800"},
    "LittoralInferenceExhausted": {
        'littoral_fleet_steps_total{outcome="answered"}': "0+60x800",
        'littoral_fleet_steps_total{outcome="busy"}': "0+6x800",
    },
    "LittoralInferenceDown": {'littoral_fleet_inference_up{node="dc-1"}': "0x800"},
}
CALM = {
    f'up{{job="{JOB}"}}': "1x800",
    "littoral_fleet_nodes_online": "9x800",
    'littoral_fleet_nodes{state="settled"}': "8x800",
    'littoral_fleet_nodes{state="canary"}': "2x800",
    'littoral_fleet_nodes{state="rolled_back"}': "0x800",
    "littoral_fleet_nodes_untold": "0x800",
    'littoral_fleet_rollouts{state="aborted"}': "3x800",
    'littoral_fleet_rollouts{state="running"}': "1x800",
    'littoral_fleet_refused_total{reason="token"}': "0+1x800",
    "littoral_fleet_downloads_refused_total": "4x800",
    "littoral_fleet_failures_total": "2x800",
    "littoral_fleet_write_failures_total": "0x800",
    "littoral_fleet_mqtt_connected": "1x800",
    'littoral_fleet_steps_total{outcome="answered"}': "0+60x800",
    'littoral_fleet_steps_total{outcome="often"}': "0+1x800",
    'littoral_fleet_inference_up{node="dc-1"}': "1x800",
}
LATE = "799m"


def test_every_metric_that_is_named_is_one_of_the_orchestrators() -> None:
    known = {f"{spec.name}{end}" for spec in FLEET_METRICS.values() for end in ("", "_bucket", "_sum", "_count")}
    expressions = [expression for _, expression in PANELS] + [rule["expr"] for rule in RULES]
    assert {name for one in expressions for name in re.findall(r"\blittoral_\w+", one)} <= known


def test_each_alert_fires_when_it_should_and_none_otherwise(tmp_path: Path) -> None:
    need(shutil.which("promtool"), "promtool")
    assert [rule["alert"] for rule in RULES] == list(FIRING)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "mend"}
    fires = 'count(ALERTS{{alertname="{}",alertstate="firing"}})'
    cases = [case(series, [(fires.format(name), 1)], LATE) for name, series in FIRING.items()]
    check_rules(tmp_path, ALERTS, [*cases, case(CALM, [("count(ALERTS)", None)], LATE)])


@pytest.fixture(scope="module")
def fleet() -> Iterator[FleetPages]:
    with fleet_pages() as found:
        fill(found, 10)
        yield found


def test_prometheus_takes_every_expression_and_alert(fleet: FleetPages, tmp_path: Path) -> None:
    need(shutil.which("prometheus"), "prometheus")
    with scraping(tmp_path, fleet.address, ALERTS, JOB) as prometheus:
        until(lambda: prometheus.has(f'count_over_time(up{{job="{JOB}"}}[5m]) >= 3 and on() up == 1'))
        lines = send(fleet.address, "GET", "/metrics").body.decode().splitlines()
        there = {line.partition(" ")[0].partition("{")[0] for line in lines if line and not line.startswith("#")}
        for title, expression in PANELS:
            asked = expression.replace("$instance", ".*").replace("$__rate_interval", "5m")
            named = set(re.findall(r"\blittoral_\w+", expression))
            if named <= there and 'status=~"5.."' not in expression:
                until(lambda asked=asked: bool(prometheus.value(asked)))  # rates are of two scrapes
            else:
                assert isinstance(prometheus.value(asked), list), title

        def rules() -> list[dict[str, str]]:
            found: list[dict[str, str]] = prometheus.get("/rules")["groups"][0]["rules"]
            return found

        until(lambda: all(rule["health"] == "ok" for rule in rules()))
        assert [rule["name"] for rule in rules()] == [rule["alert"] for rule in RULES]


def test_the_board_chooses_among_orchestrators() -> None:
    found = json.loads((boards.FOLDER / "fleet.json").read_text())["templating"]["list"][1]
    assert (found["label"], found["query"]["query"]) == (
        "Orchestrator",
        "label_values(littoral_fleet_nodes_online, instance)",
    )
