"""Where answers are kept, over a plain collection with its shard host, and over one that is spread over two nodes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kept_answers import NOW_S, SIZE, SetClock, asked, digest, entry, turned, vector
from littoral.answers.entries import ANSWER_BYTES_MAX
from littoral.answers.store import AnswerStore, StoreBounds
from littoral.errors import InputError, LittoralError, ShardError
from littoral.node.supervisor import embedded
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.records import CollectionConfig, VectorParams
from spread_nodes import spread_nodes, spread_table


class Rig:
    """A collection, and stores over it one after the other."""

    def __init__(self, runner: asyncio.Runner, points: Collection, folder: Path) -> None:
        self.runner = runner
        self.points = points
        self.folder = folder
        self.clock = SetClock()

    @contextlib.asynccontextmanager
    async def store(self, points: Any = None, **bounds: Any) -> AsyncIterator[AnswerStore]:
        given = {"stale_s": 600, "hot_age_max_s": 1e9} | bounds
        store = await AnswerStore.open(points or self.points, self.folder, StoreBounds(**given), self.clock)
        try:
            yield store
        finally:
            await store.close()

    def run(self, check: Callable[[AnswerStore], Awaitable[None]], **bounds: Any) -> None:
        """Over a collection with nothing in it."""

        async def checked() -> None:
            self.clock.now_s = NOW_S
            async with self.store(**bounds) as store:
                await store._room.looked_through()
                await store.purge(everything=True)
                await check(store)

        self.runner.run(checked())


@contextlib.asynccontextmanager
async def plain(folder: Path) -> AsyncIterator[Collection]:
    with embedded(folder) as link:
        async with link:
            collections = await Collections.open(folder, link)
            yield await collections.create("answers", CollectionConfig(VectorParams(SIZE, "Cosine")))
            await collections.close()


@contextlib.asynccontextmanager
async def spread(folder: Path) -> AsyncIterator[Collection]:
    async with spread_nodes(folder, ["a", "b"], {"answers": spread_table(SIZE, "Cosine", shards=2)}) as nodes:
        yield nodes["a"]["answers"]


@pytest.fixture(scope="module", params=[plain, spread], ids=["plain", "spread"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("answers")
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        points = runner.run(stack.enter_async_context(request.param(folder)))
        try:
            yield Rig(runner, points, folder / "beside")
        finally:
            runner.run(stack.aclose())


def test_an_answer_is_told_by_the_bytes_that_were_kept(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        kept = entry(1, tags=("a", "b"), cost_micro=7, author=b"who", policy_version="3", kind="completion")
        assert await store.keep(kept, vector(1))
        store.hot.clear()
        assert await store.exact(asked(kept)) == kept
        assert await store.exact(asked(kept)) == kept
        assert store.hot.statistics().hits == 1
        (near,) = await store.nearest(asked(entry(2)), turned(1, 0.1))
        assert near.entry == kept
        assert 0.9 < near.similarity < 1

    rig.run(check)


def test_nobody_is_told_what_is_of_another_tenant_partition_or_digest(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        kept = entry(1, tenant="one")
        await store.keep(kept, vector(1))
        same_half = kept.exact[:16] + digest("another")[16:]
        for other in (
            asked(kept)._replace(tenant="two"),
            asked(kept)._replace(partition=digest("other")[:16]),
            asked(kept)._replace(exact=same_half),
        ):
            store.hot.clear()
            assert await store.exact(other) is None
            assert await store.stale(other, 1e6) is None
        assert await store.exact(asked(kept)) == kept
        assert await store.exact(asked(kept)._replace(tenant="two")) is None
        assert await store.nearest(asked(kept)._replace(partition=digest("other")[:16]), vector(1)) == []
        assert await store.nearest(asked(kept)._replace(tenant="two"), vector(1)) == []

    rig.run(check)


def test_what_has_no_vector_yet_is_found_by_its_request_and_placed_later(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        first, other = entry(1, is_unplaced=True), entry(2, is_unplaced=True, partition=digest("other")[:16])
        for one in (first, other, entry(3)):
            await store.keep(one, vector(9))
        await store.observe(first.id, 0.9, is_correct=True, author=b"who")
        store.hot.clear()
        assert await store.exact(asked(first)) == first
        assert await store.unplaced(asked(first), 5) == [first]
        assert {one.id for one in await store.unplaced(asked(first), 5, is_elsewhere=True)} == {first.id, other.id}
        assert await store.place(first, vector(1))
        assert await store.unplaced(asked(first), 5) == []
        (near,) = await store.nearest(asked(first), vector(1), 1)
        assert near.similarity == pytest.approx(1, abs=1e-3)
        assert near.entry == msgspec.structs.replace(first, is_unplaced=False)
        assert len(near.observations) == 1, "what was observed of it stays"
        await store.purge(id=other.id)
        assert not await store.place(other, vector(2)), "it was purged meanwhile"
        assert await store.entry(other.id) is None

    rig.run(check)


def test_what_has_expired_is_told_only_where_somebody_asks_for_stale(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        late, never = entry(1, expires_at_s=NOW_S + 10), entry(2, expires_at_s=0)
        others = [entry(n, expires_at_s=NOW_S + 10) for n in range(3, 8)]
        for number, one in enumerate((late, never, *others), 1):
            await store.keep(one, turned(1, number / 1000) if one is not never else turned(1, 0.5))
        assert await store.exact(asked(late)) == late
        rig.clock.now_s = NOW_S + 10
        assert await store.exact(asked(late)) is None
        assert await store.stale(asked(late), 5) == late
        assert [near.entry for near in await store.nearest(asked(late), vector(1), 2)] == [never]
        assert late in [near.entry for near in await store.nearest(asked(late), vector(1), 2, stale_s=5)]
        rig.clock.now_s = NOW_S + 20
        assert await store.stale(asked(late), 5) is None
        await store.tend()
        assert store.stats().entries == 7
        rig.clock.now_s = NOW_S + 611
        await store.tend()
        assert (store.stats().entries, store.stats().expired) == (1, 6)
        assert await rig.points.count() == 1

    rig.run(check)


def test_labels_stay_with_their_entry(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        kept = entry(1)
        await store.keep(kept, vector(1))
        assert await store.observe(kept.id, 0.75, True)
        await asyncio.gather(*(store.observe(kept.id, 0.5, n % 2 == 0, author=b"author") for n in range(20)))
        assert await store.observe(kept.id, 0.25, False, author=b"another")
        assert await store.keep(entry(1, answer=b"{}"), vector(1))
        near = await store.entry(kept.id)
        assert near is not None
        assert near.entry.answer == b"{}"
        told = near.observations.similarities.tolist()
        assert told == [0.75, *[0.5] * 20, 0.25]
        assert near.labels.confirmed_by(without=b"author") == 1
        assert not await store.observe(entry(2).id, 0.5, True)
        assert (store.stats().observed, store.stats().lost) == (22, 1)
        with pytest.raises(InputError, match="id of an answer has 3 bytes, must be 16"):
            await store.observe(b"abc", 0.5, True)

    rig.run(check)


def test_curated_entries_win(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        learned, curated = entry(1), entry(1, tier="curated", answer=b'{"curated":1}')
        twin = entry(2, tier="curated")
        await store.keep(learned, vector(1))
        store.hot.keep_body("", b"body", learned, b"told")
        assert await store.keep(curated, vector(1))
        assert store.hot.find_body("", b"body") is None
        assert not await store.keep(learned, vector(1))
        assert store.stats().outranked == 1
        assert await store.exact(asked(learned)) == curated
        await store.keep(twin, vector(3))
        await store.keep(entry(3), vector(3))
        assert [near.entry.tier for near in await store.nearest(asked(twin), vector(3), 2)] == ["curated", "learned"]
        rig.clock.now_s = NOW_S + 3600
        assert await store.keep(entry(1, expires_at_s=NOW_S + 9000), vector(1))

    rig.run(check)


@pytest.mark.parametrize(
    "what",
    [{"tags": ("x", "y")}, {"model": "m"}, {"policy_version": "2"}, {"tenant": "t"}, {"id": entry(1).id}],
    ids=str,
)
def test_a_purge_takes_what_it_names_and_nothing_else(rig: Rig, what: dict[str, Any]) -> None:
    async def check(store: AnswerStore) -> None:
        doomed = entry(1, tags=("x",), model="m", policy_version="2", tenant="t")
        left = entry(2, tags=("z",))
        for number, one in enumerate((doomed, left)):
            await store.keep(one, vector(number))
            assert await store.exact(asked(one)) == one
            store.hot.keep_body(one.tenant, b"body %d" % number, one, b"told")
        assert await store.purge(**what) == 1
        assert await store.exact(asked(doomed)) is None
        assert store.hot.find_body("t", b"body 0") is None
        assert await store.exact(asked(left)) == left
        assert store.hot.find_body("", b"body 1") is not None
        assert await store.purge(**what) == 0
        assert store.stats().entries == await rig.points.count() == 1

    rig.run(check)


def test_a_purge_must_say_what(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        for wrong in ({}, {"everything": True, "model": "m"}):
            with pytest.raises(InputError, match="purge: needs an id, tags, a model, a policy version or a tenant, or"):
                await store.purge(**wrong)  # type: ignore[arg-type]

    rig.run(check)


def test_a_purge_wins_over_answers_that_are_being_kept(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        marks = [store.mark] * 8
        keeping = [asyncio.create_task(store.keep(entry(n, tags=("x",)), vector(n))) for n in range(8)]
        await asyncio.sleep(0)
        purging = asyncio.create_task(store.purge(tags=("x",)))
        await asyncio.sleep(0)
        during = asyncio.create_task(store.keep(entry(9, tags=("x",)), vector(9)))
        await asyncio.gather(purging, during, *keeping)
        assert await rig.points.count() == store.stats().entries == 0
        assert not any([await store.keep(entry(n, tags=("x",)), vector(n), mark=m) for n, m in enumerate(marks)])
        assert await store.keep(entry(7, tags=("y",)), vector(7), mark=marks[0])
        assert await store.keep(entry(8, tags=("x",)), vector(8), mark=store.mark)
        assert await rig.points.count() == 2

    rig.run(check)


def test_what_saves_least_leaves_first(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        await store.keep(entry(0, tier="curated", cost_micro=1), vector(0))
        for number in range(1, 20):
            await store.keep(entry(number, cost_micro=100 if number != 5 else 10_000), vector(number))
        for _ in range(3):
            store.used(entry(7))
        for number in range(20, 34):
            await store.keep(entry(number, cost_micro=100), vector(number))
        left = [n for n in range(34) if await store.entry(entry(n).id) is not None]
        assert {0, 5, 7, 33} <= set(left)
        assert len(left) == await rig.points.count() == store.stats().entries == 20
        assert store.stats().evicted == 14

    rig.run(check, entries_max=20)


def test_bytes_are_bounded_too(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        for number in range(8):
            await store.keep(entry(number, answer=b" " * 50_000), vector(number))
        await store.tend()
        assert store.stats().bytes <= 200_000
        assert 2 <= await rig.points.count() <= 3

    rig.run(check, bytes_max=200_000)


def test_what_cannot_be_kept_is_refused_and_counted(rig: Rig) -> None:
    class FullDisk:
        def __getattr__(self, name: str) -> Any:
            return getattr(rig.points, name)

        async def upsert(self, *_: object) -> int:
            raise ShardError("disk of `x` has 1 MiB free, a write needs 128 MiB")

    async def check(store: AnswerStore) -> None:
        kept = entry(1)
        await store.keep(kept, vector(1))
        for wrong in (
            entry(2, exact=b"short"),
            entry(2, answer=b"\xff"),
            entry(2, answer=b" " * (ANSWER_BYTES_MAX + 1)),
        ):
            assert not await store.keep(wrong, vector(2))
            with pytest.raises(LittoralError):
                await store.put(wrong, vector(2))
        assert store.stats().refused == 3
        async with rig.store(FullDisk()) as full:
            assert not await full.keep(entry(2), vector(2))
            assert full.stats().refused == 1
            assert "1 MiB free" in full.last_refusal
            assert await full.exact(asked(kept)) == kept
            with pytest.raises(ShardError):
                await full.put(entry(2), vector(2))

    rig.run(check)


def test_what_is_kept_is_known_again_after_a_restart_and_after_a_kill(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        for number in range(30):
            await store.keep(entry(number), vector(number))
        before = store.stats()
        assert before.entries == 30
        await store.close()
        async with rig.store() as again:
            await again._room.looked_through()
            assert not again.stats().is_behind
            assert again.stats()[:2] == before[:2]
            await again.keep(entry(40), vector(40))
            async with rig.store() as beside:  # as after kill -9: the one before has not said that it ended
                assert await beside.exact(asked(entry(40))) == entry(40)
                await beside._room.looked_through()
                assert not beside.stats().is_behind
                assert beside.stats()[:2] == again.stats()[:2]

    rig.run(check)


def test_all_entries_are_gone_through_page_by_page(rig: Rig) -> None:
    async def check(store: AnswerStore) -> None:
        for number in range(7):
            await store.keep(entry(number, tags=("odd",) if number % 2 else ()), vector(number))
        found, offset = [], None
        while True:
            nears, offset = await store.scroll(offset=offset, limit=3)
            found += [near.entry for near in nears]
            if offset is None:
                break
        assert sorted(found, key=lambda one: one.id) == found
        assert {one.id for one in found} == {entry(n).id for n in range(7)}
        odd, _ = await store.scroll(tag="odd")
        assert {near.entry.id for near in odd} == {entry(n).id for n in (1, 3, 5)}

    rig.run(check)
