"""What happens to a site of replicas while clients write: and what must hold of it in the end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from littoral.errors import LittoralError, NotFoundError
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointBatch
from littoral.vectors.replication.entries import Change, key_of
from littoral.vectors.replication.stamps import Stamp
from replica_models import point, vector
from replica_site import SHARD, ReplicaNode, ReplicaSite

IDS = 12
WRITER_COUNT = 4
WRITES = 40
HEALED_S_MAX = 10.0
LIVES = 1_000


@dataclass
class Acknowledged:
    """What was promised of each point: stamps, and how the point is if no later one came."""

    of: dict[int, list[tuple[Stamp, Callable[[Change | None], bool]]]] = field(default_factory=dict)
    count: int = 0
    refused: int = 0

    def add(self, ids: list[int], stamp: Stamp, holds: Callable[[Change | None], bool]) -> None:
        self.count += 1
        for one in ids:
            self.of.setdefault(one, []).append((stamp, holds))


async def write_one(site: ReplicaSite, node: ReplicaNode, turn: int, seen: Acknowledged, copies: int) -> None:
    """Some write at some node; noted if it is acknowledged."""
    rng, replica, sync = site.rng, node.replica, node.sync
    assert replica is not None
    assert sync is not None
    ids = rng.sample(range(IDS), rng.randrange(1, 4))
    what = rng.random()
    if what < 0.6:
        value = float(turn)
        batch = PointBatch(list(ids), vector(value) * len(ids), [{"value": value}] * len(ids))
        stamp = await replica.upsert_points(batch, deadline_s=3)
        wanted = {one: point(one, value) for one in ids}
        holds: Any = lambda found: found == wanted[found.id] if found else False  # noqa: E731
    elif what < 0.8:
        stamp = await replica.delete(ids, deadline_s=3)
        holds = lambda found: found is None  # noqa: E731
    elif what < 0.9:
        change = PayloadChange(how="merge", ids=list(ids[:1]), payload={"turn": turn})
        ids = ids[:1]
        stamp = await replica.change_payload(change, deadline_s=3)
        holds = lambda found: found is not None and found.payload["turn"] == turn  # noqa: E731
    else:
        batch = PointBatch(ids[:1], vector(turn), [{"value": float(turn)}])
        await replica.upsert_points(batch, mode="insert_only", deadline_s=3)
        return
    if (
        copies > 1
        and len((await sync.copies(SHARD, stamp.origin, stamp.number, count=copies, deadline_s=3)).have) < copies
    ):
        return
    seen.add(ids, stamp, holds)


async def write(site: ReplicaSite, first: int, seen: Acknowledged, copies: int) -> None:
    for turn in range(first, first + WRITES):
        await asyncio.sleep(site.rng.random() * 0.05)
        if not (nodes := site.up()):
            continue
        try:
            await write_one(site, site.rng.choice(nodes), turn, seen, copies)
        except NotFoundError:
            continue
        except LittoralError:
            seen.refused += 1


async def harm(site: ReplicaSite, *, power: bool, disk: str | None) -> None:
    """Something goes wrong, again and again."""
    rng = site.rng
    while True:
        await asyncio.sleep(rng.random() * 3)
        match rng.randrange(5):
            case 0 | 1 if site.up():
                node = rng.choice(site.up())
                node.crash(power=power and rng.random() < 0.5)
                if node.name == disk:
                    node.lose_disk()
                    disk = None
                await asyncio.sleep(rng.random() * 2)
                await node.start()
            case 2:
                some = set(rng.sample(sorted(site.nodes), rng.randrange(1, len(site.nodes))))
                site.network.cut(some, set(site.nodes) - some)
            case 3:
                site.network.heal()
            case _:
                for node in site.nodes.values():
                    node.shard.failures = rng.choice([0.0, 0.0, 0.3])


async def live(site: ReplicaSite, seen: Acknowledged, *, copies: int, power: bool, disk: str | None) -> float:
    async with site:
        harming = asyncio.create_task(harm(site, power=power, disk=disk))
        await asyncio.gather(*(write(site, LIVES * one, seen, copies) for one in range(WRITER_COUNT)))
        harming.cancel()
        await asyncio.gather(harming, return_exceptions=True)
        for node in site.nodes.values():
            node.shard.failures = 0.0
        await site.mend()
        took_s = await site.until_alike(10 * HEALED_S_MAX)
        check(site, seen)
        return took_s


def check(site: ReplicaSite, seen: Acknowledged) -> None:
    for node in site.up():
        assert node.replica is not None
        for one, promises in seen.of.items():
            version = node.replica._journal.versions_of([key_of(one)]).get(key_of(one))
            assert version is not None
            stamp, holds = max(promises, key=lambda promise: (promise[0].time, promise[0].origin))
            assert (version.time, version.origin) >= (stamp.time, stamp.origin), (node.name, one)
            if (version.time, version.origin) == (stamp.time, stamp.origin):
                assert holds(node.shard.points.get(one)), (node.name, one)
    assert site.is_alike()
