"""A rollout to five real nodes in three rings, gates shortened, while the orchestrator is killed again and again."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import littoral
from bench.fleet_site import Orchestrator, free_port, orchestrator, until
from bench.networks import NETWORKS
from bench.rows import Row, row
from littoral.node.beside import running_node

__all__ = ["run"]

NODES, KILLS = 5, 10
LIMIT_S = 60.0
MODEL = "classifier"
GATES = {"canary_s": 0.5, "watch_s": 1.0, "p99_ratio_max": 1000.0}
RINGS = [{"name": "canary", "percent": 20}, {"name": "half", "percent": 60}, {"name": "all", "percent": 100}]
EVERY_S = 0.4
GATHER_S = 30.0
SITE = """
[node]
name = "NAME"
listen = "127.0.0.1:PORT"

[models.classifier]
path = "fleet:classifier"

[updates]
trust = "fleet.json"
claim = "claim"
node = "NAME"
poll_s = 1
"""


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        fleet = stack.enter_context(orchestrator(folder / "orchestrator"))
        fleet.ask("PUT", "/api/fleet/groups/all", {"gates": GATES})
        (claim,) = fleet.ask("POST", "/api/fleet/claims", {"uses": NODES, "group": "all"})
        model = littoral.compile(NETWORKS["mobilenet_v2"]())
        for number in range(NODES):
            stack.enter_context(node(folder / f"n{number}", fleet, claim["code"]))
        until(lambda: fleet.ask("GET", "/api/fleet")["online"] == NODES, 120)
        first_s, _ = rolled_out(fleet, bytes(model.wasm), kills=0)
        next_one = bytes(littoral.compile(NETWORKS["mobilenet_v2"](), version="2.0.0").wasm)
        killed_s, kills = rolled_out(fleet, next_one, KILLS)
    return [
        row(f"first version to {NODES} nodes, published to done", first_s, "s"),
        row("next one, orchestrator killed meanwhile", killed_s, "s", limit=LIMIT_S),
        row(f"of {KILLS} kills, not made before it was done", KILLS - kills, "kills", limit=0),
    ]


@contextlib.contextmanager
def node(folder: Path, fleet: Orchestrator, code: str) -> Iterator[None]:
    folder.mkdir()
    (folder / "fleet.json").write_bytes(fleet.trust())
    (folder / "claim").write_text(code)
    site = folder / "site.toml"
    site.write_text(SITE.replace("NAME", folder.name).replace("PORT", str(free_port())))
    with running_node(site):
        yield


def rolled_out(fleet: Orchestrator, wasm: bytes, kills: int) -> tuple[float, int]:
    """Seconds from the bytes to the end of the last ring, and how often the orchestrator was killed by then."""
    began = time.perf_counter()
    artifact = fleet.ask("POST", f"/api/fleet/artifacts?kind=models&name={MODEL}", wasm)
    order = {"group": "all", "set": {"models": {MODEL: artifact["target"]}}, "rings": RINGS}
    rollout = fleet.ask("POST", "/api/fleet/rollouts", order)
    ended, killed = threading.Event(), list[float]()
    killer = threading.Thread(target=kill_often, args=(fleet, kills, ended, killed))
    killer.start()
    try:
        until(lambda: state(fleet, rollout["id"]) not in ("running", "away"), 300)
        took_s, count = time.perf_counter() - began, len(killed)
    finally:
        ended.set()
        killer.join()
    told = fleet.ask("GET", f"/api/fleet/rollouts/{rollout['id']}")
    assert told["state"] == "done", told
    running = {f"models/{MODEL}": artifact["target"]}
    until(lambda: all(one["running"] == running for one in fleet.ask("GET", "/api/fleet/nodes")), GATHER_S)
    return took_s, count


def state(fleet: Orchestrator, rollout: str) -> str:
    try:
        return str(fleet.ask("GET", f"/api/fleet/rollouts/{rollout}")["state"])
    except OSError:
        return "away"


def kill_often(fleet: Orchestrator, kills: int, ended: threading.Event, killed: list[float]) -> None:
    """So many times, until the rollout has ended; each life lasts long enough to answer."""
    while len(killed) < kills and not ended.wait(EVERY_S):
        fleet.kill()
        fleet.start()
        killed.append(time.perf_counter())
