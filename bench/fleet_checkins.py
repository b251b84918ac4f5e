"""Check-ins that an orchestrator takes: a real process with SQLite synced to the disk, nodes over kept connections."""

import json
import tempfile
from pathlib import Path

from bench.fleet_site import Orchestrator, orchestrator
from bench.load import http_request, under_load
from bench.rows import Row, row

__all__ = ["run"]

NODES = 1000
CLIENTS, SECONDS, WARM_S = 16, 10.0, 2.0
PER_S_MIN = 500
STATES = ("fetched", "verified", "staged", "warmed", "canary", "active", "settled")


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name, orchestrator(Path(name)) as fleet:
        requests = checkins(fleet)
        under_load(fleet.address, requests, clients=CLIENTS, seconds=WARM_S)
        found = under_load(fleet.address, requests, clients=CLIENTS, seconds=SECONDS)
        assert found.failed == 0, found.statuses
        assert fleet.ask("GET", "/api/fleet")["online"] == NODES
        per_s = found.per_second()
    return [
        row(
            f"a check-in, {NODES} nodes over {CLIENTS} connections",
            1e6 / found.per_second(),
            "µs",
            limit=1e6 / PER_S_MIN,
        ),
        row("check-ins a second", per_s, "1/s"),
        row("a check-in, p99", found.at_ms(0.99), "ms"),
    ]


def checkins(fleet: Orchestrator) -> list[bytes]:
    """One of each node; each changes the state that is known of it."""
    (claim,) = fleet.ask("POST", "/api/fleet/claims", {"uses": NODES})
    requests = []
    for number in range(NODES):
        asked = {"claim": claim["code"], "public_key": "PEM", "node": f"n{number:04}"}
        token = fleet.ask("POST", "/fleet/v1/enrol", asked)["token"]
        running = {"models/embedder": "models/embedder/3.wasm"}
        said = {"deployment": 3, "state": STATES[number % len(STATES)], "running": running}
        auth = f"authorization: Bearer {token}"
        requests.append(http_request("POST", "/fleet/v1/checkin", json.dumps(said).encode(), auth))
    return requests
