"""Deployments that bring what was not there, and a site file whose pipelines name it: while the node serves."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from command import littoral as cli
from fleet_gateway import SITE, Gateway, Load, asked, in_a_fleet, spoilt_at, times
from fleet_server import SHORT
from modules_in_text import ECHO, agent, model, port, variant
from raw_http import send, send_json
from waiting import until

pytestmark = pytest.mark.e2e

NAMED = """
[collections.c]
vectors = { size = 4, distance = "Dot" }
model = "n"

[pipelines.near]
steps = [{ model = "n" }, { search = "c", limit = 1 }]

[auth]
tokens = "tokens.json"

[[tenants]]
name = "acme"
models = ["m", "n"]
pipelines = ["both"]
"""
PORT = {"name": "x", "dtype": "float32", "shape": [4]}
BOTH = """
[models.n]
path = "fleet:n"

[agents.a]
path = "fleet:a"

[pipelines.both]
steps = [{ agent = "a" }, { model = "n" }]

[pipelines.all]
steps = [{ agent = "a" }, { model = "n" }, { model = "m" }]
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with in_a_fleet() as made:
        yield made


def said(gateway: Gateway, pipeline: str) -> tuple[int, Any]:
    """Status, and the first number of what it made of 1."""
    found = send_json(gateway.address, "POST", f"/pipelines/{pipeline}", {"inputs": {"x": [1, 2, 3, 4]}})
    if found.status != 200:
        return found.status, None
    return 200, json.loads(found.body)["result"]["outputs"]["y"]["data"][0]


def echo(version: str = "1.0.0") -> bytes:
    return agent(ECHO, version=version, input=[PORT], output=[PORT])


def test_models_and_agents_come_with_the_site_file_whose_pipelines_name_them(gateway: Gateway) -> None:
    """And go with it; what does not fit is refused before anything counts."""
    publish, run = gateway.fleet.publish, gateway.orchestrator.run
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    pid, before = gateway.pid(), gateway.site.read_text()
    models = {"m": "models/m/1.wasm", "n": publish("models/n/1.wasm", times(5))}
    agents = {"a": publish("agents/a/1.wasm", echo())}
    site = publish("sites/shop/1.toml", (before + BOTH).encode())
    with Load(gateway.address, 1.0) as load:
        gateway.wait(run(models, agents=agents, site=site), "settled", "refused", "rolled_back")
        assert (gateway.told()["problem"], said(gateway, "both"), said(gateway, "all")) == ("", (200, 5), (200, 10))
        assert gateway.site.read_text() == before + BOTH
        misfit = publish("agents/a/2.wasm", agent(version="2.0.0"))
        told = gateway.wait(run(models, agents={"a": misfit}, site=site), "refused", "settled", "rolled_back")
        assert (told["state"], told["gate"], said(gateway, "all")) == ("refused", "load", (200, 10)), told
        assert cli("update", "back", "--url", f"http://{gateway.address}").code == 0
        assert (said(gateway, "both")[0], gateway.site.read_text()) == (404, before)
        number = run(models | {"n": publish("models/n/2.wasm", times(7))}, agents=agents, site=site)
        gateway.wait(number, "settled", "refused", "rolled_back")
        assert (gateway.told()["problem"], said(gateway, "both"), said(gateway, "all")) == ("", (200, 7), (200, 14))
    assert {status for status, _ in load.said} == {200}
    assert gateway.pid() == pid
    gateway.kill_node()
    assert said(gateway, "all") == (200, 14)


def renamed() -> bytes:
    """As `times(3)`, with another name for what it gives."""
    body = """(v128.store (i32.const 1088)
      (f32x4.mul (v128.load (i32.const 1024)) (f32x4.splat (f32.const 3))))"""
    outputs = (port("z", "float32", [4], 1088),)
    return model(body, variants=[variant(outputs=outputs)], version="2.0.0")


