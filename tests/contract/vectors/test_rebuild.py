"""A search graph that is built beside reads and writes."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.supervisor import embedded
from littoral.vectors import frames
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.queries import PayloadChange, SearchParams
from littoral.vectors.rebuild import Rebuild
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.tuning import HnswTuning, OptimizerTuning

SIZE = 16
COUNT = 1000
CONFIG = CollectionConfig(
    VectorParams(SIZE, "Cosine"),
    hnsw=HnswTuning(m=8, ef_construct=32, full_scan_threshold=1),
    optimizers=OptimizerTuning(indexing_threshold=1, default_segment_number=1),
)


def vectors(count: int = COUNT, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype("<f4")


@pytest.fixture
async def collection(tmp_path: Path) -> AsyncIterator[Collection]:
    with embedded(tmp_path) as link:
        async with link:
            collections = await Collections.open(tmp_path, link)
            yield await collections.create("points", CONFIG)
            await collections.close()


async def contents(collection: Collection) -> dict[Any, Any]:
    records, _ = await collection.scroll(limit=10_000, with_vector=True)
    return {record.id: (record.payload, record.vector) for record in records}


async def test_writes_and_searches_go_on_meanwhile(collection: Collection) -> None:
    base, more = vectors(), vectors(300, seed=2)
    payloads = [{"g": i % 5} for i in range(COUNT)]
    await collection.upsert(range(COUNT), base, payloads)
    await collection.create_index("g", "integer")
    building = asyncio.create_task(collection.optimize())
    found_at_once = 0
    for i in range(300):
        await collection.upsert([COUNT + i], more[i : i + 1], [{"g": 9}])
        (hit,) = await collection.search(more[i], limit=1)
        found_at_once += hit.id == COUNT + i
    await collection.delete([1, 2])
    await collection.delete_matching({"must": [{"key": "g", "match": {"value": 3}}]})
    await collection.change_payload(PayloadChange("merge", ids=[4], payload={"late": True}))
    before = await contents(collection)
    await building
    assert found_at_once == 300
    assert await contents(collection) == before
    assert (before[4][0], len(before)) == ({"g": 4, "late": True}, COUNT - 2 - COUNT // 5 + 300)
    info = await collection.info()
    assert info.indexed_vectors_count > COUNT // 2
    assert not info.is_optimizing
    assert info.payload_schema["g"].data_type == "integer"
    exact = await collection.search(base[7], limit=10, params=SearchParams(exact=True))
    (nearest,) = await collection.search(base[7], limit=1)
    assert nearest.id == exact[0].id


async def test_the_epoch_grows_and_a_second_one_joins(collection: Collection) -> None:
    await collection.upsert(range(COUNT), vectors())
    before = collection.epoch
    first, second = await asyncio.gather(collection.optimize(), collection.optimize())
    assert first > before
    assert second >= first
    assert await collection.optimize() >= second  # nothing is left to do
    assert await collection.count() == COUNT


async def test_it_comes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITTORAL_OPTIMIZE_POINTS", "500")
    with embedded(tmp_path) as link:
        async with link:
            collections = await Collections.open(tmp_path, link)
            collection = await collections.create("points", CONFIG)
            await collection.upsert(range(COUNT), vectors(), acknowledge="applied")

            async with asyncio.timeout(120):
                while (await collection.info()).indexed_vectors_count < COUNT // 2:
                    await collection.count()
            await collections.close()


def filled(folder: Path) -> Shard:
    folder.mkdir()
    shard = Shard.open(folder, CONFIG, create=True)
    shard.upsert(PointBatch(list(range(COUNT)), vectors().tobytes()))
    return shard


def run(steps: Any) -> None:
    for _ in steps:
        pass


def test_what_a_crash_leaves_is_cleared(tmp_path: Path) -> None:
    """Before the exchange the old store counts, after it the new one."""
    shard = filled(tmp_path / "shard")
    rebuild = Rebuild(shard)
    run(rebuild.begin_steps())
    shard.flush()
    half = tmp_path / "half"
    with contextlib.suppress(
        shutil.Error
    ):  # the builder moves its files meanwhile; what is left of them counts for nothing
        shutil.copytree(shard.folder, half)
    rebuild.stop()
    shard.close()
    with Shard.open(half, CONFIG) as reopened:
        assert reopened.count() == COUNT
        assert reopened.store_folder.name == "edge"
        assert [path.name for path in half.glob("edge*")] == ["edge"]


def test_the_exchange_is_for_good(tmp_path: Path) -> None:
    shard = filled(tmp_path / "shard")
    rebuild = Rebuild(shard)
    run(rebuild.begin_steps())
    while not rebuild.has_ended:
        assert shard.count() == COUNT
    shard.delete([1, 2, 3])
    rebuild.note(frames.Delete(call=0, ids=[1, 2, 3]), 100)
    run(rebuild.finish_steps())
    name = shard.store_folder.name
    assert name != "edge"
    assert [path.name for path in shard.folder.glob("edge*")] == [name]
    shard.close()
    with Shard.open(shard.folder, CONFIG) as reopened:
        assert reopened.store_folder.name == name
        assert reopened.info().indexed_vectors_count > 0
        assert reopened.count() == COUNT - 3
