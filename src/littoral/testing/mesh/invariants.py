"""What must hold of a site: at every moment what can be seen at a glance, at quiet moments everything."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from littoral.telemetry import Endured
from littoral.testing.mesh.clients import Clients
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.site import SimulatedSite
from littoral.transport.desk import SERVED_BODIES_MAX, SERVED_COUNT_MAX

if TYPE_CHECKING:
    from littoral.testing.mesh.stores import Stored
    from littoral.vectors.records import PointId

__all__ = [
    "LOOK_S",
    "check_promises",
    "check_quiet_searches",
    "differing_members",
    "differing_replicas",
    "differing_rosters",
    "watch",
]

LOOK_S = 0.1
TASKS_MAX = 5_000


async def watch(site: SimulatedSite) -> None:
    """Until it is cancelled. Each fault of a node is told once."""
    told: set[str] = set()
    numbers: dict[str, int] = {}
    before = Counter(Endured.unexpected)
    while True:
        for loop in sorted(loop for loop, count in Endured.unexpected.items() if count > before[loop]):
            before[loop] = Endured.unexpected[loop]
            site.breaks(f"a round failed by a fault of ours: {loop}")
        for node in site.up():
            for what in _at_a_glance(node, numbers):
                if what not in told:
                    told.add(what)
                    site.breaks(what)
        await asyncio.sleep(LOOK_S)


def _at_a_glance(node: SimulatedNode, numbers: dict[str, int]) -> Iterator[str]:
    federation, process = node.federation, node.process
    assert federation is not None
    assert process is not None
    traffic = federation.transport.traffic
    if traffic.busy > SERVED_COUNT_MAX:
        yield f"{node.name}: {SERVED_COUNT_MAX} requests are the most, there are more"
    if traffic.busy_bytes > SERVED_BODIES_MAX * federation.transport.body_bytes_max:
        yield f"{node.name}: requests that wait have more bytes than they may"
    if len(process.tasks) > TASKS_MAX:
        yield f"{node.name}: more than {TASKS_MAX} tasks"
    if any(task.done() for task in federation._tasks):
        yield f"{node.name}: its rounds have ended"
    if federation.map.number < numbers.get(node.name, 0):
        yield f"{node.name}: goes by map {federation.map.number} after {numbers[node.name]}"
    numbers[node.name] = federation.map.number


def differing_members(site: SimulatedSite) -> Iterator[str]:
    """Where what a node knows of the others is not so, one reason a node."""
    up = site.up()
    here = frozenset(node.name for node in up)
    number = max((node.federation.map.number for node in up if node.federation), default=0)
    boots = {node.name: node.boots for node in up}
    for node in up:
        if (what := _differing(node, here, number, boots)) is not None:
            yield f"{node.name}: {what}"


def _differing(node: SimulatedNode, here: frozenset[str], number: int, boots: dict[str, int]) -> str | None:
    federation = node.federation
    assert federation is not None
    if (alive := federation.transport.alive()) != here:
        return f"sees {len(alive)} nodes, {len(here)} are here"
    if federation.map.number != number:
        return f"goes by map {federation.map.number}, not {number}"
    if lacking := federation.lacking():
        return f"lacks {', '.join(lacking)}"
    known = federation.facts.all()
    for name, boot in boots.items():
        if (one := known.get(name)) is None or one.fact.boot != boot:
            return f"does not know in which life `{name}` is"
    return None


def differing_rosters(site: SimulatedSite) -> Iterator[str]:
    """Members that have an older roster than the newest."""
    if site.roster is not None:
        yield from site.roster.behind()


def differing_replicas(site: SimulatedSite) -> Iterator[str]:
    """Holders of a shard that have not the same points as the first, or do not know that they have."""
    first: dict[int, tuple[str, dict[PointId, Stored]]] = {}
    for shard, node, store in site.stores():
        name, points = first.setdefault(shard, (node.name, dict(store.points)))
        if points != store.points:
            differing = [one for one in points.keys() | store.points.keys() if points.get(one) != store.points.get(one)]
            yield f"shard {shard}: {node.name} and {name} differ in {len(differing)} points, {min(differing, key=str)}"
    for node in site.up():
        assert node.federation is not None
        replicas = node.federation.replicas
        for lag in replicas.lags():
            if site.is_member(lag.peer) and (lag.entry_count or lag.failure is not None):
                yield f"{node.name}: `{lag.shard}` at {lag.peer}: {lag.entry_count} entries behind, {lag.failure}"
        for name, replica in replicas._replicas.items():
            if count := replica.state().unapplied_count:
                yield f"{node.name}: `{name}`: its shard lacks {count} entries of its journal"


def check_promises(site: SimulatedSite) -> None:
    """No acknowledged write is lost, and no point is there that should not be."""
    found: dict[int, set[bytes]] = {}
    for _, _, store in site.stores():
        for point, stored in store.points.items():
            assert isinstance(point, int)
            found.setdefault(point, set()).add(site.as_told(stored))
    for point in site.ledger.of:
        allowed, there = site.ledger.allowed(point), found.get(point, set())
        if not there and None not in allowed:
            site.breaks(f"point {point}: an acknowledged write is lost")
        if there - allowed:
            site.breaks(f"point {point}: is as it was before an acknowledged write")
    for point in found.keys() - site.ledger.of.keys():
        site.breaks(f"point {point}: nobody wrote it")


async def check_quiet_searches(site: SimulatedSite, clients: Clients, count: int) -> None:
    """Nothing is missing any more, and every answer is the true one."""
    before = clients.stale_count
    for node in site.rng.sample(site.up(), min(count, len(site.up()))):
        found = await clients.search_one(node)
        if found is None or found.how["missing"]:
            site.breaks(f"{node.name}: all nodes are here, and a search says {found and found.how}")
    if clients.stale_count > before:
        site.breaks("all replicas are alike, and a certified answer lacks a point")
