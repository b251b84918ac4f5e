"""What a node believes of another's shard holds for every point whose write was acknowledged."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from littoral.node.federation.leases import LEASE_S
from littoral.node.federation.summaries import Summaries
from littoral.testing.clock import SimulatedClock
from littoral.vectors.records import CollectionConfig, PointBatch, Record, VectorParams

CONFIG = CollectionConfig(vectors=VectorParams(2, "Euclid"))
ELSEWHERE = np.array([[9.0, 9.0]], np.float32)


class Shard:
    """Of a holder: what is in its store, and the epoch that the store has come to."""

    config = CONFIG

    def __init__(self) -> None:
        self.vectors: list[bytes] = []
        self.epoch = 1 << 40

    def apply(self, vectors: np.ndarray[Any, np.dtype[np.float32]]) -> PointBatch:
        """In the store; nobody was told."""
        self.vectors += [vector.tobytes() for vector in vectors]
        self.epoch += 1
        return PointBatch(list(range(len(vectors))), vectors.tobytes())

    async def info(self, **_: Any) -> Any:
        return SimpleNamespace(epoch=self.epoch, points_count=len(self.vectors), payload_schema={})

    async def scroll(self, **_: Any) -> tuple[list[Record], None]:
        return [Record(i, None, vector) for i, vector in enumerate(self.vectors)], None


class Two:
    """A holder and a node that asks it, which hears at once."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.holder, self.asker, self.shard = Summaries(self.clock), Summaries(self.clock), Shard()

    async def hear(self, epoch: int) -> None:
        self.asker.stale("frames", 0, "holder", epoch)

    async def refresh(self) -> None:
        self.clock.advance(1000.0)
        await self.holder.refresh("frames", 0, self.shard, self.hear)  # type: ignore[arg-type]

    def pull(self) -> None:
        vouched = self.holder.vouched(self.asker.wanted("frames", [0], "holder"), lambda _: LEASE_S)
        self.asker.take("frames", vouched, "holder", self.clock.monotonic())

    async def acknowledge(self, batch: PointBatch) -> None:
        epoch = self.holder.wrote("frames", 0, batch, CONFIG, self.shard.epoch)
        if epoch is not None:
            await self.hear(epoch)


@pytest.fixture
def two() -> Two:
    return Two()


async def test_a_summary_that_was_made_beside_a_write_leaves_no_older_one_believed(two: Two) -> None:
    await two.refresh()
    two.pull()
    assert two.asker.of("frames")[0].count == 0
    batch = two.shard.apply(ELSEWHERE)
    await two.refresh()
    await two.acknowledge(batch)
    assert 0 not in two.asker.of("frames")
    two.pull()
    assert two.asker.of("frames")[0].count >= 1


async def test_a_point_inside_the_latest_summary_may_lie_outside_of_an_older_one(two: Two) -> None:
    two.shard.apply(np.zeros((4, 2), np.float32))
    await two.refresh()
    two.pull()
    two.shard.vectors.clear()
    two.shard.apply(np.repeat(ELSEWHERE, 4, axis=0))
    await two.refresh()
    await two.acknowledge(two.shard.apply(ELSEWHERE))
    assert 0 not in two.asker.of("frames")


async def test_what_a_node_told_in_its_last_life_is_stale_with_its_first_write(two: Two) -> None:
    await two.refresh()
    two.pull()
    two.holder = Summaries(two.clock)
    two.shard.epoch += 1 << 40
    await two.acknowledge(two.shard.apply(ELSEWHERE))
    assert 0 not in two.asker.of("frames")
    await two.refresh()
    two.pull()
    assert two.asker.of("frames")[0].count == 1


async def test_points_inside_leave_it_believed(two: Two) -> None:
    two.shard.apply(np.repeat(ELSEWHERE, 4, axis=0))
    await two.refresh()
    two.pull()
    await two.acknowledge(two.shard.apply(ELSEWHERE))
    assert two.asker.of("frames")[0].count == 4


async def test_vectors_that_are_replaced_make_it_stale_too(two: Two) -> None:
    """They come as a list, with names or without."""
    two.shard.apply(np.zeros((1, 2), np.float32))
    await two.refresh()
    for vectors in ([ELSEWHERE[0].tobytes()], [{"": (2 * ELSEWHERE[0]).tobytes()}]):
        two.pull()
        assert two.asker.proven("frames") == {0}
        await two.acknowledge(PointBatch([0], vectors))  # type: ignore[arg-type]
        assert two.asker.proven("frames") == frozenset()
