"""A new replica of a real shard: a snapshot, the journal that belongs to it, then the log."""

from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import numpy as np

from littoral.clock import SYSTEM
from littoral.mesh.snapshot_shipping import SnapshotOffers, fetch_snapshot
from littoral.mesh.sync import ShippingTimes, Sync
from littoral.node.supervisor import embedded
from littoral.transport.fake import Network
from littoral.vectors.collections import Collections
from littoral.vectors.filters import Condition, Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import found_ids, read_points
from littoral.vectors.replication.replica import Replica
from littoral.vectors.replication.seeding import ARCHIVE, JOURNAL, install_journal, pack_replica
from littoral.vectors.replication.shared_log import SharedLog
from waiting import until_async

SIZE = 16
SHARD = "frames-0"
CONFIG = CollectionConfig(VectorParams(SIZE, "Cosine"))
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def batch(ids: list[int | str], turn: int) -> PointBatch:
    rows = np.random.default_rng(turn).standard_normal((len(ids), SIZE)).astype("<f4")
    return PointBatch(list(ids), rows.tobytes(), [{"turn": turn}] * len(ids))


async def alike(replicas: list[Replica]) -> bool:
    roots = [(await one.pipeline.read(Journal.digests)).of([0]) for one in replicas]
    return roots[0] == roots[1]


async def test_a_new_replica_begins_with_a_snapshot_and_goes_on_with_the_log(tmp_path: Path) -> None:
    network = Network()
    async with AsyncExitStack() as opened:
        links, collections = [], []
        for name in "ab":
            links.append(await opened.enter_async_context(opened.enter_context(embedded(tmp_path / name))))
            collections.append(await Collections.open(tmp_path / name, links[-1]))
            opened.push_async_callback(collections[-1].close)
        ends = [network.join(name) for name in "ab"]
        shard = await collections[0].create("frames", CONFIG)
        first = await Replica.open(tmp_path / "a.journal", shard, "a", shard_life=shard.life)
        opened.push_async_callback(first.close)
        await first.upsert_points(batch([*range(300), UUID], 1))
        await first.delete(range(0, 300, 3))
        await first.change_payload(PayloadChange(how="merge", filter=Filter(), payload={"seen": True}))

        none = Filter(must=[Condition(has_id=[999])])
        await first.change_payload(PayloadChange(how="merge", filter=none, payload={"never": True}))
        await first.delete_matching(none)

        async def pack(_: str, folder: Path) -> list[Path]:
            return await pack_replica(first, folder)

        offers = SnapshotOffers(ends[0], tmp_path / "offers", pack, lambda *_: True, clock=SYSTEM)
        await offers.start()
        fetched = await fetch_snapshot(ends[1], "a", SHARD, tmp_path / "fetched")
        await first.upsert_points(batch([1, 1000], 2))

        await collections[1].recover("frames", fetched.files[ARCHIVE])
        install_journal(fetched.files[JOURNAL], tmp_path / "b.journal")
        copy = collections[1].get("frames")
        second = await Replica.open(tmp_path / "b.journal", copy, "b", shard_life=copy.life)
        opened.push_async_callback(second.close)
        assert second.vector[first.origin] == first.vector[first.origin] - 1
        assert second.origin.startswith("b.")

        for end, replica, peer in ((ends[0], first, "b"), (ends[1], second, "a")):
            sync = Sync(end, clock=SYSTEM, rng=Random(1), times=ShippingTimes(pull_s=0.2))
            opened.push_async_callback(sync.close)
            await sync.start()
            sync.add(SharedLog(SHARD, replica), [peer])
        await second.upsert_points(batch([2000], 3))
        await until_async(lambda: dict(first.vector) == dict(second.vector))
        for replica in (first, second):
            await replica.reach(first.vector)
        assert await alike([first, second])
        points = [await read_points(one.shard, await found_ids(one.shard)) for one in (first, second)]
        assert points[0] == points[1]
        assert points[0].keys() == {i for i in range(300) if i % 3} | {UUID, 1000, 2000}
        assert points[1][2].payload == {"turn": 1, "seen": True}
        assert points[1][1].payload == {"turn": 2}
