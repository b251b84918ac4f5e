"""A real node in a fleet: what it is told to run arrives signed, is tried, serves, and goes back by itself."""

import base64
import io
import json
import os
import shutil
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from command import littoral as cli
from fleet_server import CLAIM, SHORT, Orchestrator, orchestrating
from littoral.clock import SYSTEM
from littoral.tensors import encode_frame
from littoral.updates.artifacts import Custom
from littoral.updates.wire import Gates, Window
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

    def kill_node(self) -> None:
        """The node, not its supervisor; returns when the next one serves."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid() != pid and self.is_ready())

    def factor(self) -> float:
        said = send_json(self.address, "POST", "/v2/models/m/infer", asked(1))
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


def spoilt_at(value: float, then: str = "unreachable") -> bytes:
    """As `times(2)`, but for this first number."""
    test = f"(if (f32.eq (f32.load (i32.const 1024)) (f32.const {value})) (then {then}))"
    return times(2, before=test)


LOOPS = """(block $out (loop $again
  (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
  (br_if $again (i32.lt_u (i32.rem_u (i32.load (i32.const 2048)) (i32.const 300000)) (i32.const 299999)))))"""
SPOILT = 7.0
MIRRORED = Gates(canary_s=2.0, canary_requests_min=30, watch_s=1.0, p99_ratio_max=1000.0)


class Load(threading.Thread):
    """Somebody who asks on and on, by one connection. numbers: the first input, in turn. said: each answer."""

    def __init__(self, address: str, *numbers: float) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.numbers = numbers
        self.said: list[tuple[int, float | None]] = []
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.is_set():
            number = self.numbers[len(self.said) % len(self.numbers)]
            reply = send_json(self.address, "POST", "/v2/models/m/infer", asked(number))
            found = json.loads(reply.body)["outputs"][0]["data"][0] / number if reply.status == 200 else None
            self.said.append((reply.status, found))

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self.join(60)


def asked(first: float) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [first, 2, 3, 4]}]}


def self_test(factor: float) -> bytes:
    x = np.float32([1, 2, 3, 4])
    return encode_frame({"in.x": x, "out.y": x * np.float32(factor)}, metadata={"rtol": "1e-3"})


def test_from_nothing_to_a_version_and_to_the_next(gateway: Gateway) -> None:
    gateway.start()
    assert send_json(gateway.address, "POST", "/v2/models/m/infer", asked(1)).status == 503
    assert send_json(gateway.address, "POST", "/pipelines/twice", {"inputs": {}}).status == 503
    first = gateway.deploy(times(2))
    told = gateway.wait(first, "settled")
    assert told["running"] == {"deployment": 1, "targets": {"models/m": "models/m/1.wasm"}}
    assert gateway.factor() == 2
    assert gateway.orchestrator.enrolled[0]["claim"] == CLAIM
    pid = gateway.pid()
    with Load(gateway.address, 1.0) as load:
        gateway.wait(gateway.deploy(times(3), gates=MIRRORED), "settled")
        assert gateway.factor() == 3
    assert {status for status, _ in load.said} == {200}
    assert {factor for _, factor in load.said} == {2, 3}
    assert gateway.pid() == pid
    assert gateway.told()["back"] == 1
    assert cli("update", "back", "--url", f"http://{gateway.address}").code == 0
    assert gateway.factor() == 2
    assert gateway.told()["state"] == "rolled_back"
    gateway.orchestrator.stop()
    gateway.end()
    gateway.start()
    assert gateway.factor() == 2
    assert "rolled_back" in cli("update", "status", "--url", f"http://{gateway.address}").out


BAD = {
    "traps": (times(2, before="unreachable"), {}, "refused", "load"),
    "traps on some requests": (spoilt_at(5.0), {}, "refused", "errors"),
    "wrong outputs": (times(-2), {}, "refused", "drift"),
    "slow": (times(2, before=LOOPS), {"p99_ratio_max": 1.5}, "refused", "p99"),
    "memory hog": (times(2, pages="2000 2000"), {"memory_mb_max": 64}, "refused", "memory"),
}


def test_bad_versions_are_caught_and_nobody_notices(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    with Load(gateway.address, 1.0, 5.0, 9.0) as load:
        for what, (wasm, gates, state, gate) in BAD.items():
            number = gateway.deploy(wasm, gates=msgspec.structs.replace(MIRRORED, **gates))
            told = gateway.wait(number, "refused", "rolled_back", "settled")
            assert (what, told["state"], told["gate"]) == (what, state, gate), told
            assert told["running"]["deployment"] == 1
        wrong = gateway.fleet.publish("selftests/m/1.safetensors", self_test(3))
        target = gateway.fleet.publish("models/m/90.wasm", times(2, version="9"), Custom(self_test=wrong))
        told = gateway.wait(gateway.orchestrator.run({"m": target}), "refused")
        assert told["gate"] == "selftest"
    assert set(load.said) == {(200, 2.0)}


def test_what_only_shows_after_the_flip_goes_back_within_seconds(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    number = gateway.deploy(spoilt_at(SPOILT), gates=msgspec.structs.replace(SHORT, watch_s=600.0))
    gateway.wait(number, "active")
    failed = 0
    while failed < 3:
        failed += send_json(gateway.address, "POST", "/v2/models/m/infer", asked(SPOILT)).status != 200
    began = SYSTEM.monotonic()
    told = gateway.wait(number, "rolled_back")
    assert SYSTEM.monotonic() - began < 10
    assert told["gate"] == "errors"
    assert send_json(gateway.address, "POST", "/v2/models/m/infer", asked(SPOILT)).status == 200


def test_a_process_that_ends_again_and_again_takes_its_deployment_with_it(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    number = gateway.deploy(times(2.5), gates=msgspec.structs.replace(SHORT, watch_s=600.0))
    gateway.wait(number, "active")
    for _ in range(3):
        gateway.kill_node()
    told = gateway.wait(number, "rolled_back")
    assert told["gate"] == "crash"
    assert gateway.factor() == 2


def test_killed_in_each_state_it_goes_on(gateway: Gateway) -> None:
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    gateway.kill_node()
    assert gateway.factor() == 2
    never = Window(days=((time.gmtime().tm_wday + 3) % 7,), from_minute=0, to_minute=1)
    long = msgspec.structs.replace(SHORT, canary_s=600.0, watch_s=600.0)
    for state, factor, more in (
        ("idle", 3, {"bytes_per_s_max": 1}),
        ("verified", 4, {"windows": (never,)}),
        ("canary", 5, {"gates": long}),
        ("active", 6, {"gates": msgspec.structs.replace(SHORT, watch_s=600.0)}),
    ):
        number = gateway.deploy(times(factor), **more)
        gateway.wait(number, state)
        gateway.kill_node()
        gateway.wait(number, state)
        assert gateway.factor() == (factor if state == "active" else 2)
    last = gateway.deploy(times(7))
    gateway.wait(last, "settled")
    assert gateway.factor() == 7
    gateway.process.kill()  # type: ignore[union-attr]
    gateway.process.wait(60)  # type: ignore[union-attr]
    gateway.orchestrator.stop()
    gateway.start()
    assert gateway.factor() == 7
    assert gateway.told()["deployment"] == last


def test_reports_asks_and_a_stick(gateway: Gateway, tmp_path: Path) -> None:
    gateway.orchestrator.asks += [{"id": "1", "kind": "doctor"}, {"id": "2", "kind": "logs", "lines": 5}]
    gateway.start()
    until(lambda: gateway.orchestrator.answers.keys() == {"1", "2"} and bool(gateway.orchestrator.reports))
    assert "findings" in gateway.orchestrator.answers["1"]["body"]
    assert gateway.orchestrator.reports[0]["metrics"]["littoral_node_uptime_seconds"] > 0
    gateway.orchestrator.asks.append({"id": "3", "kind": "bundle"})
    until(lambda: "3" in gateway.orchestrator.answers)
    archive = base64.b64decode(gateway.orchestrator.answers["3"]["body"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        assert {"doctor.json", "log.json", "updates.json"} <= set(files.getnames())
    gateway.orchestrator.stop()
    number = gateway.deploy(times(4))
    shutil.copytree(gateway.fleet.folder / "served", tmp_path / "stick")
    done = cli("update", "--from", tmp_path / "stick", "--url", f"http://{gateway.address}")
    assert done.code == 0, done.err
    gateway.wait(number, "settled")
    assert gateway.factor() == 4
