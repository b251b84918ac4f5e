"""What a rollout does next: rows and what nodes say go in, rows that changed come out. Pure.

Everything that a rollout knows is in its rows, so one that was interrupted goes on from them. A node is told something
by the row that says so: its deployment is one higher than before, and nothing is told twice under one number.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace

from littoral.errors import ConflictError
from littoral.orchestrator.rings import ring_names, rings_of
from littoral.orchestrator.store.rows import (
    Assigned,
    GroupRow,
    MemberRow,
    NodeRow,
    Plan,
    RolloutRow,
    RolloutState,
    Row,
)
from littoral.updates.deployment.windows import is_open
from littoral.updates.wire import CheckIn, Gates

__all__ = ["OPEN", "Act", "NodeView", "Step", "act", "begin", "is_followed", "retold", "step", "told", "told_rings"]

Act = Literal["pause", "resume", "abort", "rollback"]

OPEN: tuple[RolloutState, ...] = ("running", "paused", "rolling_back")
_FROM: dict[Act, tuple[RolloutState, ...]] = {
    "pause": ("running",),
    "resume": ("paused",),
    "abort": ("running", "paused"),
    "rollback": ("running", "paused", "done", "aborted"),
}
_TELLS = ("told", "taking_back")
_FAILED = ("rolled_back", "refused")
_BACK_GATES = {"errors_max": 1.0, "p99_ratio_max": 1e6, "drift_max": 2.0, "canary_s": 0.0, "canary_requests_min": 0}
"""Of a way back: what it is compared with is what went wrong, which it differs from by intent."""
_SLACK = 1e-9


class NodeView(NamedTuple):
    """What is known of a node. group: that it belongs to. online_since_s: Unix time; None: it is not."""

    row: NodeRow
    group: GroupRow | None = None
    checkin: CheckIn | None = None
    online_since_s: float | None = None

    @property
    def is_online(self) -> bool:
        return self.online_since_s is not None

    @property
    def is_frozen(self) -> bool:
        return self.group is not None and self.group.is_frozen


class Step(NamedTuple):
    """Rows that changed, to be written together, and what happened, in words, with details."""

    rows: tuple[Row, ...]
    happened: tuple[tuple[str, dict[str, Any]], ...] = ()


def begin(
    rollout_id: str, number: int, plan: Plan, views: Mapping[str, NodeView], by: str, now_s: float
) -> tuple[RolloutRow, list[MemberRow]]:
    """views: of the nodes that it is for. Raises ConflictError without any."""
    if not views:
        raise ConflictError("no node would get it", hint="`littoral fleet nodes` shows which group each is in")
    rings = rings_of(rollout_id, plan.rings, {name: view.row for name, view in views.items()})
    members = [
        MemberRow(rollout=rollout_id, node=name, ring=ring, before=views[name].row.assigned)
        for name, ring in rings.items()
    ]
    rollout = RolloutRow(
        id=rollout_id, number=number, plan=plan, state="running", began_at_s=now_s, by=by, ring_began_at_s=now_s
    )
    return rollout, members


def step(
    rollout: RolloutRow,
    members: Mapping[str, MemberRow],
    views: Mapping[str, NodeView],
    group: GroupRow | None,
    now_s: float,
) -> Step:
    """What follows from what nodes say by now. views: of all nodes; group: of the plan."""
    work = _Work(rollout, members, views, group, now_s)
    work.judge()
    if rollout.state in ("running", "paused") and (why := work.too_many_failed()):
        work.stop(why)
    elif rollout.state == "running":
        while work.advance():
            pass
    elif rollout.state == "rolling_back":
        work.end_rolling_back()
    return work.step


def act(
    rollout: RolloutRow,
    members: Mapping[str, MemberRow],
    views: Mapping[str, NodeView],
    group: GroupRow | None,
    asked: Act,
    why: str,
    now_s: float,
) -> Step:
    """What an operator asks for. Raises ConflictError where a rollout in its state cannot do that."""
    if rollout.state not in _FROM[asked]:
        raise ConflictError(f"rollout `{rollout.id}` is {rollout.state}: nothing to {asked}")
    work = _Work(rollout, members, views, group, now_s)
    work.judge()
    if asked == "pause":
        work.put(state="paused", why=why)
    elif asked == "resume":
        work.put(state="running", why="")
    elif asked == "abort":
        work.abort(why)
    else:
        work.roll_back(why)
    work.happened.append((asked, {"why": why}))
    return work.step


def is_followed(rollout: RolloutRow, members: Mapping[str, MemberRow]) -> bool:
    """Whether anything of it may still change: it is open, or nodes that were away have not caught up."""
    return rollout.state in OPEN or any(member.state in _TELLS for member in members.values())


def told(view: NodeView, assigned: Assigned, plan: Plan | None = None) -> NodeRow:
    """The node's row, which tells it to run this. plan: of the rollout that says so; None: the group's own terms."""
    group = view.group or GroupRow(name="")
    return replace(
        view.row,
        deployment=view.row.deployment + 1,
        assigned=assigned,
        gates=(plan and plan.gates) or group.gates,
        windows=group.windows if plan is None or plan.windows is None else plan.windows,
        bytes_per_s_max=(plan and plan.bytes_per_s_max) or group.bytes_per_s_max,
        is_frozen=group.is_frozen,
    )


def told_back(view: NodeView, before: Assigned, plan: Plan) -> NodeRow:
    """As `told`, what it ran before: at once, whatever its windows say, past gates that compare versions."""
    row = told(view, before, plan)
    return replace(row, gates=_back_gates(row.gates, plan), windows=())


def _back_gates(gates: Gates, plan: Plan) -> Gates:
    leaves = tuple(sorted(plan.set.targets.values()))
    return replace(gates, hook=None, memory_mb_max=None, leaves=leaves, **_BACK_GATES)


def retold(view: NodeView, members: Iterator[MemberRow]) -> list[Row]:
    """The same under the next number, for a node whose group was frozen or thawed. members: of it in rollouts."""
    row = told(view, view.row.assigned)
    row = replace(row, gates=view.row.gates, windows=view.row.windows, bytes_per_s_max=view.row.bytes_per_s_max)
    moved = [replace(one, deployment=row.deployment) for one in members if one.deployment == view.row.deployment]
    return [row, *moved]


def told_rings(
    rollout: RolloutRow, members: Mapping[str, MemberRow], views: Mapping[str, NodeView], now_s: float
) -> list[dict[str, Any]]:
    """For people: nodes, done, failed, state and what holds it, of each ring."""
    work = _Work(rollout, members, views, None, now_s)
    names = ring_names(rollout.plan.rings, {member.ring for member in members.values()})
    return [work.told_ring(index, name) for index, name in enumerate(names)]


class _Work:
    """One step of one rollout."""

    def __init__(
        self,
        rollout: RolloutRow,
        members: Mapping[str, MemberRow],
        views: Mapping[str, NodeView],
        group: GroupRow | None,
        now_s: float,
    ) -> None:
        self.rollout = rollout
        self._before = (rollout, dict(members), group)
        self._members = dict(members)
        self._views = views
        self._group = group
        self._nodes: dict[str, NodeRow] = {}
        self._now_s = now_s
        self.happened: list[tuple[str, dict[str, Any]]] = []

    @property
    def step(self) -> Step:
        rollout, members, group = self._before
        rows: list[Row] = [] if self.rollout == rollout else [self.rollout]
        rows += [member for name, member in self._members.items() if member != members.get(name)]
        rows += self._nodes.values()
        if self._group is not None and self._group != group:
            rows.append(self._group)
        return Step(tuple(rows), tuple(self.happened))

    def put(self, **changes: Any) -> None:
        self.rollout = replace(self.rollout, **changes)

    def judge(self) -> None:
        """What nodes say of what they were told."""
        for member in list(self._members.values()):
            if member.state not in ("waiting", "superseded", "taken_back"):
                self._judge(member, self._views.get(member.node))

    def too_many_failed(self) -> str:
        """'' while it may go on."""
        for ring in range(self.rollout.ring + 1):
            members = self._in_ring(ring)
            failed = [member for member in members if member.state == "failed"]
            if len(failed) > self.rollout.plan.error_share_max * len(members) + _SLACK:
                first = min(failed, key=lambda member: member.ended_at_s)
                gate = f" by gate `{first.gate}`" if first.gate else ""
                what = f"`{first.node}`{gate}: {first.problem}" if first.problem else f"`{first.node}`{gate}"
                return f"{len(failed)} of {len(members)} nodes of a ring failed, first {what}"
        return ""

    def stop(self, why: str) -> None:
        self.happened.append(("stopped", {"why": why}))
        if self.rollout.plan.on_failure == "rollback":
            self.roll_back(why)
        else:
            self.abort(why)

    def abort(self, why: str) -> None:
        """Who has it keeps it; who is on the way, or took it back, goes back; nobody else gets it."""
        self._take_back("told", "failed")
        self.put(state="aborted", why=why, ended_at_s=self._now_s)

    def roll_back(self, why: str) -> None:
        self._take_back("told", "failed", "settled")
        if self._group is not None and self.rollout.group_before is not None:
            self._group = replace(self._group, assigned=self.rollout.group_before)
        self.put(state="rolling_back", why=why, ended_at_s=None, group_before=None)

    def end_rolling_back(self) -> None:
        going = [one for one in self._members.values() if one.state == "taking_back" and not self._serves(one)]
        away = [member for member in going if not self._is_online(member.node)]
        if len(away) == len(going):
            self.put(state="rolled_back", ended_at_s=self._now_s)
            self.happened.append(("rolled_back", {"offline": len(away)}))

    def advance(self) -> bool:
        """Tells whoever may be told; whether another ring began."""
        self._tell_waiting()
        if self._holds(self.rollout.ring):
            if self.rollout.soaks_from_s is not None:
                self.put(soaks_from_s=None)
            return False
        if self.rollout.soaks_from_s is None:
            self.put(soaks_from_s=self._now_s)
        assert self.rollout.soaks_from_s is not None
        if self._now_s - self.rollout.soaks_from_s < self.rollout.plan.soak_s:
            return False
        if self.rollout.ring < max(member.ring for member in self._members.values()):
            self.put(ring=self.rollout.ring + 1, ring_began_at_s=self._now_s, soaks_from_s=None)
            self.happened.append(("ring", {"ring": self._ring_name(self.rollout.ring)}))
            return True
        self._end()
        return False

    def told_ring(self, index: int, name: str) -> dict[str, Any]:
        members = self._in_ring(index)
        states = Counter(member.state for member in members)
        held = self._held_in(index)
        return {
            "name": name,
            "nodes": len(members),
            "done": states["settled"],
            "failed": states["failed"],
            "states": dict(states),
            "state": self._ring_state(index, held),
            "held_by": held,
        }

    def _ring_state(self, index: int, held: str) -> str:
        rollout = self.rollout
        if any(member.state == "failed" for member in self._in_ring(index)) and rollout.state not in (
            "running",
            "done",
        ):
            return "failed"
        if index < rollout.ring or rollout.state == "done":
            return "done"
        if index > rollout.ring or rollout.state in ("aborted", "rolling_back", "rolled_back"):
            return "waiting"
        if rollout.state == "paused":
            return "paused"
        if rollout.soaks_from_s is not None:
            return "soaking"
        return "held" if held.startswith(("freeze", "window", "offline")) else "running"

    def _held_in(self, index: int) -> str:
        """What the ring waits for, in words."""
        rollout = self.rollout
        if index != rollout.ring or rollout.state not in ("running", "paused"):
            return ""
        if rollout.state == "paused":
            return f"pause: {rollout.why}" if rollout.why else "pause"
        if rollout.soaks_from_s is not None:
            left_s = rollout.plan.soak_s - (self._now_s - rollout.soaks_from_s)
            return f"soak: {max(0.0, left_s):.0f} s left" if rollout.plan.soak_s else ""
        return self._holds(index)

    def _judge(self, member: MemberRow, view: NodeView | None) -> None:
        if view is None or view.row.deployment != member.deployment:
            if member.state in _TELLS:
                problem = "is no more" if view is None else f"was told deployment {view.row.deployment}"
                self._member(member, state="superseded", problem=problem, ended_at_s=self._now_s)
            return
        said = view.checkin
        if said is not None and said.deployment == member.deployment:
            if member.state == "taking_back":
                self._judge_back(member, said)
            elif said.state in _FAILED and member.state != "failed":
                self._fail(member, said.problem or said.state, said.gate)
            elif said.state == "settled" and member.state != "settled":
                self._member(member, state="settled", problem="", gate="", ended_at_s=self._now_s)
        if self._members[member.node].state in _TELLS and self._is_stuck(member, view):
            self._fail(member, f"got nowhere in {self.rollout.plan.patience_s:g} s", "patience")

    def _judge_back(self, member: MemberRow, said: CheckIn) -> None:
        if said.state == "settled":
            self._member(member, state="taken_back", ended_at_s=self._now_s)
        elif said.state in _FAILED:
            self._fail(member, said.problem or said.state, said.gate)

    def _is_stuck(self, member: MemberRow, view: NodeView) -> bool:
        """It is there, may install, and has not for too long."""
        patience_s = self.rollout.plan.patience_s
        if view.online_since_s is None or view.is_frozen:
            return False
        since_s = max(member.told_at_s, view.online_since_s)
        windows = view.row.windows
        was_open = is_open(windows, self._now_s) and is_open(windows, self._now_s - patience_s)
        return self._now_s - since_s > patience_s and was_open

    def _fail(self, member: MemberRow, problem: str, gate: str) -> None:
        self._member(member, state="failed", problem=problem, gate=gate, ended_at_s=self._now_s)
        self.happened.append(("failed", {"node": member.node, "problem": problem, "gate": gate}))

    def _tell_waiting(self) -> None:
        """Those of rings that have begun, where nothing is frozen and windows are open."""
        for member in list(self._members.values()):
            if member.state != "waiting" or member.ring > self.rollout.ring:
                continue
            view = self._views.get(member.node)
            if view is None:
                self._member(member, state="superseded", problem="is no more", ended_at_s=self._now_s)
            elif not view.is_frozen and is_open(self._windows(view), self._now_s):
                before = view.row.assigned
                self._tell(member, view, before.with_set(self.rollout.plan.set), state="told", before=before)

    def _take_back(self, *states: str) -> None:
        for member in list(self._members.values()):
            view = self._views.get(member.node)
            if member.state in states and view is not None and self._has_its_say(member, view):
                row = told_back(view, member.before, self.rollout.plan)
                self._put(member, row, state="taking_back")

    def _has_its_say(self, member: MemberRow, view: NodeView) -> bool:
        """Whether the node is to run what this rollout told it: nothing newer has, or that was taken back."""
        is_last = view.row.deployment == member.deployment
        return is_last or view.row.assigned == member.before.with_set(self.rollout.plan.set)

    def _tell(self, member: MemberRow, view: NodeView, assigned: Assigned, **changes: Any) -> None:
        self._put(member, told(view, assigned, self.rollout.plan), **changes)

    def _put(self, member: MemberRow, row: NodeRow, **changes: Any) -> None:
        self._nodes[row.name] = row
        self._member(member, deployment=row.deployment, told_at_s=self._now_s, **changes)

    def _holds(self, ring: int) -> str:
        """Why a ring is not done, in words; '' once it is."""
        members = self._in_ring(ring)
        waiting = [self._views[one.node] for one in members if one.state == "waiting" and one.node in self._views]
        if frozen := sum(view.is_frozen for view in waiting):
            return f"freeze: of {frozen} nodes"
        if closed := sum(not is_open(self._windows(view), self._now_s) for view in waiting):
            return f"window: of {closed} nodes is closed"
        if waiting:
            return f"nodes: {len(waiting)} of {len(members)} are about to be told"
        going = [one for one in members if one.state == "told"]
        away = [one for one in going if not self._is_online(one.node)]
        if len(away) < len(going):
            return f"nodes: {len(going) - len(away)} of {len(members)} are at it"
        if away and not any(one.state == "settled" for one in members):
            return f"offline: {len(away)} of {len(members)} nodes, and no other has it"
        waited_s = self._now_s - self.rollout.ring_began_at_s
        is_within = len(away) <= self.rollout.plan.offline_share_max * len(members) + _SLACK
        if away and not is_within and waited_s < self.rollout.plan.offline_wait_s:
            return f"offline: {len(away)} of {len(members)} nodes"
        return ""

    def _end(self) -> None:
        if self._group is not None:
            before = self._group.assigned
            self._group = replace(self._group, assigned=before.with_set(self.rollout.plan.set))
            self.put(group_before=before)
            self._tell_joined(self._group)
        self.put(state="done", ended_at_s=self._now_s)
        self.happened.append(("done", {}))

    def _tell_joined(self, group: GroupRow) -> None:
        """Nodes that came to the group meanwhile."""
        for name, view in self._views.items():
            if view.group is None or view.group.name != group.name or name in self._members:
                continue
            member = MemberRow(rollout=self.rollout.id, node=name, ring=self.rollout.ring, before=view.row.assigned)
            after = view.row.assigned.with_set(self.rollout.plan.set)
            self._tell(member, view, after, state="told")

    def _member(self, member: MemberRow, **changes: Any) -> None:
        self._members[member.node] = replace(member, **changes)

    def _in_ring(self, ring: int) -> list[MemberRow]:
        return [one for one in self._members.values() if one.ring == ring and one.state != "superseded"]

    def _serves(self, member: MemberRow) -> bool:
        """What it was told last, if only for a while."""
        said = view.checkin if (view := self._views.get(member.node)) else None
        return said is not None and said.deployment == member.deployment and said.state == "active"

    def _is_online(self, node: str) -> bool:
        view = self._views.get(node)
        return view is not None and view.is_online

    def _windows(self, view: NodeView) -> Any:
        if self.rollout.plan.windows is not None:
            return self.rollout.plan.windows
        return view.group.windows if view.group is not None else ()

    def _ring_name(self, index: int) -> str:
        return ring_names(self.rollout.plan.rings, {one.ring for one in self._members.values()})[index]
