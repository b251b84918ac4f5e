"""Simulated sites whose layout changes while they are written and searched, and of which nodes crash meanwhile."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from littoral.errors import ConflictError
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.copies import is_copy
from littoral.node.federation.layout import laid_out
from littoral.node.federation.moving import planning
from littoral.node.federation.moving.sampling import sampled
from littoral.node.mesh_tables import SpreadTable
from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated
from littoral.testing.mesh.clients import Clients
from littoral.testing.mesh.invariants import check_promises, check_quiet_searches, differing_replicas, watch
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.plan import Plan
from littoral.testing.mesh.site import COLLECTION, SIZE, SimulatedSite

if TYPE_CHECKING:
    from littoral.vectors.records import PointId

__all__ = ["KINDS", "STEPS", "broken_by_a_crash"]

NODES = 4
KINDS = ("spread", "cells", "move", "divide", "dissolve", "replicas", "back")
STEPS = ("making", "copying", "flipping", "leaving")
MEMORY = Path("/dev/shm")
QUIET_S, STEP_S, DONE_S, DOWN_S = 5.0, 20.0, 120.0, 3.0


def plan_of(kind: str, seed: int) -> Plan:
    """Of a calm site: what goes wrong is the test's."""
    by_cells = kind in ("divide", "dissolve")
    return Plan.of(seed, NODES)._replace(
        faults=(), late=frozenset(), loss=0.0, shards=4, strategy="metric" if by_cells else "hash", holders=1
    )


def spread_of(site: SimulatedSite) -> Spread:
    spread = site.spread()
    assert spread is not None
    return spread


async def layout_of(site: SimulatedSite, kind: str, rng: Random) -> Layout:
    spread, regions = spread_of(site), dict.fromkeys(site.nodes, "")
    replicas = max(len(nodes) for nodes in spread.places.values())
    shard = rng.choice(spread.shards)
    match kind:
        case "move":
            source = rng.choice(spread.places[shard])
            free = [name for name in site.nodes if name not in spread.places[shard]]
            return planning.moved(spread, shard, source, rng.choice(free), regions)
        case "replicas":
            return planning.held_by(spread, regions, 1 + replicas % 3)
        case "divide":
            federation = writer_of(site).federation
            assert federation is not None
            vectors = await sampled(federation.asking, federation.target(COLLECTION), [shard], 1000, seed=0)
            return planning.divided(spread, shard, vectors, [rng.choice(list(site.nodes))], seed=0)
        case "dissolve":
            return planning.without_shard(spread, shard)
        case "cells":
            table = SpreadTable(strategy="metric", shards=4, replicas=replicas, sample="")
            sample = np.frombuffer(b"".join(site.vector() for _ in range(400)), "<f4").reshape(-1, SIZE)
            config = site.nodes["n0000"].tables[COLLECTION].config()
            return planning.fitted_anew(spread, laid_out(COLLECTION, table, config, regions, sample))
    return planning.by_id(spread, rng.choice((3, 5, 6)), regions, replicas)


def writer_of(site: SimulatedSite) -> SimulatedNode:
    return site.nodes[min(site.nodes)]


def left(site: SimulatedSite) -> list[str]:
    """Shards without a place that still lie somewhere, and nodes that are not there yet."""
    spread, found = spread_of(site), []
    wanted = {name: set(spread.held_by(name)) for name in site.nodes}
    for name, node in site.nodes.items():
        parts = {int(part.rpartition(".")[2]) for part in node.disk.by_part()}
        if parts != wanted[name] or node.federation is None or node.federation.moving.left_shards():
            found.append(f"{name} has {sorted(parts)}, is to have {sorted(wanted[name])}")
    return found


async def until(holds: Callable[[], object], for_s: float, site: SimulatedSite) -> bool:
    """Whether it came about, in simulated time."""
    end_s = site.clock.monotonic() + for_s
    while not holds():
        if site.clock.monotonic() > end_s:
            return False
        await asyncio.sleep(0.02)
    return True


def is_at(site: SimulatedSite, step: str, after: int) -> bool:
    spread = site.spread()
    if spread is None:
        return False
    if step == "leaving":
        return spread.change is None and spread.epoch > after
    return spread.change is not None and spread.change.step == step


async def changed(site: SimulatedSite, kind: str, step: str, rng: Random) -> None:
    for name in site.nodes:
        site.start(name)
    await site.all_started(DONE_S)
    clients, watching = Clients(site), asyncio.create_task(watch(site))
    assert await until(lambda: site.spread() is not None and not left(site), STEP_S, site)
    clients.start()
    await asyncio.sleep(QUIET_S)
    layout, epoch = await layout_of(site, kind, rng), spread_of(site).epoch
    writer = writer_of(site).federation
    assert writer is not None
    writer.go_to(COLLECTION, layout)
    assert await until(lambda: is_at(site, step, epoch), DONE_S, site), f"does not come to `{step}`"
    await asyncio.sleep(rng.random() * 0.3)
    if kind == "back" and step in ("making", "copying"):
        with contextlib.suppress(ConflictError):  # it went on meanwhile
            writer.go_to(COLLECTION, None)
    for name in rng.sample(sorted(site.nodes), rng.choice((1, 1, 2, NODES))):
        site.nodes[name].crash(power=rng.random() < 0.7)
        site.start(name, rng.random() * DOWN_S)
    await site.all_started(DONE_S)
    arrived = await until(lambda: spread_of(site).change is None and not left(site), DONE_S, site)
    if not arrived:
        change = spread_of(site).change
        site.breaks(f"step {'none' if change is None else change.step}, left: {left(site)}")
    await clients.stop()
    await until(lambda: next(differing_replicas(site), None) is None, STEP_S, site)
    for reason in differing_replicas(site):
        site.breaks(reason)
    check_promises(site)
    check_places(site)
    await check_quiet_searches(site, clients, NODES)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert site.ledger.acknowledged_count > 20
    await site.close()


def check_places(site: SimulatedSite) -> None:
    """Every point is at home in one shard, that the strategy says; of one whose last write was not acknowledged, where
    it was may know nothing of it."""
    homes: Counter[PointId] = Counter()
    for shard, node, store in site.stores():
        if spread_of(site).places[shard][0] == node.name:
            for point, stored in store.points.items():
                if not is_copy(stored.payload):
                    homes[point] += 1
    for point, count in homes.items():
        if count > 1 and all(attempt.is_acknowledged for attempt in site.ledger.of[point]):
            site.breaks(f"point {point} is at home in {count} shards")


async def lived(site: SimulatedSite, kind: str, step: str, rng: Random) -> None:
    try:
        await changed(site, kind, step, rng)
    finally:
        await site.bury()


def broken_by_a_crash(kind: str, step: str, seed: int) -> list[str]:
    """What does not hold of a site in which nodes crash at this step of a change of this kind."""
    clock = SimulatedClock()
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="littoral-sim-") as folder:
        site = SimulatedSite(plan_of(kind, seed), Path(folder), clock)
        run_simulated(lambda: lived(site, kind, step, Random(f"{kind} {step} {seed}")), clock)
    return site.broken
