"""Agents of a fleet: another version takes over between two requests, together with its model, and goes back so."""

import json
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from fleet_gateway import SITE, Gateway, in_a_fleet, times
from fleet_server import SHORT
from littoral.updates.wire import Gates
from modules_in_text import ECHO, X, Y, agent, model, port, variant
from raw_http import send, send_json

pytestmark = pytest.mark.e2e

MORE = """
[agents.a]
path = "fleet:a"

[models.s]
path = "fleet:s"
pipeline = false
state = { s = "t" }

[pipelines.both]
steps = [{ agent = "a" }, { model = "m" }]
"""
PORT = {"name": "x", "dtype": "float32", "shape": [4]}
LAST = "(i32.sub (i32.add (local.get $at) (local.get $size)) (i32.const 16))"
NEGATES = f"(v128.store {LAST} (f32x4.neg (v128.load {LAST})))"
SPOILT = 7.0
MIRRORED = Gates(canary_s=1.0, canary_requests_min=20, watch_s=1.0, p99_ratio_max=1000.0, drift_max=2.0)


def told_back(before: str = "", version: str = "1.0.0", trap_at: float | None = None) -> bytes:
    """Gives the tensor that it gets, of which `before` may make another. trap_at: first number that it traps on."""
    test = f"(f32.eq (f32.load {LAST}) (f32.const {trap_at}))"
    trap = "" if trap_at is None else f"(if {test} (then unreachable))"
    return agent(f"{trap}{before}{ECHO}", version=version, input=[PORT], output=[PORT])


def summing(how: str, number: int) -> bytes:
    """y = 1000 · x, and the state t = x + s, or x - s."""
    body = f"""(v128.store (i32.const 1088)
      (f32x4.mul (v128.load (i32.const 1024)) (f32x4.splat (f32.const 1000))))
      (v128.store (i32.const 1216)
      (f32x4.{how} (v128.load (i32.const 1024)) (v128.load (i32.const 1152))))"""
    inputs, outputs = (X, port("s", "float32", [4], 1152)), (Y, port("t", "float32", [4], 1216))
    return model(body, variants=[variant(inputs=inputs, outputs=outputs)], version=f"{number}.0.0")


class Fleet(Gateway):
    def bring(self, wasm: bytes) -> str:
        self.versions += 1
        return self.fleet.publish(f"agents/a/{self.versions}.wasm", wasm)

    def both(self, first: float = 1.0) -> tuple[int, float | None]:
        """Status, and what became of the first number, by which it was multiplied."""
        said = send_json(self.address, "POST", "/pipelines/both", {"inputs": {"x": [first, 2, 3, 4]}})
        if said.status != 200:
            return said.status, None
        return 200, json.loads(said.body)["result"]["outputs"]["y"]["data"][0] / first

    def step(self, first: float, **parameters: bool) -> tuple[int, float | None]:
        """Of one sequence: status, and the first number of the sum of all inputs until now."""
        inputs = [{"name": "x", "shape": [4], "datatype": "FP32", "data": [first, 0, 0, 0]}]
        asked = {"inputs": inputs, "parameters": {"sequence_id": 7, **parameters}, "outputs": [{"name": "t"}]}
        said = send_json(self.address, "POST", "/v2/models/s/infer", asked)
        return said.status, json.loads(said.body)["outputs"][0]["data"][0] if said.status == 200 else None


class Load(threading.Thread):
    """Somebody who asks on and on."""

    def __init__(self, ask: Callable[[float], tuple[int, float | None]], *numbers: float) -> None:
        super().__init__(daemon=True)
        self.said: list[tuple[int, float | None]] = []
        self._ask = ask
        self._numbers = numbers
        self._ends = threading.Event()

    def run(self) -> None:
        while not self._ends.is_set():
            self.said.append(self._ask(self._numbers[len(self.said) % len(self._numbers)]))

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self.join(60)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with in_a_fleet(Fleet, SITE + MORE) as made:
        yield made


def test_agent_and_model_take_over_together_and_go_back_so(fleet: Fleet) -> None:
    fleet.start()
    models = [fleet.fleet.publish(f"models/m/{i}.wasm", times(factor)) for i, factor in ((1, 2), (2, -2))]
    first, second = fleet.bring(told_back()), fleet.bring(told_back(NEGATES, "2.0.0"))
    run = fleet.orchestrator.run
    fleet.wait(run({"m": models[0]}, agents={"a": first}), "settled")
    pid = fleet.pid()
    with Load(fleet.both, 1.0, 3.0) as load:
        told = fleet.wait(run({"m": models[1]}, agents={"a": second}, gates=MIRRORED), "settled")
        assert told["running"]["targets"]["agents/a"] == second
        assert fleet.factor() == -2
        assert send(fleet.address, "POST", "/api/updates/back").status == 200
        assert fleet.factor() == 2
        traps = fleet.bring(told_back("unreachable"))
        told = fleet.wait(run({"m": models[0]}, agents={"a": traps}, gates=MIRRORED), "refused")
        assert (told["gate"], "agent `a`" in told["problem"]) == ("errors", True)
        other = fleet.bring(agent(version="3.0.0"))
        told = fleet.wait(run({"m": models[0]}, agents={"a": other}, gates=MIRRORED), "refused")
        assert (told["gate"], "does not fit" in told["problem"]) == ("load", True)
    assert set(load.said) == {(200, 2.0)}
    late = fleet.bring(told_back(version="4.0.0", trap_at=SPOILT))
    gates = msgspec.structs.replace(SHORT, watch_s=600.0)
    number = run({"m": models[0]}, agents={"a": late}, gates=gates)
    fleet.wait(number, "active")
    while fleet.told()["state"] == "active":
        fleet.both(SPOILT)
    assert fleet.told()["gate"] == "errors"
    assert fleet.both(SPOILT) == (200, 2.0)
    serves = {"m": models[0]}, {"a": first}
    sums, negated, other = [
        fleet.fleet.publish(f"models/s/{i}.wasm", summing(sign, i)) for i, sign in ((1, "add"), (2, "sub"), (3, "add"))
    ]
    told = fleet.wait(run(serves[0] | {"s": sums}, agents=serves[1]), "settled", "refused", "rolled_back")
    assert (told["state"], told["problem"]) == ("settled", "")
    assert fleet.step(1.0, sequence_start=True) == (200, 1.0)
    gates = msgspec.structs.replace(MIRRORED, drift_max=0.1)
    with Load(fleet.step, 1.0) as load:
        told = fleet.wait(run(serves[0] | {"s": negated}, agents=serves[1], gates=gates), "refused", "settled")
        assert (told["gate"], "model `s`" in told["problem"]) == ("drift", True), load.said[-3:]
        fleet.wait(run(serves[0] | {"s": other}, agents=serves[1], gates=gates), "settled", "refused")
    assert load.said == [(200, float(i + 2)) for i in range(len(load.said))]
    assert fleet.pid() == pid
