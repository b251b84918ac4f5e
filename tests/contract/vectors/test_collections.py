"""The registry of collections: made, found again, removed, and what a crash may leave of that."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import ConflictError, InputError, NotFoundError, ShardError, TooLargeError, UnavailableError
from littoral.node.supervisor import embedded
from littoral.node.supervisor_link import SupervisorLink
from littoral.vectors.aliases import AliasChange
from littoral.vectors.collection_folders import DOOMED, STAGED
from littoral.vectors.collections import COLLECTION_COUNT_MAX, Collections
from littoral.vectors.layout import COLLECTION_FILE, COLLECTIONS
from littoral.vectors.records import CollectionConfig, VectorParams
from waiting import until_async

CONFIG = CollectionConfig(VectorParams(4, "Cosine"))
ROW = np.ones((1, 4))


class NoHosts:
    """Hosts that never come up, and what was asked of them."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    async def want(self, shard_folders: Iterable[str]) -> None:
        self.wanted = list(shard_folders)

    def restart_count(self, _: str) -> int:
        return 0

    def state_of(self, shard_folder: str) -> str:
        assert shard_folder.startswith(f"{COLLECTIONS}/frames/shard-0-")
        return "waiting, restarted 7 times, last: exit code 1"


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[SupervisorLink]:
    with embedded(tmp_path) as link:
        async with link:
            yield link


async def test_a_collection_is_found_again_with_its_points(tmp_path: Path, link: SupervisorLink) -> None:
    first = await Collections.open(tmp_path, link)
    made = await first.create("frames", CONFIG)
    await made.upsert([1], ROW, [{"a": 1}])
    await first.close()
    again = await Collections.open(tmp_path, link)
    assert again.names() == ["frames"]
    found = again.get("frames")
    assert (found.name, found.config, "frames" in again) == ("frames", CONFIG, True)
    assert [hit.payload for hit in await found.search(ROW[0])] == [{"a": 1}]
    await again.close()


async def test_searches_that_meet_are_answered_each_with_its_own_hits(tmp_path: Path, link: SupervisorLink) -> None:
    """As hits and as JSON, from several callers and in frames of all sizes: past what the socket takes at once too."""
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CONFIG)
    rows = np.random.default_rng(1).normal(size=(300, 4))
    await collection.upsert(list(range(300)), rows, [{"n": i, "text": "é" * i} for i in range(300)])
    queries = [collection.query(row, limit=1 + i % 100, offset=i % 3) for i, row in enumerate(rows)]
    alone = [await collection.search_batch([query]) for query in queries[:40]]
    together = await asyncio.gather(*(collection.search_batch([query]) for query in queries))
    assert together[:40] == alone
    told = await asyncio.gather(*(collection.search_told([query]) for query in queries))
    for (hits,), (text,) in zip(together, told, strict=True):
        found = [{"id": h.id, "version": h.version, "score": h.score, "payload": h.payload} for h in hits]
        assert json.loads(text) == found
    assert await collection.search_told(queries) == [text for (text,) in told]
    assert json.loads((await collection.search_told([collection.query(rows[0], with_payload=False)]))[0])[0].keys() == {
        "id",
        "version",
        "score",
    }
    assert (await collection.statistics()).query_batch_max > 1
    with pytest.raises(TooLargeError):
        await collection.search_told([collection.query(rows[0], limit=20_000)])
    await collections.close()


async def test_a_name_is_free_again_after_deletion_and_its_old_points_are_gone(
    tmp_path: Path, link: SupervisorLink
) -> None:
    collections = await Collections.open(tmp_path, link)
    old = await collections.create("frames", CONFIG)
    await old.upsert([1], ROW)
    await collections.delete("frames")
    assert collections.names() == []
    assert list((tmp_path / COLLECTIONS).iterdir()) == []
    with pytest.raises(NotFoundError, match="collection `frames` was deleted"):
        await old.count()
    new = await collections.create("frames", CollectionConfig(VectorParams(8, "Dot")))
    assert await new.count() == 0
    assert len(link.states) == 1
    await collections.close()


