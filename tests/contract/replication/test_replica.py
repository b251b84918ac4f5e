"""One replica: what it acknowledges, and in which order its shard gets it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from littoral.errors import InputError, NotFoundError, UnavailableError
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors import frames
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointBatch
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.replica import Replica, ReplicaLimits
from littoral.vectors.replication.requests import write_to
from replica_models import MemoryShard, point, vector
from waiting import until_async

if TYPE_CHECKING:
    from littoral.vectors.replication.stamps import Stamp


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    found = await Replica.open(tmp_path / "journal", MemoryShard(Random(1)), "a")
    yield found
    await found.close()


def batch(*ids: int, value: float = 1.0) -> PointBatch:
    return PointBatch(list(ids), vector(value) * len(ids), [{"value": value}] * len(ids))


@pytest.mark.parametrize("seed", range(5))
def test_the_shard_ends_with_the_write_that_won(seed: int, tmp_path: Path) -> None:
    """Plain writes go in groups, changes of payloads go alone: neither may get between the other's steps."""
    clock, rng = SimulatedClock(), Random(seed)
    stamps: list[tuple[Stamp, int]] = []

    async def one(replica: Replica, turn: int) -> None:
        await asyncio.sleep(rng.random() * 0.3)
        writing: Awaitable[Stamp] = (
            replica.upsert_points(batch(1, value=turn))
            if turn % 2
            else replica.change_payload(PayloadChange(how="merge", ids=[1], payload={"value": float(turn)}))
        )
        stamps.append((await writing, turn))

    async def main() -> None:
        shard = MemoryShard(rng)
        replica = await Replica.open(tmp_path / "journal", shard, "a", clock=clock)
        await replica.upsert_points(batch(1))
        await asyncio.gather(*(one(replica, turn) for turn in range(60)))
        latest = max(stamps, key=lambda one: one[0].time)
        assert shard.points[1].payload == {"value": float(latest[1])}
        await replica.close()

    run_simulated(main, clock)


async def test_who_waits_is_told_in_the_order_in_which_they_came(replica: Replica) -> None:
    """Not by where their futures lie in memory: a seed of the simulator would give another run each time."""
    turns: list[int] = []
    is_due = False

    async def one(turn: int) -> None:
        await replica.pipeline.until(lambda: is_due)
        turns.append(turn)

    waiting = [asyncio.create_task(one(turn)) for turn in range(40)]
    await asyncio.sleep(0)
    is_due = True
    await replica.upsert_points(batch(1))
    await asyncio.gather(*waiting)
    assert turns == list(range(40))


async def test_who_waits_for_one_to_be_alone_waits_for_the_next_as_well(replica: Replica) -> None:
    async with replica.pipeline.alone():
        writing = asyncio.create_task(replica.upsert_points(batch(1)))
        await asyncio.sleep(0.01)
    async with replica.pipeline.alone():
        await asyncio.sleep(0.1)
        assert isinstance(replica.shard, MemoryShard)
        assert replica.shard.points == {}
    await writing
    assert replica.shard.points == {1: point(1, 1.0)}


async def test_what_was_acknowledged_is_applied_again_where_the_shard_lost_it(tmp_path: Path) -> None:
    shard = MemoryShard(Random(1))
    replica = await Replica.open(tmp_path / "journal", shard, "a")
    await replica.upsert_points(batch(1, 2))
    await replica.delete([2])
    for task in replica._tasks:  # no time to make it durable
        task.cancel()
    await replica.pipeline.close()
    shard.cut_power()
    assert shard.points == {}
    again = await Replica.open(tmp_path / "journal", shard, "a")
    await again.pipeline.until_open()
    assert shard.points == {1: point(1, 1.0)}
    await again.close()


async def test_what_the_store_refuses_never_gets_into_the_log(replica: Replica) -> None:
    with pytest.raises(InputError, match="must be finite"):
        await replica.upsert_points(PointBatch([1], vector(float("nan"))))
    with pytest.raises(NotFoundError):
        await replica.change_payload(PayloadChange(how="merge", ids=[9], payload={"a": 1}))
    assert replica.vector == {}
    assert await replica.pipeline.read(Journal.doubted) == []


async def test_a_journal_of_a_shard_that_is_gone_begins_anew(tmp_path: Path) -> None:
    first = await Replica.open(tmp_path / "journal", MemoryShard(Random(1)), "a", shard_life="one")
    stamp = await first.upsert_points(batch(1))
    await first.close()
    again = await Replica.open(tmp_path / "journal", MemoryShard(Random(1)), "a", shard_life="two")
    assert again.vector == {}
    assert again.origin != stamp.origin
    await again.close()
    kept = await Replica.open(tmp_path / "journal", MemoryShard(Random(1)), "a", shard_life="two")
    assert kept.origin == again.origin
    await kept.close()


async def test_whoever_waits_hears_of_the_end(tmp_path: Path) -> None:
    shard = MemoryShard(Random(1))
    shard.failures = 1.0
    replica = await Replica.open(tmp_path / "journal", shard, "a")
    writing = asyncio.create_task(replica.upsert_points(batch(1)))
    await until_async(lambda: replica.vector != {})
    await replica.close()
    with pytest.raises(UnavailableError, match="is closed here"):
        await writing
    with pytest.raises(UnavailableError, match="is closed here"):
        await replica.upsert_points(batch(2))


async def test_writes_that_wait_are_bounded(tmp_path: Path) -> None:
    shard = MemoryShard(Random(1))
    shard.failures = 1.0
    replica = await Replica.open(tmp_path / "journal", shard, "a", limits=ReplicaLimits(queue_bytes=1000))
    writing = [asyncio.create_task(replica.upsert_points(batch(*range(i, i + 20)), deadline_s=1)) for i in range(12)]
    told = await asyncio.gather(*writing, return_exceptions=True)
    assert all(isinstance(one, UnavailableError) for one in told)
    assert any("bytes of writes wait" in str(one) for one in told)
    shard.failures = 0.0
    stamp = await replica.upsert_points(batch(1, value=5))
    assert shard.points[1] == point(1, 5.0)
    assert stamp.origin == replica.origin
    await replica.close()


async def test_points_that_were_there_before_are_taken_as_written_now(tmp_path: Path) -> None:
    shard = MemoryShard(Random(1))
    await shard.upsert_points(batch(1, 2, 3))
    replica = await Replica.open(tmp_path / "journal", shard, "a")
    await replica.adopt()
    assert await replica.pipeline.read(Journal.count) == (3, 0)
    assert await replica.pipeline.read(lambda journal: journal.entries_after({}, 1000)) == ([], True)
    await replica.close()


async def test_writes_come_as_the_frames_of_a_shard_host(replica: Replica) -> None:
    await write_to(replica, frames.Upsert(call=0, points=batch(1, 2, 3)))
    await write_to(replica, frames.Delete(call=0, ids=[1]))
    await write_to(replica, frames.UpdateVectors(call=0, points=PointBatch([2], [vector(7)])))
    change = PayloadChange(how="merge", ids=[3], payload={"a": 1})
    stamp = await write_to(replica, frames.ChangePayload(call=0, change=change))
    assert isinstance(replica.shard, MemoryShard)
    assert replica.shard.points[2].vectors == vector(7)
    assert replica.shard.points[3].payload == {"value": 1.0, "a": 1}
    assert stamp.number == 4
    await write_to(replica, frames.Delete(call=0, filter=Filter()))
    assert replica.shard.points == {}
    with pytest.raises(InputError, match="exactly one"):
        await write_to(replica, frames.Delete(call=0))