def test_a_version_and_the_steps_that_alone_take_it_count_together_and_go_back_so() -> None:
    """What fails requests after the flip is left for the version and the steps of before, at once."""
    patient = SITE.replace('"fleet:m"', '"fleet:m"\nquarantine = { failures = 1000 }')
    more = (
        patient.replace('steps = [{ model = "m" }]', 'steps = [{ model = "m", take = "y" }]') + "mirror_share = 0.0\n"
    )
    with in_a_fleet(text=more) as gateway, Asking(gateway) as asking:
        run = gateway.orchestrator.run
        gateway.start()
        gateway.wait(gateway.deploy(times(2)), "settled")
        pid, before = gateway.pid(), gateway.site.read_text()
        asking.start()
        other = before.replace('take = "y"', 'take = "z"')
        second = gateway.fleet.publish("models/m/2.wasm", renamed())
        told = gateway.wait(run({"m": second}), "refused")
        assert (told["gate"], "does not fit" in told["problem"]) == ("load", True)
        site = gateway.fleet.publish("sites/shop/1.toml", other.encode())
        gateway.wait(run({"m": second}, site=site), "settled", "refused", "rolled_back")
        assert (gateway.told()["problem"], gateway.site.read_text()) == ("", other)
        until(lambda: asking.said[-1] == (200, {"z": 3.0}))
        bad = gateway.fleet.publish("models/m/3.wasm", spoilt_at(7.0))
        back = gateway.fleet.publish("sites/shop/2.toml", (before + "# 2\n").encode())
        number = run({"m": bad}, site=back, gates=msgspec.structs.replace(SHORT, watch_s=600.0))
        until(lambda: asking.said[-1] == (200, {"y": 2.0}))
        while gateway.told()["state"] == "active":
            send_json(gateway.address, "POST", "/v2/models/m/infer", asked(7.0))
        told = gateway.wait(number, "rolled_back")
        assert told["gate"] == "errors"
        until(lambda: gateway.site.read_text() == other)
        until(lambda: asking.said[-1] == (200, {"z": 3.0}))
        assert gateway.pid() == pid
    assert {status for status, _ in asking.said} == {200}


def test_a_node_that_is_killed_before_the_file_says_so_ends_with_both_or_with_neither(gateway: Gateway) -> None:
    publish, run = gateway.fleet.publish, gateway.orchestrator.run
    gateway.start()
    gateway.wait(gateway.deploy(times(2)), "settled")
    before = gateway.site.read_text()
    models = {"m": "models/m/1.wasm", "n": publish("models/n/1.wasm", times(5))}
    site = publish("sites/shop/1.toml", (before + BOTH).encode())
    number = run(models, agents={"a": publish("agents/a/1.wasm", echo())}, site=site)
    until(lambda: said(gateway, "both")[0] == 200)
    assert gateway.site.read_text() == before
    gateway.kill_node()
    told = gateway.wait(number, "settled", "rolled_back")
    until(lambda: (said(gateway, "all")[0] == 200) == (gateway.site.read_text() != before))
    assert gateway.site.read_text() == (before + BOTH if told["state"] == "settled" else before)
    assert gateway.factor() == 2


def test_what_waits_for_a_deployment_comes_with_it_and_goes_with_it(gateway: Gateway) -> None:
    """With pipelines, a collection and a tenant that name it; to nothing and back."""
    gateway.site.write_text(gateway.site.read_text() + BOTH + NAMED)
    publish, run = gateway.fleet.publish, gateway.orchestrator.run
    tokens = {who: made_token(gateway, who) for who in ("", "acme")}
    gateway.start()
    pid = gateway.pid()

    def status(who: str, path: str) -> int:
        shown = {"content-type": "application/json", "api-key": tokens[who]}
        return send(gateway.address, "POST", path, json.dumps({"inputs": {"x": [1, 2, 3, 4]}}).encode(), shown).status

    ways = [("", "/pipelines/both"), ("", "/pipelines/near"), ("acme", "/pipelines/both")]
    assert [status(*way) for way in ways][:2] == [503, 503]
    models = {"m": publish("models/m/1.wasm", times(2)), "n": publish("models/n/1.wasm", times(5))}
    agents = {"a": publish("agents/a/1.wasm", echo())}
    token = {"api-key": tokens[""]}

    def ended(number: int) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(json.loads(send(gateway.address, "GET", "/api/updates", headers=token).body))
            return found.get("deployment") == number and found["state"] in ("settled", "refused", "rolled_back")

        until(is_over)
        return found

    for wanted in ({"m": models["m"]}, models, {"m": models["m"]}, models):
        told = ended(run(wanted, agents=agents if "n" in wanted else {}))
        assert (told["state"], told["problem"]) == ("settled", "")
        assert status("", "/pipelines/twice") == 200
        assert [status(*way) for way in ways] == ([200, 200, 200] if "n" in wanted else [503, 503, 404])
    assert gateway.pid() == pid


def made_token(gateway: Gateway, who: str) -> str:
    whose = ("--tenant", who, "--roles", "read,infer,write") if who else ("--roles", "admin,read,infer,write")
    return str(cli("tokens", "new", gateway.site, f"{who or 'operator'}-app", *whose, "--json").json["token"])


class Asking(threading.Thread):
    """Somebody who asks the pipeline `twice` on and on. said: status, and the first number of each output."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(daemon=True)
        self.said: list[tuple[int, dict[str, float]]] = [(0, {})]
        self._gateway = gateway
        self._ends = threading.Event()

    def run(self) -> None:
        self.said.clear()
        while not self._ends.is_set():
            found = send_json(self._gateway.address, "POST", "/pipelines/twice", {"inputs": {"x": [1, 2, 3, 4]}})
            outputs = json.loads(found.body)["result"]["outputs"] if found.status == 200 else {}
            self.said.append((found.status, {name: one["data"][0] for name, one in outputs.items()}))

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        if self.is_alive():
            self.join(60)
