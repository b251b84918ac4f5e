"""Rollouts in simulated time: the real conductor and a real store, nodes that behave well or badly, and an orchestrator
that is killed at any write.

The director here keeps what it is told, and says at once when it is told what must never be: a deployment that falls,
two contents under one number, a ring before the one before it has ended.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from littoral.errors import LittoralError
from littoral.orchestrator import rollouts
from littoral.orchestrator.conductor import Conductor, views_of
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.rollouts import Act
from littoral.orchestrator.signing import desired_of
from littoral.orchestrator.store import Add, Change, Put
from littoral.orchestrator.store.rows import GroupRow, MemberRow, NodeRow, Plan, RolloutRow
from littoral.orchestrator.store.sql import SqlStore
from littoral.orchestrator.store.sqlite import SqliteDatabase
from littoral.orchestrator.telling import Telling
from littoral.updates.wire import CheckIn, Desired
from mesh_site import MovedClock

GROUP = "north"
OFFLINE_S = 10.0


class Killed(BaseException):
    """The orchestrator's process is gone."""


@dataclass
class Kill:
    """at: the number of the write that it happens at, None: never. is_after: when that has been done already."""

    at: int | None = None
    is_after: bool = False
    count: int = 0

    def around(self, write: Callable[[], None]) -> None:
        self.count += 1
        is_now = self.count == self.at
        if is_now and not self.is_after:
            raise Killed
        write()
        if is_now:
            raise Killed


class KilledStore(SqlStore):
    """Of which a write may be the last thing that a process does."""

    kill = Kill()

    def write(self, changes: Sequence[Change]) -> None:
        if changes:
            self.kill.around(lambda: super(KilledStore, self).write(changes))


@dataclass
class SimulatedDirector:
    """As `Signing` is to a conductor. heard: all that each node was told, in order."""

    world: "World"
    heard: dict[str, list[Desired]] = field(default_factory=dict)

    def told(self, node: str) -> int:
        return self.heard[node][-1].deployment if node in self.heard else 0

    def tell(self, nodes: Sequence[NodeRow]) -> dict[str, LittoralError | None]:
        for node in nodes:
            desired, before = desired_of(node), self.heard.get(node.name, [])
            if before and before[-1].deployment == desired.deployment:
                assert before[-1] == desired, "two contents under one number"
                continue
            assert not before or before[-1].deployment < desired.deployment, "a deployment fell"
            self.world.check_told(node.name)
            self.world.kill.around(lambda: self.heard.setdefault(node.name, []).append(desired))  # noqa: B023
        return dict.fromkeys([node.name for node in nodes])


@dataclass
class SimulatedNode:
    """takes_s: from hearing of a deployment to its end. bad: targets that its gates catch. away: [from, to)."""

    name: str
    takes_s: float = 3.0
    bad: frozenset[str] = frozenset()
    away: tuple[float, float] = (0.0, 0.0)
    checkin: CheckIn = field(default_factory=lambda: CheckIn(deployment=0, state="idle"))
    runs: dict[str, str] = field(default_factory=dict)
    began_s: float = 0.0
    wish: Desired | None = None

    def is_away(self, now_s: float) -> bool:
        return self.away[0] <= now_s < self.away[1]

    def go_on(self, wish: Desired | None, now_s: float) -> None:
        if wish is not None and (self.wish is None or wish.deployment > self.wish.deployment):
            self.wish, self.began_s = wish, now_s
            self.checkin = CheckIn(deployment=wish.deployment, state="fetched", running=self._running())
        if self.wish is None or self.checkin.state in ("settled", "rolled_back") or now_s - self.began_s < self.takes_s:
            return
        if self.bad & set(self.wish.models.values()):
            said = CheckIn(deployment=self.wish.deployment, state="rolled_back", problem="slow", gate="p99")
        else:
            self.runs = dict(self.wish.models)
            said = CheckIn(deployment=self.wish.deployment, state="settled")
        self.checkin = replace(said, running=self._running())

    def _running(self) -> dict[str, str]:
        return {f"models/{name}": target for name, target in self.runs.items()}


