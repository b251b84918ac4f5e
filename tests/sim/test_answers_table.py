"""The table of answers beside a collection, on a disk that loses power: after every start it says what is kept."""

import asyncio
from random import Random
from typing import Any

import pytest

from kept_answers import NOW_S, SetClock, digest, entry, vector
from littoral.answers.entries import point_id
from littoral.answers.eviction import Row, Table
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.errors import ArtifactError
from littoral.testing.disk import SimulatedDisk
from littoral.vectors.filters import Filter
from littoral.vectors.records import Record

SEEDS = 40
STEPS = 60


class PointsInMemory:
    """A collection whose writes are durable, as those of a shard host are; it finds by id and scrolls."""

    def __init__(self) -> None:
        self.points: dict[str, dict[str, Any]] = {}

    async def create_index(self, *_: object) -> int:
        return 0

    async def upsert(self, ids: Any, _vectors: Any, payloads: Any) -> int:
        self.points |= dict(zip(ids, payloads, strict=True))
        return 0

    async def delete(self, ids: Any) -> int:
        for one in ids:
            self.points.pop(one, None)
        return 0

    async def delete_matching(self, matching: Filter) -> int:
        assert matching == Filter(must=[])
        self.points.clear()
        return 0

    async def retrieve(self, ids: Any, **_: Any) -> list[Record]:
        return [Record(one, self.points[one]) for one in ids if one in self.points]

    async def scroll(self, *, limit: int, offset: Any, **_: Any) -> Any:
        ids = [one for one in sorted(self.points) if offset is None or one >= offset]
        await asyncio.sleep(0)
        page = [Record(one, self.points[one]) for one in ids[:limit] if one in self.points]
        return page, ids[limit] if len(ids) > limit else None

    async def count(self, _matching: Any = None) -> int:
        return len(self.points)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_every_start_the_table_says_what_is_kept(seed: int) -> None:
    asyncio.run(_live(Random(seed), SimulatedDisk(seed)))


async def _live(rng: Random, disk: SimulatedDisk) -> None:
    points: Any = PointsInMemory()
    for _ in range(6):
        disk.cut_at = disk.steps + rng.randrange(1, 8) if rng.random() < 0.7 else 0
        disk.full_at = disk.steps + rng.randrange(1, 4) if rng.random() < 0.2 else 0
        store = await AnswerStore.open(points, None, StoreBounds(entries_max=50), SetClock(), disk=disk)  # type: ignore[arg-type]
        for _ in range(STEPS):
            await _step(rng, store)
        await store._room.looked_through()
        assert (store.stats().entries, store.stats().is_behind) == (len(points.points), False)
        assert store.stats().entries <= 50
        sizes = sum(row["bytes"] for row in points.points.values())
        assert store.stats().bytes == sizes + 1600 * len(points.points)
        if rng.random() < 0.5:
            await store.close()
        else:
            await _killed(store)
        if rng.random() < 0.5:
            disk.powered_again()
        disk.cut_at = disk.full_at = 0


async def _step(rng: Random, store: AnswerStore) -> None:
    number = rng.randrange(120)
    match rng.randrange(40):
        case 0:
            await store.tend()
        case 1:
            await store.purge(everything=True)
        case _:
            assert await store.keep(entry(number, answer=b"x" * rng.randrange(100)), vector(number))


async def _killed(store: AnswerStore) -> None:
    """Nothing more is written."""
    for task in (store._tending, store._room._looking):
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


