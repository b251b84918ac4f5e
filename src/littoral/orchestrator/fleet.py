"""The fleet as its orchestrator knows it: rows in memory, as the store has them, and what nodes said a moment ago.

A change is on the disk before memory has it, and before anybody hears of it. Only what nodes say of themselves at each
check-in is in memory first and in the store a tenth of a second later, many in one transaction: they say it again.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from littoral.clock import Clock
from littoral.errors import LittoralError, NotFoundError, UnavailableError
from littoral.orchestrator.store import Add, Change, Delete, Put, Store, Trim
from littoral.orchestrator.store.rows import (
    ArtifactRow,
    ClaimRow,
    EventRow,
    GroupRow,
    MemberRow,
    NodeRow,
    ReportRow,
    RolloutRow,
    Row,
    SightingRow,
)
from littoral.updates.wire import CheckIn
from littoral.web import Events

__all__ = ["Fleet", "digest", "group_of", "nodes_in"]

FLUSH_S = 0.1
EVENT_COUNT_MAX = 100_000
TRIM_EVERY = 256
ROLLOUT_COUNT_KEPT = 200

_T = TypeVar("_T")


class Changing:
    """Around what reads the fleet, decides and writes: one at a time, and by what the store has."""

    def __init__(self, fleet: "Fleet") -> None:
        self._fleet = fleet
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        try:
            await self._fleet.settle()
        except BaseException:
            self._lock.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class Fleet:
    """Of one orchestrator, for one event loop. Made by `open`.

    changing: held around what decides and writes; check-ins do not take it.
    """

    def __init__(self, store: Store, clock: Clock, *, offline_s: float, event_count_max: int = EVENT_COUNT_MAX) -> None:
        self.store = store
        self.clock = clock
        self.offline_s = offline_s
        self.events = Events()
        self.changing = Changing(self)
        self.woken = asyncio.Event()
        self.nodes: dict[str, NodeRow] = {}
        self.sightings: dict[str, SightingRow] = {}
        self.seen_at_s: dict[str, float] = {}
        self._online_since_s: dict[str, float] = {}
        self.groups: dict[str, GroupRow] = {}
        self.claims: dict[str, ClaimRow] = {}
        self.artifacts: dict[str, ArtifactRow] = {}
        self.rollouts: dict[str, RolloutRow] = {}
        self.members: dict[str, dict[str, MemberRow]] = {}
        self.reports: dict[str, ReportRow] = {}
        self.checkin_count = 0
        self._is_in_doubt = False
        self.write_failures = 0
        self._by_token: dict[str, str] = {}
        self._event_count_max = event_count_max
        self._event_number = 0
        self._unwritten: dict[str, None] = {}
        self._thread = ThreadPoolExecutor(1, "littoral-store")
        self._changed: list[Callable[[Sequence[Change]], None]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, store: Store, clock: Clock, **more: Any) -> "AsyncIterator[Fleet]":
        """What the store has, in memory; what was not written is written at the end."""
        fleet = cls(store, clock, **more)
        await fleet.reading(lambda _: fleet._load())
        flushing = asyncio.create_task(fleet._flush_all(), name="littoral-flush")
        try:
            yield fleet
        finally:
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)
            with contextlib.suppress(LittoralError):
                await fleet.flush()
            fleet._thread.shutdown()

    async def reading(self, read: Callable[[Store], _T]) -> _T:
        """In the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, read, self.store)

    async def write(self, *changes: Change) -> None:
        """On the disk, then in memory, then told to whoever listens. Raises ConflictError, UnavailableError."""
        wanted = list(changes)
        if self._event_number % TRIM_EVERY == 0:
            wanted.append(Trim(EventRow, self._event_count_max))
        try:
            await self.reading(lambda store: store.write(wanted))
        except UnavailableError:
            self._is_in_doubt = True
            raise
        for change in changes:
            self._apply(change)
        for listener in self._changed:
            listener(changes)

    async def settle(self) -> None:
        """After a write of which nobody knows whether it was done: memory becomes what the store has.

        Raises UnavailableError while that is away.
        """
        if self._is_in_doubt:
            await self.flush()
            await self.reading(lambda _: self._load())
            self._is_in_doubt = False

    def event(self, kind: str, on: str = "", **detail: Any) -> Add:
        """What happened, to be written with it."""
        self._event_number += 1
        return Add(EventRow(number=self._event_number, at_s=self.clock.wall(), kind=kind, on=on, detail=detail))

    def listen(self, changed: Callable[[Sequence[Change]], None]) -> None:
        """Called after each write."""
        self._changed.append(changed)

    def node(self, name: str) -> NodeRow:
        """Raises NotFoundError."""
        return _known(self.nodes, name, "node")

    def group(self, name: str) -> GroupRow:
        """Raises NotFoundError."""
        return _known(self.groups, name, "group")

    def node_by_token(self, token_sha256: str) -> NodeRow | None:
        name = self._by_token.get(token_sha256)
        return self.nodes.get(name) if name is not None else None

    def is_online(self, name: str) -> bool:
        return self.clock.wall() - self.seen_at_s.get(name, 0.0) < self.offline_s

    def online_since_s(self, name: str) -> float | None:
        """Unix time; None: it is offline. As far as this process has seen."""
        if not self.is_online(name):
            return None
        return self._online_since_s.get(name, self.seen_at_s[name])

    def checkin_of(self, name: str) -> CheckIn | None:
        """The last one."""
        sighting = self.sightings.get(name)
        return sighting.checkin if sighting else None

    def saw(self, node: str, checkin: CheckIn) -> None:
        """It has checked in."""
        now_s = self.clock.wall()
        before = self.sightings.get(node)
        self.sightings[node] = SightingRow(node=node, seen_at_s=now_s, checkin=checkin)
        self._seen(node, now_s)
        self._unwritten[node] = None
        self.checkin_count += 1
        if before is None or (before.checkin.deployment, before.checkin.state) != (checkin.deployment, checkin.state):
            self.woken.set()
            self.events.tell("node", {"on": node, "deployment": checkin.deployment, "state": checkin.state})

    def seen(self, node: str) -> None:
        """It has said something."""
        self._seen(node, self.clock.wall())

    def _seen(self, node: str, now_s: float) -> None:
        if node not in self._online_since_s or not self.is_online(node):
            self._online_since_s[node] = now_s
            self.woken.set()
        self.seen_at_s[node] = now_s

    def nodes_in(self, group: str) -> Iterator[NodeRow]:
        """Of a group that is there."""
        return nodes_in(self.nodes.values(), self.groups, group)

    def group_of(self, node: NodeRow) -> GroupRow | None:
        """The one that it is named to be in; else the first, by name, whose labels it has."""
        return group_of(node, self.groups)

    async def flush(self) -> None:
        """What nodes said since the last time."""
        unwritten, self._unwritten = self._unwritten, {}
        rows = [Put(self.sightings[node]) for node in unwritten if node in self.sightings]
        try:
            await self.reading(lambda store: store.write(rows))
        except LittoralError:
            self._unwritten = unwritten | self._unwritten
            raise

    async def _flush_all(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                if self._unwritten:
                    await self.flush()
            except LittoralError:
                self.write_failures += 1

    def _load(self) -> None:
        store = self.store
        self.nodes = {row.name: row for row in store.rows(NodeRow)}
        self.sightings = {row.node: row for row in store.rows(SightingRow)}
        self.seen_at_s = {name: row.seen_at_s for name, row in self.sightings.items()}
        self.groups = {row.name: row for row in store.rows(GroupRow)}
        self.claims = {row.id: row for row in store.rows(ClaimRow)}
        self.artifacts = {row.target: row for row in store.rows(ArtifactRow)}
        self.reports = {row.node: row for row in store.rows(ReportRow)}
        self._by_token = {row.token_sha256: row.name for row in self.nodes.values()}
        self.rollouts, self.members = {}, {}
        for rollout in reversed(store.rows(RolloutRow, newest=ROLLOUT_COUNT_KEPT)):
            self.rollouts[rollout.id] = rollout
            self.members[rollout.id] = {row.node: row for row in store.rows(MemberRow, {"rollout": rollout.id})}
        newest = store.rows(EventRow, newest=1)
        self._event_number = max(self._event_number, newest[0].number if newest else 0)

    def _apply(self, change: Change) -> None:
        match change:
            case Put(row) | Add(row):
                self._put(row)
            case Delete(kind, where):
                self._delete(kind, where)

    def _put(self, row: Row) -> None:
        match row:
            case NodeRow():
                before = self.nodes.get(row.name)
                if before is not None:
                    self._by_token.pop(before.token_sha256, None)
                self.nodes[row.name] = row
                self._by_token[row.token_sha256] = row.name
            case GroupRow():
                self.groups[row.name] = row
            case ClaimRow():
                self.claims[row.id] = row
            case ArtifactRow():
                self.artifacts[row.target] = row
            case ReportRow():
                self.reports[row.node] = row
            case RolloutRow():
                self.rollouts[row.id] = row
                self.members.setdefault(row.id, {})
            case MemberRow():
                self.members.setdefault(row.rollout, {})[row.node] = row
            case EventRow():
                self.events.tell(row.kind, {"number": row.number, "at_s": row.at_s, "on": row.on} | row.detail)

    def _delete(self, kind: type[Row], where: Any) -> None:
        if kind is NodeRow:
            gone = self.nodes.pop(where["name"], None)
            if gone is not None:
                self._by_token.pop(gone.token_sha256, None)
        elif kind is SightingRow:
            self.sightings.pop(where["node"], None)
            self.seen_at_s.pop(where["node"], None)
        elif kind is GroupRow:
            self.groups.pop(where["name"], None)
        elif kind is ClaimRow:
            self.claims.pop(where["id"], None)
        elif kind is ArtifactRow:
            self.artifacts.pop(where["target"], None)
        elif kind is ReportRow:
            self.reports.pop(where["node"], None)


def nodes_in(nodes: Iterable[NodeRow], groups: Mapping[str, GroupRow], name: str) -> Iterator[NodeRow]:
    """Those that would be in a group, if these were the groups."""
    for node in nodes:
        found = group_of(node, groups)
        if found is not None and found.name == name:
            yield node


def group_of(node: NodeRow, groups: Mapping[str, GroupRow]) -> GroupRow | None:
    """As `Fleet.group_of`, if these were the groups."""
    if node.group:
        return groups.get(node.group)
    return next((g for _, g in sorted(groups.items()) if g.match and node.labels.items() >= g.match.items()), None)


def digest(secret: str) -> str:
    """Of a token or code, as it is kept. Those have 256 random bits, or 80 behind a bucket: one hash will do."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _known(rows: dict[str, _T], name: str, what: str) -> _T:
    if (found := rows.get(name)) is None:
        raise NotFoundError(f"no {what} is named `{name[:80]}`")
    return found