async def test_names_are_checked_and_taken_once(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    for name in ("", "..", ".", "a/b", "a b", "ü", "a" * 256, "a\n", ".new-x", "a\0"):
        with pytest.raises(InputError, match="must be 1 to 255 of"):
            await collections.create(name, CONFIG)
        with pytest.raises(InputError, match="must be 1 to 255 of"):
            collections.get(name)
    await collections.create("A_b-9", CONFIG)
    with pytest.raises(ConflictError, match="collection `A_b-9` exists already"):
        await collections.create("A_b-9", CONFIG)
    with pytest.raises(NotFoundError, match="collection `frames` does not exist"):
        collections.get("frames")
    with pytest.raises(NotFoundError, match="collection `frames` does not exist"):
        await collections.delete("frames")
    await collections.close()


async def test_what_a_crash_left_half_made_or_half_removed_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / COLLECTIONS
    for name in (f"{STAGED}0123", f"{DOOMED}4567"):
        (folder / name / "shard-0" / "edge").mkdir(parents=True)
        (folder / name / "shard-0" / "edge" / "data").write_text("x")
    hosts = NoHosts()
    collections = await Collections.open(tmp_path, hosts)
    assert (list(folder.iterdir()), collections.names(), hosts.wanted) == ([], [], [])


async def test_a_file_of_aliases_is_no_damaged_collection(tmp_path: Path, link: SupervisorLink) -> None:
    first = await Collections.open(tmp_path, link)
    await first.create("frames", CONFIG)
    await first.change_aliases([AliasChange("pictures", "frames")])
    await first.close()
    again = await Collections.open(tmp_path, link)
    assert (again.names(), again.alias_table.all(), again.damaged) == (["frames"], {"pictures": "frames"}, {})
    await again.close()


async def test_a_damaged_collection_is_told_and_the_others_serve(tmp_path: Path, link: SupervisorLink) -> None:
    first = await Collections.open(tmp_path, link)
    for name in ("good", "bad", "empty"):
        await first.create(name, CONFIG)
    await first.close()
    (tmp_path / COLLECTIONS / "bad" / COLLECTION_FILE).write_text('{"config": {"vectors": {"size": 0}}}')
    (tmp_path / COLLECTIONS / "empty" / COLLECTION_FILE).unlink()
    again = await Collections.open(tmp_path, link)
    assert again.names() == ["good"]
    assert sorted(again.damaged) == ["bad", "empty"]
    with pytest.raises(ShardError, match=r"collection.json`: .* at `\$.config.vectors.size`"):
        again.get("bad")
    with pytest.raises(ConflictError, match="exists already"):
        await again.create("bad", CONFIG)
    assert await again.get("good").count() == 0
    await again.delete("bad")
    assert await (await again.create("bad", CONFIG)).count() == 0
    await again.close()


async def test_a_collection_whose_host_does_not_come_up_is_not_made(tmp_path: Path) -> None:
    hosts = NoHosts()
    collections = await Collections.open(tmp_path, hosts)
    with pytest.raises(UnavailableError, match=r"no answer in 0\.1 s .*last: exit code 1") as raised:
        await collections.create("frames", CONFIG, deadline_s=0.1)
    assert raised.value.hint
    assert (collections.names(), hosts.wanted, list((tmp_path / COLLECTIONS).iterdir())) == ([], [], [])


async def test_there_is_an_end_to_the_number_of_collections(tmp_path: Path) -> None:
    collections = await Collections.open(tmp_path, NoHosts())
    collections._collections = dict.fromkeys(map(str, range(COLLECTION_COUNT_MAX)))  # type: ignore[arg-type]
    with pytest.raises(TooLargeError, match="64 collections are there, which is the most"):
        await collections.create("one-more", CONFIG)


async def test_calls_wait_for_a_host_that_is_restarted_and_epochs_go_on_growing(
    tmp_path: Path, link: SupervisorLink
) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CONFIG)
    before = await collection.upsert([1], ROW)
    (state,) = link.states.values()
    os.kill(state.pid or 0, signal.SIGKILL)
    assert await collection.count(deadline_s=60) == 1
    assert collection.epoch > before
    after = await collection.upsert([2], ROW, deadline_s=60)
    assert after > before
    await collections.close()


async def test_a_closed_collection_says_so_at_once(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CONFIG)
    (state,) = link.states.values()
    os.kill(state.pid or 0, signal.SIGSTOP)
    waiting = asyncio.create_task(collection.count(deadline_s=60))
    await asyncio.sleep(0)
    await collections.close()
    os.kill(state.pid or 0, signal.SIGCONT)
    for call in (waiting, collection.count(deadline_s=60)):
        with pytest.raises(UnavailableError, match="shard `frames` is closed here"):
            await asyncio.wait_for(call, 50)


async def test_a_stopped_host_costs_a_call_its_deadline_and_no_more(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CONFIG)
    (state,) = link.states.values()
    os.kill(state.pid or 0, signal.SIGSTOP)
    with pytest.raises(UnavailableError, match=r"no answer in 0\.05 s \(timed out; host: ready\)"):
        await collection.upsert([1], ROW, deadline_s=0.05)
    os.kill(state.pid or 0, signal.SIGCONT)
    assert await collection.count() in (0, 1)
    await collections.close()


async def test_a_batch_larger_than_a_frame_is_refused_before_it_is_sent(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CollectionConfig(VectorParams(4096, "Dot")))
    with pytest.raises(TooLargeError, match="at most 16777216"):
        await collection.upsert(list(range(1024)), np.ones((1024, 4096), np.float32))
    assert await collection.count() == 0
    await collections.close()


async def test_vectors_come_in_many_forms_and_wrong_ones_are_named(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CollectionConfig(VectorParams(2, "Dot")))
    for form in ([[1, 2]], [(1.0, 2.0)], np.array([[1, 2]], np.int8), np.array([[1, 2]], np.float16), [np.ones(2)]):
        await collection.upsert([1], form)
    for wrong, said in (
        ([[1, 2], [3]], "point `8`: vector has 1 numbers, expected 2"),
        ([[1, 2], ["3", "4"]], "point `8`: vector is no list of real numbers"),
        ([[1, 2], [None, 4]], "point `8`: vector is no list of real numbers"),
        ([[1, 2], [[3], [4]]], "point `8`: vector has shape"),
        ([[True, False], [True, True]], "point `7`: vector is no list of real numbers"),
        ([[1, 2], 3], "point `8`: vector has shape"),
        ([[1, 2]], "2 ids, 1 vectors"),
        ([[1j, 2], [3, 4]], "point `7`: vector is no list of real numbers"),
    ):
        with pytest.raises(InputError) as raised:
            await collection.upsert([7, 8], wrong)
        assert said in raised.value.message
    assert await collection.count() == 1
    await collections.close()


async def test_many_queries_are_answered_in_order(tmp_path: Path, link: SupervisorLink) -> None:
    collections = await Collections.open(tmp_path, link)
    collection = await collections.create("frames", CollectionConfig(VectorParams(2, "Euclid")))
    await collection.upsert(list(range(200)), [[i, 0] for i in range(200)])
    found = await collection.search_batch([collection.query([i, 0], limit=1) for i in range(200)])
    assert [hits[0].id for hits in found] == list(range(200))
    await until_async(lambda: link.state_of("collections/none/shard-0") == "not started")
    await collections.close()
