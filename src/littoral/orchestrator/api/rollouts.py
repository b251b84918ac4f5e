"""Rollouts: begun, watched, held, taken back."""

import secrets
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from littoral.errors import ConflictError, InputError, NotFoundError
from littoral.orchestrator import rollouts
from littoral.orchestrator.api.groups import BytesPerSecond, Targets
from littoral.orchestrator.api.paging import COUNT_MAX, whole_number
from littoral.orchestrator.api.terms import GatesOrder, Windows, gates_of, windows_of
from littoral.orchestrator.conductor import Conductor, views_of
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.pacing import Pacer
from littoral.orchestrator.registry import check_targets
from littoral.orchestrator.rings import check_rings
from littoral.orchestrator.rollouts import Act, NodeView
from littoral.orchestrator.store import Add
from littoral.orchestrator.store.rows import Assigned, MemberRow, Plan, Ring, RolloutRow
from littoral.web import Answer, Protocol, Request, Route, json_answer
from littoral.web.caller import CALLER

__all__ = ["ACTS", "ActOrder", "RolloutOrder", "rollouts_protocol", "told_rollout"]

ROLLOUTS = "/api/fleet/rollouts"
ROLLOUT = f"{ROLLOUTS}/{{rollout}}"
ACTS: dict[str, Act] = {"pause": "pause", "resume": "resume", "abort": "abort", "rollback": "rollback"}

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]


class SetOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: Targets = {}
    agents: Targets = {}
    site: Annotated[str, Meta(max_length=200)] | None = None
    dashboards: Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=64)] = ()


class RolloutOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST`: for a group or for nodes, one of both."""

    set: SetOrder
    group: str = ""
    nodes: Annotated[tuple[str, ...], Meta(max_length=100_000)] = ()
    rings: tuple[Ring, ...] = ()
    gates: GatesOrder | None = None
    windows: Windows | None = None
    bytes_per_s_max: Annotated[int, Meta(ge=1, le=1 << 40)] | None = None
    total_bytes_per_s_max: BytesPerSecond | None = None
    error_share_max: Share = 0.0
    soak_s: Seconds = 0.0
    offline_share_max: Share = 0.2
    offline_wait_s: Seconds = 3600.0
    patience_s: Annotated[float, Meta(ge=1, le=31_536_000)] = 3600.0
    on_failure: Literal["abort", "rollback"] = "abort"

    @property
    def plan(self) -> Plan:
        given = msgspec.structs.asdict(self) | {"set": Assigned(**msgspec.structs.asdict(self.set))}
        given |= {"gates": None if self.gates is None else gates_of(self.gates)}
        given |= {"windows": None if self.windows is None else windows_of(self.windows)}
        return Plan(**given)


class ActOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: Annotated[str, Meta(max_length=500)] = ""


def rollouts_protocol(fleet: Fleet, conductor: Conductor, pacer: Pacer) -> Protocol:
    def told(rollout: RolloutRow, views: dict[str, NodeView]) -> dict[str, Any]:
        traffic = pacer.traffic(f"rollout/{rollout.id}")._replace(bytes_per_s_max=rollout.plan.total_bytes_per_s_max)
        return told_rollout(fleet, rollout, views) | {"traffic": traffic._asdict()}

    async def listed(request: Request) -> Answer:
        count = min(whole_number(request.query.get("count"), 50, "count"), COUNT_MAX)
        views = views_of(fleet)
        newest = list(reversed(fleet.rollouts.values()))[:count]
        return json_answer([told(one, views) for one in newest])

    async def one(request: Request) -> Answer:
        rollout, members = _found(fleet, request)
        return json_answer(
            told(rollout, views_of(fleet)) | {"members": [_told_member(one) for one in members.values()]}
        )

    async def begin(request: Request) -> Answer:
        order = await request.json(RolloutOrder)
        plan = _checked(order)
        async with fleet.changing:
            check_targets(fleet, plan.set)
            chosen = _chosen(fleet, plan)
            by = CALLER.get()
            await _supersede(fleet, conductor, set(chosen), by)
            chosen = _chosen(fleet, plan)
            number = max((row.number for row in fleet.rollouts.values()), default=0) + 1
            rollout_id = f"r{number}-{secrets.token_hex(3)}"
            row, members = rollouts.begin(rollout_id, number, plan, chosen, by, fleet.clock.wall())
            await fleet.write(
                Add(row),
                *(Add(member) for member in members),
                fleet.event("rollout", rollout_id, what="began", nodes=len(members), by=by),
            )
        fleet.woken.set()
        return json_answer(told(row, views_of(fleet)), 201)

    async def act(request: Request) -> Answer:
        if (asked := ACTS.get(request.names["act"])) is None:
            raise NotFoundError(f"nothing to do with a rollout is called `{request.names['act'][:40]}`")
        data = await request.body.read()
        order = await request.json(ActOrder) if data else ActOrder()
        async with fleet.changing:
            rollout, members = _found(fleet, request)
            group = fleet.groups.get(rollout.plan.group)
            why = order.why or f"by {CALLER.get()}"
            found = rollouts.act(rollout, members, views_of(fleet), group, asked, why, fleet.clock.wall())
            await conductor.take(rollout, found)
        fleet.woken.set()
        return json_answer(told(fleet.rollouts[rollout.id], views_of(fleet)))

    routes = (
        Route("GET", ROLLOUTS, listed),
        Route("POST", ROLLOUTS, begin),
        Route("GET", ROLLOUT, one),
        Route("POST", f"{ROLLOUT}/{{act}}", act),
    )
    return Protocol(("/api/fleet",), routes)


def told_rollout(fleet: Fleet, rollout: RolloutRow, views: dict[str, NodeView]) -> dict[str, Any]:
    """As `GET /api/fleet/rollouts` has it, but for `traffic`."""
    members = fleet.members[rollout.id]
    plan: dict[str, Any] = msgspec.to_builtins(rollout.plan)
    rings = rollouts.told_rings(rollout, members, views, fleet.clock.wall())
    return {
        "id": rollout.id,
        "state": rollout.state,
        "group": rollout.plan.group,
        "nodes": sorted(members),
        "set": plan.get("set", {}),
        "ring": rings[rollout.ring]["name"] if rollout.ring < len(rings) else "",
        "rings": rings,
        "began": rollout.began_at_s,
        "ended": rollout.ended_at_s,
        "why": rollout.why,
        "by": rollout.by,
        "late": sorted(one.node for one in members.values() if one.state in ("told", "taking_back")),
        "plan": plan,
    }


def _told_member(member: MemberRow) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(member)
    found.pop("rollout")
    return found


def _found(fleet: Fleet, request: Request) -> tuple[RolloutRow, dict[str, MemberRow]]:
    rollout = fleet.rollouts.get(request.names["rollout"])
    if rollout is None:
        raise NotFoundError(f"no rollout `{request.names['rollout'][:40]}`")
    return rollout, fleet.members[rollout.id]


def _checked(order: RolloutOrder) -> Plan:
    if bool(order.group) == bool(order.nodes):
        raise InputError("a rollout is for a `group`, or for `nodes`: one of both")
    plan = order.plan
    if not plan.set.targets:
        raise InputError("`set` names nothing", hint='such as {"models": {"embedder": "models/embedder/3.wasm"}}')
    check_rings(plan.rings)
    return plan


def _chosen(fleet: Fleet, plan: Plan) -> dict[str, NodeView]:
    views = views_of(fleet)
    if plan.nodes:
        return {name: views[fleet.node(name).name] for name in plan.nodes}
    return {node.name: views[node.name] for node in fleet.nodes_in(fleet.group(plan.group).name)}


async def _supersede(fleet: Fleet, conductor: Conductor, nodes: set[str], by: str) -> None:
    """The newest wins: open rollouts that share nodes with it end."""
    for rollout in list(fleet.rollouts.values()):
        members = fleet.members[rollout.id]
        if rollout.state not in rollouts.OPEN or nodes.isdisjoint(members):
            continue
        if rollout.state == "rolling_back":
            raise ConflictError(f"rollout `{rollout.id}` is rolling back", hint="wait until it has ended")
        group = fleet.groups.get(rollout.plan.group)
        why = f"superseded by a newer one, {by}"
        found = rollouts.act(rollout, members, views_of(fleet), group, "abort", why, fleet.clock.wall())
        await conductor.take(rollout, found)
