"""A real node in a fleet: what it is told to run arrives signed, is tried, serves, and goes back by itself."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_server import CLAIM, SHORT, Orchestrator, orchestrating
from littoral.updates.wire import Gates
from modules_in_text import model
from raw_http import send, send_json
from supervised import short_folder
from upped import Up
from waiting import until

pytestmark = pytest.mark.e2e

SITE = """
[node]
name = "gateway-1"
listen = "127.0.0.1:PORT"

[models.m]
path = "fleet:m"

[pipelines.twice]
steps = [{ model = "m" }]

[updates]
trust = "fleet.json"
claim = "claim"
poll_s = 1
"""


def times(factor: float, *, before: str = "", pages: str = "2 2", version: str = "1.0.0") -> bytes:
    """y = x · factor. before: run first."""
    body = f"""{before}(v128.store (i32.const 1088)
      (f32x4.mul (v128.load (i32.const 1024)) (f32x4.splat (f32.const {factor}))))"""
    return model(body, pages=pages, version=version)


class Gateway(Up):
    """A node of a fleet, and its orchestrator."""

    def __init__(self, folder: Path, orchestrator: Orchestrator) -> None:
        super().__init__(folder / "node", SITE)
        self.orchestrator = orchestrator
        self.fleet = orchestrator.fleet
        self.fleet.trust.write(self.site.with_name("fleet.json"))
        self.site.with_name("claim").write_text(CLAIM)
        self.versions = 0

    def deploy(self, wasm: bytes, **more: Any) -> int:
        self.versions += 1
        target = self.fleet.publish(f"models/m/{self.versions}.wasm", wasm)
        return self.orchestrator.run({"m": target}, **more)

    def told(self) -> dict[str, Any]:
        return json.loads(send(self.address, "GET", "/api/updates").body)

    def wait(self, deployment: int, *states: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_there() -> bool:
            try:
                found.update(self.told())
            except (OSError, ValueError, IndexError):
                return False
            return found.get("deployment") == deployment and found["state"] in states

        until(is_there)
        return found

    def factor(self) -> float:
        body = {"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        said = send_json(self.address, "POST", "/v2/models/m/infer", body)
        assert said.status == 200, said.body
        return float(json.loads(said.body)["outputs"][0]["data"][0])


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with short_folder() as folder, orchestrating(folder / "fleet") as orchestrator:
        made = Gateway(folder, orchestrator)
        try:
            yield made
        finally:
            made.end(signal.SIGKILL)


def test_from_nothing_to_a_version_and_to_the_next(gateway: Gateway) -> None:
    gateway.start()
    asked = {"inputs": []}
    assert send_json(gateway.address, "POST", "/v2/models/m/infer", asked).status == 503
    first = gateway.deploy(times(2))
    told = gateway.wait(first, "settled")
    assert told["running"] == {"deployment": 1, "targets": {"models/m": "models/m/1.wasm"}}
    assert gateway.factor() == 2
    pid = gateway.pid()
    gateway.wait(gateway.deploy(times(3)), "settled")
    assert gateway.factor() == 3
    assert gateway.pid() == pid
    assert gateway.told()["back"] == 1
    assert send_json(gateway.address, "POST", "/api/updates/back", {}).status == 200
    until(lambda: gateway.factor() == 2)
    assert gateway.told()["state"] == "rolled_back"
    gateway.orchestrator.stop()
    gateway.end()
    gateway.start()
    assert gateway.factor() == 2
