"""One suite, two shards: the store in this process, and a collection whose points lie in a shard host."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.node.supervisor import embedded
from littoral.vectors.collection import Collection
from littoral.vectors.collections import Collections
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import PayloadChange, SearchQuery
from littoral.vectors.records import CollectionConfig, Hit, PointBatch, Record, ShardInfo, VectorParams
from littoral.vectors.shard import Shard
from spread_nodes import settled, spread_nodes, spread_table


class InProcess:
    """`Shard`, called as `Collection` is."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def upsert(self, ids: Sequence[Any], vectors: Any, payloads: Any = None) -> None:
        with np.errstate(over="ignore"):
            packed = np.asarray(vectors).astype("<f4").tobytes()
        self._shard.upsert(PointBatch(list(ids), packed, payloads))

    def search(self, vector: Any, *, matching: Any = None, **options: Any) -> list[Hit]:
        with np.errstate(over="ignore"):
            packed = np.asarray(vector).astype("<f4").tobytes()
        return self._shard.search([SearchQuery(packed, filter=parse_filter(matching), **options)])[0]

    def delete(self, ids: Sequence[Any]) -> None:
        self._shard.delete(ids)

    def delete_matching(self, matching: Any) -> None:
        self._shard.delete_matching(parse_filter(matching))

    def change_payload(self, change: PayloadChange) -> None:
        self._shard.change_payload(change)

    def create_index(self, field: str, schema: Any) -> None:
        self._shard.create_index(field, schema)

    def retrieve(self, ids: Sequence[Any], **options: Any) -> list[Record]:
        return self._shard.retrieve(ids, **options)

    def scroll(self, *, matching: Any = None, **options: Any) -> Any:
        return self._shard.scroll(matching=parse_filter(matching), **options)

    def count(self, matching: Any = None) -> int:
        return self._shard.count(parse_filter(matching))

    def info(self) -> ShardInfo:
        return self._shard.info()

    def optimize(self) -> None:
        self._shard.optimize()


class InHost:
    """`Collection`, whose coroutines run in a loop of another thread."""

    def __init__(self, collection: Collection, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._collection = collection
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._collection, name)
        return lambda *arguments, **options: self._run(method(*arguments, **options))


@contextlib.contextmanager
def loop_thread() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def shards_in_process(folder: Path) -> Iterator[Callable[[VectorParams], Any]]:
    with contextlib.ExitStack() as opened:

        def make(params: VectorParams) -> InProcess:
            own = folder / f"shard-{params.distance}-{params.size}"
            own.mkdir()
            return InProcess(opened.enter_context(Shard.open(own, CollectionConfig(params), create=True)))

        yield make


@contextlib.contextmanager
def shards_in_hosts(folder: Path) -> Iterator[Callable[[VectorParams], Any]]:
    with loop_thread() as run, embedded(folder) as link:
        run(link.__aenter__())
        collections = run(Collections.open(folder, link))

        def make(params: VectorParams) -> InHost:
            name = f"of-{params.distance}-{params.size}"
            return InHost(run(collections.create(name, CollectionConfig(params))), run)

        yield make
        run(collections.close())
        run(link.__aexit__())


@contextlib.contextmanager
def shards_on_nodes(folder: Path) -> Iterator[Callable[[VectorParams], Any]]:
    """Collections of two shards, one on each of two nodes."""
    with loop_thread() as run:
        opened = spread_nodes(folder, ["a", "b"], {}, deadline_ms=20_000)
        nodes = run(opened.__aenter__())

        def make(params: VectorParams) -> InHost:
            name = f"of-{params.distance}-{params.size}"
            table = spread_table(params.size, params.distance, shards=2, replicas=1)
            for node in nodes.values():
                run(node.federation.add(name, table))
            run(settled(nodes))
            return InHost(nodes["b"][name], run)

        yield make
        run(opened.__aexit__(None, None, None))


@pytest.fixture(params=[shards_in_process, shards_in_hosts, shards_on_nodes], ids=["in_process", "in_host", "on_nodes"])
def make_shard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[VectorParams], Any]]:
    """An empty shard of the given vectors, each time it is called."""
    with request.param(tmp_path) as make:
        yield make
