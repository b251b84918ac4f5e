"""Replicas under crashes, power cuts, partitions and loss: no acknowledged write is lost, and all end alike.

A failure is replayed by its test id, which has the seed.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral.testing import SimulatedClock, Weather, run_simulated
from littoral.vectors.filters import Filter
from littoral.vectors.queries import PayloadChange
from littoral.vectors.records import PointBatch
from replica_lives import HEALED_S_MAX, WRITES, Acknowledged, live
from replica_models import vector
from replica_site import ReplicaSite
from waiting import until_async


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a sync costs nothing, if there is such a place: power cuts are played, not had."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as path:
        yield Path(path)


@pytest.mark.parametrize("seed", range(5))
def test_no_acknowledged_write_is_lost_and_all_end_alike(seed: int, folder: Path) -> None:
    clock, seen = SimulatedClock(), Acknowledged()
    weather = Weather(seed, delay_s=0.005, jitter_s=0.005, loss=0.02)

    async def main() -> float:
        site = ReplicaSite(seed, folder, clock, conditions=weather)
        return await live(site, seen, copies=1, power=True, disk=None)

    assert run_simulated(main, clock) <= HEALED_S_MAX
    assert seen.count > WRITES


@pytest.mark.parametrize("seed", range(4))
def test_a_write_with_two_copies_survives_the_loss_of_a_disk(seed: int, folder: Path) -> None:
    clock, seen = SimulatedClock(), Acknowledged()

    async def main() -> float:
        site = ReplicaSite(seed, folder, clock, conditions=Weather(seed, delay_s=0.005, jitter_s=0.005))
        return await live(site, seen, copies=2, power=True, disk="abc"[seed % 3])

    assert run_simulated(main, clock) <= HEALED_S_MAX
    assert seen.count > WRITES // 2


@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_a_few_bytes_costs_repairs_but_no_write(seed: int, folder: Path) -> None:
    clock, seen = SimulatedClock(), Acknowledged()

    async def main() -> float:
        site = ReplicaSite(seed, folder, clock, conditions=Weather(seed, delay_s=0.005, jitter_s=0.005), log_bytes=1000)
        return await live(site, seen, copies=1, power=True, disk=None)

    assert run_simulated(main, clock) <= HEALED_S_MAX


def test_what_the_shard_changed_before_a_crash_is_written_down_after_it(folder: Path) -> None:
    clock = SimulatedClock()

    async def main() -> None:
        async with ReplicaSite(1, folder, clock) as site:
            a = site.nodes["a"]
            assert a.replica is not None
            await a.replica.upsert_points(PointBatch([1], vector(1), [{"value": 1.0}]))
            await site.until_alike(5)
            await asyncio.sleep(2)  # so that it is not only the journal that has the point
            change = PayloadChange(how="merge", ids=[1], payload={"turn": 7})
            changing = asyncio.create_task(a.replica.change_payload(change))
            await until_async(lambda: (a.shard.points[1].payload or {}).get("turn") == 7)
            assert not changing.done()
            a.crash()
            changing.cancel()
            await a.start()
            assert await site.until_alike(20) < 20
            assert [node.shard.points[1].payload for node in site.up()] == [{"value": 1.0, "turn": 7}] * 3

    run_simulated(main, clock)


def test_a_log_file_brought_back_from_yesterday_gives_no_number_twice(folder: Path) -> None:
    clock = SimulatedClock()

    async def main() -> None:
        async with ReplicaSite(1, folder, clock) as site:
            a = site.nodes["a"]
            assert a.replica is not None
            await a.replica.upsert_points(PointBatch([1], vector(1)))
            await site.until_alike(5)
            a.crash()
            yesterday, points, life = a.path.read_bytes(), dict(a.shard.points), a.shard.life
            await a.start()
            await a.replica.upsert_points(PointBatch([1, 2], vector(2) * 2))
            await site.until_alike(5)
            a.crash()
            a.lose_disk()
            a.path.write_bytes(yesterday)
            a.shard.points, a.shard.life = points, life
            await a.start()
            await a.replica.upsert_points(PointBatch([3], vector(3)))
            before = a.replica.origin
            assert await site.until_alike(60) < 60
            assert a.replica.origin != before
            assert [sorted(node.shard.points) for node in site.up()] == [[1, 2, 3]] * 3

    run_simulated(main, clock)


def test_a_filter_deletes_the_same_points_everywhere(folder: Path) -> None:
    clock = SimulatedClock()

    async def main() -> None:
        async with ReplicaSite(1, folder, clock) as site:
            a, b = site.nodes["a"], site.nodes["b"]
            assert a.replica is not None
            assert b.replica is not None
            await a.replica.upsert_points(PointBatch([1, 2], vector(1) * 2))
            await site.until_alike(5)
            await b.replica.delete_matching(Filter())
            await a.replica.upsert_points(PointBatch([3], vector(3)))
            await site.until_alike(5)
            assert [sorted(node.shard.points) for node in site.up()] == [[3]] * 3

    run_simulated(main, clock)
