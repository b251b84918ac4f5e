"""Nodes: what each runs, what it should, and whether it can be reached."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from littoral.orchestrator.asks import Asks
from littoral.orchestrator.conductor import Conductor, joining
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.store import Delete, Put
from littoral.orchestrator.store.rows import AskRow, MemberRow, NodeRow, ReportRow, SightingRow
from littoral.updates.wire import Ask
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["AskOrder", "NodePatch", "drift_of", "nodes_protocol", "told_node"]

Label = Annotated[str, Meta(max_length=200)]
NODES = "/api/fleet/nodes"
NODE = f"{NODES}/{{node}}"


class NodePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: Annotated[dict[Label, Label], Meta(max_length=64)] | UnsetType = UNSET
    group: str | UnsetType = UNSET


class AskOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["doctor", "logs", "bundle"]
    lines: Annotated[int, Meta(ge=1, le=10_000)] = 200


def nodes_protocol(fleet: Fleet, asks: Asks, conductor: Conductor) -> Protocol:
    async def listed(request: Request) -> Answer:
        group = request.query.get("group")
        found = [told_node(fleet, node) for _, node in sorted(fleet.nodes.items())]
        return json_answer([one for one in found if group is None or one["group"] == group])

    async def one(request: Request) -> Answer:
        node = fleet.node(request.names["node"])
        report = fleet.reports.get(node.name)
        return json_answer(
            told_node(fleet, node)
            | {"report": report and msgspec.to_builtins(report), "untold": conductor.untold.get(node.name, "")}
        )

    async def patch(request: Request) -> Answer:
        asked = await request.json(NodePatch)
        async with fleet.changing:
            node = fleet.node(request.names["node"])
            if asked.group:
                fleet.group(str(asked.group))
            given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
            row = joining(fleet, msgspec.structs.replace(node, **given))
            await fleet.write(Put(row), fleet.event("node", row.name, what="changed", by=CALLER.get(), **given))
        fleet.woken.set()
        return json_answer(told_node(fleet, fleet.node(row.name)))

    async def delete(request: Request) -> Answer:
        async with fleet.changing:
            name = fleet.node(request.names["node"]).name
            await fleet.write(
                Delete(NodeRow, {"name": name}),
                Delete(SightingRow, {"node": name}),
                Delete(ReportRow, {"node": name}),
                *_members_gone(fleet, name),
                fleet.event("node", name, what="deleted", by=CALLER.get()),
            )
        asks.forget(name)
        fleet.woken.set()
        return json_answer({"deleted": name})

    async def ask(request: Request) -> Answer:
        asked = await request.json(AskOrder)
        node = fleet.node(request.names["node"])
        row = await asks.ask(node.name, Ask(id="", kind=asked.kind, lines=asked.lines), CALLER.get())
        return json_answer(_told_ask(row), 201)

    async def told_ask(request: Request) -> Answer:
        return json_answer(_told_ask(await asks.find(request.names["node"], request.names["ask"])))

    routes = (
        Route("POST", f"{NODE}/asks", ask),
        Route("GET", f"{NODE}/asks/{{ask}}", told_ask),
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


def _told_ask(row: AskRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(row)
    return found | {"answer": msgspec.json.decode(row.answer) if row.answer else None}


def _members_gone(fleet: Fleet, node: str) -> list[Put]:
    """Its part in rollouts ends: one of the same name is another."""
    held = (members[node] for members in fleet.members.values() if node in members)
    gone = {"state": "superseded", "problem": "is no more"}
    return [
        Put(msgspec.structs.replace(one, **gone)) for one in held if one.state in ("waiting", "told", "taking_back")
    ]


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