class World:
    """One fleet, in one group. Everything but the store, the director and the nodes is lost when it is killed."""

    def __init__(self, nodes: Sequence[SimulatedNode], *, kill: Kill | None = None, group: GroupRow | None = None):
        self.clock = MovedClock()
        self.kill = kill or Kill()
        self.nodes = {node.name: node for node in nodes}
        self.director = SimulatedDirector(self)
        self.lives = 0
        self._database = SqliteDatabase(":memory:")
        store = SqlStore.open(self._database)
        rows = [
            NodeRow(name=name, token_sha256=name, public_key="", enrolled_at_s=0.0, group=GROUP) for name in self.nodes
        ]
        store.write([Put(group or GroupRow(name=GROUP)), *map(Put, rows)])

    async def begin(self) -> None:
        """A process of the orchestrator, of what the store has."""
        self.lives += 1
        store = KilledStore(self._database)
        store.kill = self.kill
        self.fleet = Fleet(store, self.clock, offline_s=OFFLINE_S)
        self.fleet._load()
        self.telling = Telling()
        signing: Any = self.director
        self.conductor = Conductor(self.fleet, signing, self.telling)
        for name in self.nodes:
            self.telling.publish(name, self.director.told(name))

    def end(self) -> None:
        self.fleet._thread.shutdown()
        self._database.close()

    async def roll_out(self, plan: Plan, name: str = "r1") -> None:
        """As its API does."""
        fleet = self.fleet
        if name in fleet.rollouts:
            return
        number = len(fleet.rollouts) + 1
        row, members = rollouts.begin(name, number, plan, views_of(fleet), "ada", self.clock.wall())
        await fleet.write(Add(row), *(Add(member) for member in members))

    async def act(self, act: Act, name: str = "r1") -> None:
        rollout, members = self.fleet.rollouts[name], self.fleet.members[name]
        group = self.fleet.groups[rollout.plan.group]
        step = rollouts.act(rollout, members, views_of(self.fleet), group, act, "by ada", self.clock.wall())
        await self.conductor.take(rollout, step)

    async def second(self) -> None:
        """Nodes say how they are, then the orchestrator turns. Killed, it begins again."""
        self.clock.move(1.0)
        for node in self.nodes.values():
            if not node.is_away(self.clock.monotonic()):
                wishes = self.director.heard.get(node.name)
                published = self.telling.published(node.name)
                wish = next((one for one in wishes or () if one.deployment == published), None)
                node.go_on(wish, self.clock.monotonic())
                self.fleet.saw(node.name, node.checkin)
        await self.surviving(self._turn)

    async def _turn(self) -> None:
        await self.conductor.turn()

    async def surviving(self, do: Callable[[], Any]) -> None:
        """Once more in another life, where a kill comes between."""
        try:
            await do()
        except Killed:
            self.fleet._thread.shutdown()
            await self.begin()
            await do()

    async def until(self, condition: Callable[[], bool], seconds: int = 400) -> None:
        for _ in range(seconds):
            if condition():
                return
            await self.second()
        raise AssertionError(f"never held; {self.rollout()}, {[*self.members().values()]}")

    def rollout(self, name: str = "r1") -> RolloutRow:
        return self.fleet.rollouts[name]

    def members(self, name: str = "r1") -> Mapping[str, MemberRow]:
        return self.fleet.members[name]

    def has_ended(self, name: str = "r1") -> bool:
        return self.rollout(name).state not in rollouts.OPEN

    def check_told(self, node: str) -> None:
        """A node of a ring is told of a rollout only when those before have ended, but for who was away."""
        for rollout in self.fleet.rollouts.values():
            member = self.fleet.members[rollout.id].get(node)
            if member is None or member.state != "told" or rollout.state != "running":
                continue
            for other in self.fleet.members[rollout.id].values():
                if other.ring < member.ring and other.state in ("waiting", "told"):
                    was_away = self.nodes[other.node].away != (0.0, 0.0)
                    assert was_away, f"`{node}` of ring {member.ring} before `{other.node}`"


def random_world(seed: int) -> tuple[World, random.Random]:
    """Up to 24 nodes, some slow, some away, some that the new version is bad for."""
    rng = random.Random(seed)
    share_bad = rng.choice([0.0, 0.0, 0.1, 0.5])
    nodes = []
    for index in range(rng.randint(2, 24)):
        begins = rng.uniform(0, 60) if rng.random() < 0.2 else 0.0
        nodes.append(
            SimulatedNode(
                f"gw-{index}",
                takes_s=rng.uniform(0, 12),
                bad=frozenset({"models/e/2.wasm"}) if rng.random() < share_bad else frozenset(),
                away=(begins, begins + rng.uniform(15, 120)) if begins else (0.0, 0.0),
            )
        )
    return World(nodes), rng
