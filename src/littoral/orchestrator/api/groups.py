"""Groups: nodes that are to run the same."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from littoral.errors import ConflictError, InputError
from littoral.orchestrator import rollouts
from littoral.orchestrator.api.terms import GatesOrder, Windows, gates_of, windows_of
from littoral.orchestrator.conductor import view_of
from littoral.orchestrator.fleet import Fleet, nodes_in
from littoral.orchestrator.registry import check_targets
from littoral.orchestrator.store import Change, Delete, Put
from littoral.orchestrator.store.rows import Assigned, GroupRow
from littoral.updates.artifacts import NAME
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["BytesPerSecond", "GroupOrder", "Targets", "groups_protocol"]

GROUPS = "/api/fleet/groups"
GROUP = f"{GROUPS}/{{group}}"

Label = Annotated[str, Meta(max_length=200)]
Target = Annotated[str, Meta(max_length=200)]
BytesPerSecond = Annotated[int, Meta(ge=1024, le=1 << 40)]
Targets = Annotated[dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")], Target], Meta(max_length=256)]


class GroupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT`: what it is from now on."""

    match: Annotated[dict[Label, Label], Meta(max_length=64)] = {}
    models: Targets = {}
    agents: Targets = {}
    site: Target | None = None
    dashboards: Annotated[tuple[Target, ...], Meta(max_length=64)] = ()
    gates: GatesOrder = GatesOrder()
    windows: Windows = ()
    bytes_per_s_max: Annotated[int, Meta(ge=1, le=1 << 40)] | None = None
    total_bytes_per_s_max: BytesPerSecond | None = None
    is_frozen: bool = False

    def row(self, name: str) -> GroupRow:
        assigned = Assigned(models=self.models, agents=self.agents, site=self.site, dashboards=self.dashboards)
        return GroupRow(
            name=name,
            match=self.match,
            assigned=assigned,
            gates=gates_of(self.gates),
            windows=windows_of(self.windows),
            bytes_per_s_max=self.bytes_per_s_max,
            total_bytes_per_s_max=self.total_bytes_per_s_max,
            is_frozen=self.is_frozen,
        )


def groups_protocol(fleet: Fleet) -> Protocol:
    async def listed(_: Request) -> Answer:
        return json_answer([_told(fleet, group) for _, group in sorted(fleet.groups.items())])

    async def one(request: Request) -> Answer:
        return json_answer(_told(fleet, fleet.group(request.names["group"])))

    async def put(request: Request) -> Answer:
        name, asked = request.names["group"], await request.json(GroupOrder)
        if not NAME.fullmatch(name):
            raise InputError(f"group `{name[:80]}`: its name is 1 to 64 of a-z, A-Z, 0-9, `_` and `-`")
        async with fleet.changing:
            row, before = asked.row(name), fleet.groups.get(name)
            check_targets(fleet, row.assigned)
            if before is not None and row.assigned != before.assigned:
                _check_unhurried(fleet, name)
            changes = _changes(fleet, row)
            await fleet.write(Put(row), *changes, fleet.event("group", name, what="put", by=CALLER.get()))
        fleet.woken.set()
        return json_answer(_told(fleet, row))

    async def delete(request: Request) -> Answer:
        async with fleet.changing:
            name = fleet.group(request.names["group"]).name
            _check_unhurried(fleet, name)
            named = [Put(msgspec.structs.replace(n, group="")) for n in fleet.nodes.values() if n.group == name]
            gone = Delete(GroupRow, {"name": name})
            await fleet.write(gone, *named, fleet.event("group", name, what="deleted", by=CALLER.get()))
        return json_answer({"deleted": name})

    routes = (
        Route("GET", GROUPS, listed),
        Route("GET", GROUP, one),
        Route("PUT", GROUP, put),
        Route("DELETE", GROUP, delete),
    )
    return Protocol(("/api/fleet",), routes)


def _changes(fleet: Fleet, group: GroupRow) -> list[Change]:
    """Of the group's nodes, those that it changes."""
    changes: list[Change] = []
    before = fleet.groups.get(group.name)
    for node in nodes_in(fleet.nodes.values(), {**fleet.groups, group.name: group}, group.name):
        view = view_of(fleet, node, group)
        if before is None or before.assigned != group.assigned:
            if node.assigned != group.assigned:
                changes.append(Put(rollouts.told(view, group.assigned)))
        elif node.is_frozen != group.is_frozen and node.deployment:
            members = (found[node.name] for found in fleet.members.values() if node.name in found)
            changes += [Put(row) for row in rollouts.retold(view, members)]
    return changes


def _check_unhurried(fleet: Fleet, group: str) -> None:
    for rollout in fleet.rollouts.values():
        if rollout.plan.group == group and rollout.state in rollouts.OPEN:
            raise ConflictError(f"group `{group}`: rollout `{rollout.id}` is {rollout.state}", hint="abort it first")


def _told(fleet: Fleet, group: GroupRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(group)
    assigned = group.assigned
    found.pop("assigned")
    parts = {"models": assigned.models, "agents": assigned.agents, "site": assigned.site}
    return found | parts | {"dashboards": assigned.dashboards, "nodes": sum(1 for _ in fleet.nodes_in(group.name))}
