"""The fleet in numbers, and what happens in it."""

from collections import Counter
from typing import Any

import msgspec

from littoral.orchestrator.api.nodes import drift_of
from littoral.orchestrator.api.paging import COUNT_MAX, whole_number
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.inference import Inference
from littoral.orchestrator.pacing import FLEET, Pacer
from littoral.orchestrator.store.rows import EventRow
from littoral.web import Answer, Protocol, Request, Route, Stream, json_answer

__all__ = ["overview_protocol"]

NO_INFERENCE = {
    "takes": False,
    "problem": "",
    "busy_max": 0,
    "busy": 0,
    "steps": {},
    "bytes": {},
    "nodes": [],
    "sites": [],
}


def overview_protocol(fleet: Fleet, name: str, pacer: Pacer, inference: Inference | None) -> Protocol:
    async def overview(_: Request) -> Answer:
        return json_answer({"name": name} | _counts(fleet) | {"traffic": pacer.traffic(FLEET)._asdict()})

    async def events(_: Request) -> Stream:
        return fleet.events.stream()

    async def history(request: Request) -> Answer:
        query = request.query
        count = min(whole_number(query.get("count"), 100, "count"), COUNT_MAX)
        before = whole_number(query["before"], 0, "before") if "before" in query else None
        rows = await fleet.reading(lambda store: store.rows(EventRow, newest=count, before=before))
        return json_answer([msgspec.to_builtins(row) for row in rows])

    async def steps(_: Request) -> Answer:
        return json_answer(NO_INFERENCE if inference is None else inference.told())

    routes = (
        Route("GET", "/api/fleet", overview),
        Route("GET", "/api/fleet/events", events),
        Route("GET", "/api/fleet/history", history),
        Route("GET", "/api/fleet/inference", steps),
    )
    return Protocol(("/api/fleet",), routes)


def _counts(fleet: Fleet) -> dict[str, Any]:
    checkins = {name: fleet.checkin_of(name) for name in fleet.nodes}
    states = Counter(found.state if found else "idle" for found in checkins.values())
    drifting = [node for name, node in fleet.nodes.items() if (said := checkins[name]) and drift_of(node, said.running)]
    return {
        "nodes": len(fleet.nodes),
        "online": sum(fleet.is_online(name) for name in fleet.nodes),
        "states": states,
        "drifting": len(drifting),
        "groups": len(fleet.groups),
        "artifacts": Counter(row.state for row in fleet.artifacts.values()),
        "rollouts": Counter(row.state for row in fleet.rollouts.values()),
        "time": fleet.clock.wall(),
    }
