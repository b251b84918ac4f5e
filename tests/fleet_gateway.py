"""A real node in a fleet of a test, models that misbehave, and somebody who asks on and on."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fleet_server import CLAIM, Orchestrator, orchestrating
from littoral.tensors import encode_frame
from modules_in_text import model
from raw_http import send, send_json
from supervised import short_folder
from upped import Up
from waiting import until

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
serve_peers = true
dashboards = "grafana"
"""


def times(factor: float, *, before: str = "", pages: str = "2 2", version: str = "1.0.0") -> bytes:
    """y = x · factor. before: run first."""
    body = f"""{before}(v128.store (i32.const 1088)
      (f32x4.mul (v128.load (i32.const 1024)) (f32x4.splat (f32.const {factor}))))"""
    return model(body, pages=pages, version=version)


class Gateway(Up):
    """A node of a fleet, and its orchestrator."""

    def __init__(self, folder: Path, orchestrator: Orchestrator, text: str = SITE) -> None:
        super().__init__(folder / "node", text)
        self.orchestrator = orchestrator
        self.fleet = orchestrator.fleet
        self.fleet.trust.write(self.site.with_name("fleet.json"))
        self.site.with_name("claim").write_text(CLAIM)
        self.grafana = self.site.with_name("grafana")
        self.grafana.mkdir()
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

    def factor(self, model: str = "m") -> float:
        said = send_json(self.address, "POST", f"/v2/models/{model}/infer", asked(1))
        assert said.status == 200, said.body
        return float(json.loads(said.body)["outputs"][0]["data"][0])


_G = TypeVar("_G", bound=Gateway)


@contextmanager
def in_a_fleet(kind: type[_G] = Gateway, text: str = SITE) -> Iterator[_G]:  # type: ignore[assignment]
    with short_folder() as folder, orchestrating(folder / "fleet") as orchestrator:
        made = kind(folder, orchestrator, text)
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


def board(title: str) -> bytes:
    return json.dumps(
        {"title": title, "panels": [{"type": "stat", "title": "up", "targets": [{"expr": "up"}]}]}
    ).encode()


def self_test(factor: float) -> bytes:
    x = np.float32([1, 2, 3, 4])
    return encode_frame({"in.x": x, "out.y": x * np.float32(factor)}, metadata={"rtol": "1e-3"})
