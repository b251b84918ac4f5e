"""`examples/vibration`, all of it: a real broker, the agent built here, the committed network, alerts on MQTT."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import littoral
from broker import running_broker
from command import environment
from littoral.authoring.build import build_agent
from littoral.runtime.agents import Agent
from mqtt_site import client_of
from node_fixture import node_in_thread
from own_agent import use_toolchain
from supervised import short_folder
from tracked import ROOT

pytestmark = pytest.mark.e2e

EXAMPLE = ROOT / "examples/vibration"
LEARNT, WATCHED = 150, 40
WINDOWS_MAX = 20_000
"""Until the first alert: those that come before the script is up are not judged."""


class Parts(NamedTuple):
    signals: ModuleType
    spectrum: ModuleType
    alert: ModuleType


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.syspath_prepend(EXAMPLE)
    return Parts(*(importlib.import_module(name) for name in Parts._fields))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example's site with what it is made of, built here."""
    use_toolchain(monkeypatch)
    with short_folder() as found:
        build_agent(EXAMPLE / "agent", found / "spectrum.wasm", locked=True)
        littoral.compile(EXAMPLE / "bearing.onnx").save(found / "bearing.wasm")
        yield found


def test_the_agent_computes_what_the_network_was_taught_by(folder: Path, parts: Parts) -> None:
    rng = np.random.default_rng(5)
    with Agent.open(folder / "spectrum.wasm") as agent:
        for fault in parts.signals.FAULTS:
            samples = parts.signals.window(rng, fault)
            answer = agent.infer(samples.tobytes())
            assert isinstance(answer, dict)
            np.testing.assert_allclose(answer["spectrum"][0], parts.spectrum.spectrum(samples), atol=1e-5)


def test_a_fault_becomes_an_alert(folder: Path, parts: Parts) -> None:
    rng = np.random.default_rng(6)
    with running_broker(folder / "broker") as broker:
        site = folder / "site.toml"
        text = (EXAMPLE / "site.toml").read_text()
        site.write_text(text.replace(":8642", ":0").replace(":1883", f":{broker.port}"))
        command = [sys.executable, str(EXAMPLE / "alert.py"), "--port", str(broker.port)]
        with node_in_thread(folder, site=site) as node, client_of(broker.port) as client:
            client.listen("distances/+")
            learn(node.url, rng, parts)
            distances = {fault: watched(client, rng, parts, fault) for fault in ("good", "outer race", "inner race")}
            limit = parts.alert.LIMIT
            assert np.mean(np.array(distances["good"]) > limit) <= 0.15
            assert np.mean(np.array(distances["outer race"]) > limit) >= 0.85
            assert np.mean(np.array(distances["inner race"]) > limit) >= 0.7
            alerting = subprocess.Popen(command, env=environment())
            try:
                client.listen("alerts/+")
                topic, alert = until_alert(client, rng, parts)
            finally:
                alerting.terminate()
                alerting.wait()
    assert topic == "alerts/pump-2"
    assert (alert["limit"], alert["windows"] >= 3, alert["distance"] > 0) == (limit, True, True)


def learn(url: str, rng: np.random.Generator, parts: Parts) -> None:
    import urllib.request

    for _ in range(LEARNT):
        with urllib.request.urlopen(f"{url}/pipelines/learn", parts.signals.window(rng).tobytes()) as answer:
            assert answer.status == 200


def watched(client: Any, rng: np.random.Generator, parts: Parts, fault: str) -> list[float]:
    found = []
    for _ in range(WATCHED):
        client.send("machines/pump-1/samples", parts.signals.window(rng, fault).tobytes())
        topic, answer, _ = client.next()
        assert topic == "distances/pump-1"
        found.append(answer["result"][0]["score"])
    return found


def until_alert(client: Any, rng: np.random.Generator, parts: Parts) -> tuple[str, Any]:
    for _ in range(WINDOWS_MAX):
        client.send("machines/pump-2/samples", parts.signals.window(rng, "outer race").tobytes())
        topic, answer, _ = client.next()
        if topic.startswith("alerts/"):
            return topic, answer
    raise AssertionError("no alert")


def test_one_window_is_no_alert(parts: Parts) -> None:
    watch = parts.alert.Watch(limit=0.5)
    near, far = ({"result": [{"score": score}]} for score in (0.1, 0.9))
    assert watch.judge({"result": []}) is None
    assert [watch.judge(answer) for answer in (far, near, far, near, near, far)] == [None] * 6
    assert watch.judge(far) == {"distance": 0.9, "limit": 0.5, "windows": 3}


def test_the_figures_on_the_page_are_those_of_the_script() -> None:
    page, figures = (EXAMPLE / "README.md").read_text(), json.loads((EXAMPLE / "figures.json").read_text())
    assert figures["synthetic"] is True
    for name, share in figures["found"].items():
        seen = f" | {figures['unseen'][name]:.0%} |" if name in figures["unseen"] else " | |"
        assert f"| {name} | {share:.1%}{seen}" in page, f"| {name} | {share:.1%}{seen}"
