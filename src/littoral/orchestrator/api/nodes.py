"""Nodes: what each runs, what it should, and whether it can be reached."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from littoral.errors import NotFoundError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.store import Delete, Put
from littoral.orchestrator.store.rows import MemberRow, NodeRow, ReportRow, SightingRow
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["drift_of", "nodes_protocol", "told_node"]

Label = Annotated[str, Meta(max_length=200)]
NODES = "/api/fleet/nodes"
NODE = f"{NODES}/{{node}}"


class NodePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: Annotated[dict[Label, Label], Meta(max_length=64)] | UnsetType = UNSET
    group: str | UnsetType = UNSET


def nodes_protocol(fleet: Fleet) -> Protocol:
    async def listed(request: Request) -> Answer:
        group = request.query.get("group")
        found = [told_node(fleet, node) for _, node in sorted(fleet.nodes.items())]
        return json_answer([one for one in found if group is None or one["group"] == group])

    async def one(request: Request) -> Answer:
        node = fleet.node(request.names["node"])
        report = fleet.reports.get(node.name)
        return json_answer(told_node(fleet, node) | {"report": report and msgspec.to_builtins(report)})

    async def patch(request: Request) -> Answer:
        asked = await request.json(NodePatch)
        async with fleet.changing:
            node = fleet.node(request.names["node"])
            if asked.group:
                fleet.group(str(asked.group))
            given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
            row = msgspec.structs.replace(node, **given)
            await fleet.write(Put(row), fleet.event("node_changed", row.name, by=CALLER.get(), **given))
        fleet.woken.set()
        return json_answer(told_node(fleet, fleet.node(row.name)))

    async def delete(request: Request) -> Answer:
        async with fleet.changing:
            name = fleet.node(request.names["node"]).name
            await fleet.write(
                Delete(type(fleet.nodes[name]), {"name": name}),
                Delete(SightingRow, {"node": name}),
                Delete(ReportRow, {"node": name}),
                fleet.event("node_deleted", name, by=CALLER.get()),
            )
        fleet.woken.set()
        return json_answer({"deleted": name})

    routes = (
        Route("GET", NODES, listed),
        Route("GET", NODE, one),
        Route("PATCH", NODE, patch),
        Route("DELETE", NODE, delete),
    )
    return Protocol(("/api/fleet",), routes)


def told_node(fleet: Fleet, node: NodeRow) -> dict[str, Any]:
    """As `GET /api/fleet/nodes` has it."""
    checkin = fleet.checkin_of(node.name)
    group = fleet.group_of(node)
    running = checkin.running if checkin else {}
    return {
        "name": node.name,
        "labels": node.labels,
        "group": group.name if group else node.group,
        "online": fleet.is_online(node.name),
        "seen": fleet.seen_at_s.get(node.name),
        "enrolled": node.enrolled_at_s,
        "deployment": node.deployment,
        "running_deployment": checkin.deployment if checkin else 0,
        "state": checkin.state if checkin else "idle",
        "running": running,
        "desired": node.assigned.targets,
        "drift": drift_of(node, running),
        "problem": checkin.problem if checkin else "",
        "gate": checkin.gate if checkin else "",
        "littoral": checkin.littoral if checkin else "",
        "facts": checkin.facts if checkin else {},
        "is_frozen": node.is_frozen or bool(group and group.is_frozen),
        "rollout": _rollout_of(fleet, node),
    }


def drift_of(node: NodeRow, running: dict[str, str]) -> list[str]:
    """What it does not run as it was told, as `models/NAME`."""
    return [what for what, target in node.assigned.targets.items() if running.get(what) != target]


def _rollout_of(fleet: Fleet, node: NodeRow) -> str | None:
    """The newest that it is in."""
    for rollout in reversed(fleet.rollouts.values()):
        member: MemberRow | None = fleet.members[rollout.id].get(node.name)
        if member is not None and member.state != "superseded":
            return rollout.id
    return None


def known_ask(found: Any, ask: str) -> Any:
    if found is None:
        raise NotFoundError(f"no ask `{ask[:40]}`")
    return found
