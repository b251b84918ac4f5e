"""The orchestrator of a simulated fleet: real rollouts, the real store, no HTTP and no signatures. It may be killed."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from littoral.clock import Clock
from littoral.orchestrator.rollouts import Act, NodeView, Step, act, begin, is_followed, step
from littoral.orchestrator.store import Put
from littoral.orchestrator.store.rows import (
    GroupRow,
    MemberRow,
    NodeRow,
    Plan,
    RolloutRow,
    Row,
    SightingRow,
)
from littoral.orchestrator.store.sql import SqlStore
from littoral.orchestrator.store.sqlite import SqliteDatabase
from littoral.testing.fleet.versions import Version
from littoral.updates.wire import CheckedIn, CheckIn, Desired

__all__ = ["GROUP", "SimulatedOrchestrator"]

KILLED_SHARE = 0.05
"""Of its writes, after which it is killed before it knows of them."""
DOWN_S = (1.0, 60.0)
LOOKS_EVERY_S = 30.0
"""At rollouts, where nothing happens."""

GROUP = "all"


class SimulatedOrchestrator:
    """For one simulation. told: called with each row of a node before memory has it. kills: of it, so far."""

    def __init__(self, clock: Clock, random: Random, *, poll_s: float, told: Callable[[NodeRow], None]) -> None:
        self.kills = 0
        self.versions: dict[str, Version] = {}
        self._store = SqlStore.open(SqliteDatabase(":memory:"))
        self._clock = clock
        self._random = random
        self._poll_s = poll_s
        self._offline_s = 3 * poll_s
        self._told = told
        self._down_until_s = 0.0
        self._looked_at_s = 0.0
        self._unwritten: dict[str, SightingRow] = {}
        self._load()

    def is_up(self) -> bool:
        return self._clock.wall() >= self._down_until_s

    def enrol(self, names: Sequence[str]) -> None:
        group = GroupRow(name=GROUP)
        rows = [NodeRow(name=name, token_sha256=name, public_key="", enrolled_at_s=0.0, group=GROUP) for name in names]
        self._write([group, *rows])

    def checkin(self, node: str, said: CheckIn) -> CheckedIn | None:
        if not self.is_up():
            return None
        now_s = self._clock.wall()
        if now_s - self.seen_at_s.get(node, 0.0) >= self._offline_s:
            self._online_since_s[node] = now_s
        before = self._said(node)
        if before is None or (before.deployment, before.state) != (said.deployment, said.state):
            self._looked_at_s = 0.0
        self.seen_at_s[node] = now_s
        self.sightings[node] = self._unwritten[node] = SightingRow(node=node, seen_at_s=now_s, checkin=said)
        return CheckedIn(deployment=self.nodes[node].deployment, poll_s=self._poll_s, time=now_s)

    def desired(self, node: str) -> Desired | None:
        """As the director signs it."""
        if not self.is_up():
            return None
        row = self.nodes[node]
        return Desired(
            node=node,
            deployment=row.deployment,
            models=row.assigned.models,
            gates=row.gates,
            windows=row.windows,
            bytes_per_s_max=row.bytes_per_s_max,
            is_frozen=row.is_frozen,
        )

    def version(self, target: str) -> Version:
        return self.versions[target]

    def start(self, version: Version, plan: Plan) -> str:
        """A rollout of it to all nodes, by its id."""
        self.versions[version.target] = version
        number = len(self.rollouts) + 1
        rollout, members = begin(f"r{number}", number, plan, self.views(), "sim", self._clock.wall())
        self._write([rollout, *members])
        return rollout.id

    def act(self, rollout_id: str, asked: Act) -> None:
        """Raises ConflictError where it cannot do that now."""
        rollout, members = self.rollouts[rollout_id], self.members[rollout_id]
        found = act(rollout, members, self.views(), self.group, asked, "asked", self._clock.wall())
        self._take(found)

    def tick(self) -> None:
        """What the orchestrator does now and again: rows of what nodes said, and a step of each rollout."""
        if not self.is_up():
            return
        if self._unwritten:
            self._store.write([Put(row) for row in self._unwritten.values()])
            self._unwritten = {}
        now_s = self._clock.wall()
        if now_s - self._looked_at_s < LOOKS_EVERY_S:
            return
        self._looked_at_s = now_s
        for rollout in list(self.rollouts.values()):
            if not self.is_up():
                return
            members = self.members[rollout.id]
            if is_followed(rollout, members):
                self._take(step(rollout, members, self.views(), self.group, now_s))

    def kill(self, down_s: float) -> None:
        """What it had in memory only is gone; it is back after a while."""
        self.kills += 1
        self._down_until_s = self._clock.wall() + down_s
        self._load()

    def views(self) -> Mapping[str, NodeView]:
        now_s, group = self._clock.wall(), self.group
        return {
            name: NodeView(row, group, self._said(name), self._since_s(name, now_s)) for name, row in self.nodes.items()
        }

    @property
    def group(self) -> GroupRow:
        return self.groups[GROUP]

    def _said(self, node: str) -> CheckIn | None:
        found = self.sightings.get(node)
        return None if found is None else found.checkin

    def _since_s(self, node: str, now_s: float) -> float | None:
        if now_s - self.seen_at_s.get(node, 0.0) >= self._offline_s:
            return None
        return self._online_since_s.get(node, now_s)

    def _take(self, found: Step) -> None:
        if found.rows:
            self._write(found.rows)

    def _write(self, rows: Sequence[Row]) -> None:
        """On the disk, then in memory; now and again it is killed between the two."""
        self._store.write([Put(row) for row in rows])
        for row in rows:
            if isinstance(row, NodeRow):
                self._told(row)
        if self.nodes and self._random.random() < KILLED_SHARE:
            self.kill(self._random.uniform(*DOWN_S))
            return
        for row in rows:
            self._put(row)

    def _put(self, row: Row) -> None:
        match row:
            case NodeRow():
                self.nodes[row.name] = row
            case GroupRow():
                self.groups[row.name] = row
            case RolloutRow():
                self.rollouts[row.id] = row
                self.members.setdefault(row.id, {})
            case MemberRow():
                self.members.setdefault(row.rollout, {})[row.node] = row

    def _load(self) -> None:
        store = self._store
        self.nodes = {row.name: row for row in store.rows(NodeRow)}
        self.groups = {row.name: row for row in store.rows(GroupRow)}
        self.rollouts = {row.id: row for row in sorted(store.rows(RolloutRow), key=lambda row: row.number)}
        self.members: dict[str, dict[str, MemberRow]] = {rollout: {} for rollout in self.rollouts}
        for row in store.rows(MemberRow):
            self.members[row.rollout][row.node] = row
        self.sightings = {row.node: row for row in store.rows(SightingRow)}
        self.seen_at_s = {name: row.seen_at_s for name, row in self.sightings.items()}
        self._online_since_s: dict[str, float] = {}
        self._unwritten = {}