class PointsHeldUp(PointsInMemory):
    """Whose payloads are read page by page only where that may go on."""

    def __init__(self, points: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self.points = points
        self.is_read, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def scroll(self, *, limit: int, offset: Any, with_payload: Any = True, **more: Any) -> Any:
        if with_payload is not False:
            self.is_read.set()
            await self.may_go_on.wait()
        return await super().scroll(limit=limit, offset=offset, with_payload=with_payload, **more)


def test_after_a_kill_all_is_counted_at_once_and_nothing_expires_by_what_the_file_says() -> None:
    asyncio.run(_killed_with_more())


async def _killed_with_more() -> None:
    """Of 2,100 entries the file does not know the last hundred, three have gone, and one was made anew."""
    before, disk, clock, bounds = PointsInMemory(), SimulatedDisk(1), SetClock(), StoreBounds(stale_s=0)
    store = await AnswerStore.open(before, None, bounds, clock, disk=disk)  # type: ignore[arg-type]
    for number in range(2000):
        assert await store.keep(entry(number), vector(number))
    await store.close()
    store = await AnswerStore.open(before, None, bounds, clock, disk=disk)  # type: ignore[arg-type]
    for number in range(2000, 2100):
        assert await store.keep(entry(number), vector(number))
    for number in range(3):
        before.points.pop(point_id(entry(number).id))
    again = entry(7, expires_at_s=NOW_S + 7200)
    assert await store.keep(again, vector(7))
    await _killed(store)
    points = PointsHeldUp(before.points)
    clock.now_s += 3700
    store = await AnswerStore.open(points, None, bounds, clock, disk=disk)  # type: ignore[arg-type]
    await asyncio.wait_for(points.is_read.wait(), 60)
    assert (store.stats().entries, store.stats().is_behind) == (2097, False)
    assert store.stats().bytes == sum(row["bytes"] for row in points.points.values()) + 1600 * 2097
    await store.tend()
    assert store.stats().entries == 2097, "nothing expires while the file may say what was before"
    points.may_go_on.set()
    await store._room.looked_through()
    await store.tend()
    assert list(points.points) == [point_id(again.id)]
    await store.close()


def test_a_table_is_what_was_put_into_it() -> None:
    rng, table, known = Random(1), Table(), dict[bytes, Row]()
    table.look_through()
    for _ in range(12_000):
        entry_id = digest(str(rng.randrange(6000)))[:16]
        if rng.random() < 0.3 and known:
            gone = [entry_id, *(one for one, _ in zip(known, range(2), strict=False))]
            table.remove(gone)
            known = {one: row for one, row in known.items() if one not in gone}
        else:
            known[entry_id] = row = Row(rng.randrange(3), 1.0, rng.randrange(1, 1000))
            table.put(entry_id, row)
    again = Table.unpack(table.pack())
    for one in (table, again):
        assert one.count == len(known)
        assert one.bytes == sum(row.size_bytes for row in known.values())
        assert all(entry_id in one for entry_id in known)
        assert set(one.expired(1, 10**6)) == {key for key, row in known.items() if row.expires_at_s == 1}
        assert set(one.least(10**6)) == set(known)
    assert table.forget_unseen() == 0
    assert again.forget_unseen() == len(known)
    assert (again.count, again.bytes) == (0, 0)


@pytest.mark.parametrize("at", [0, 5, 30, 90, -1])
def test_a_damaged_table_is_told_from_a_whole_one(at: int) -> None:
    table = Table()
    for number in range(10):
        table.put(number.to_bytes(16, "big"), Row(0, 1.0, 10))
    packed = bytearray(table.pack())
    packed[at] ^= 1
    with pytest.raises(ArtifactError, match="table of answers: .* bytes are damaged, or of another version"):
        Table.unpack(bytes(packed))
    with pytest.raises(ArtifactError):
        Table.unpack(table.pack()[:-1])


def test_what_was_of_use_long_ago_gives_way() -> None:
    table = Table()
    for number in range(3):
        table.put(bytes([number]) * 16, Row(0, 100.0, 1000))
    for _ in range(5):
        table.used(bytes(16))
    for number in range(3, 40):
        (least,) = table.least(1)
        table.remove([least])
        table.put(bytes([number]) * 16, Row(0, 100.0, 1000))
    assert bytes(16) not in table
