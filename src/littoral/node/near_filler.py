"""Lists for near answers, made off the path of any request: one exact search at a time, and never most of the time."""

import asyncio
import contextlib
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError
from littoral.vectors.collection import Collection, QueryOptions
from littoral.vectors.queries import SearchParams
from littoral.vectors.records import Distance
from littoral.vectors.result_cache import ResultCache, Scope

__all__ = ["Asked", "NearFiller"]

WAITING_MAX = 64
LIST_MIN = 32
LIST_MAX = 256
LIST_FACTOR = 4
BUSY_SHARE = 0.2
"""Of the time in which a shard host works for these lists."""


class Asked(NamedTuple):
    """A query that was not answered by a list. options: without limit, offset and threshold; wanted: hits it needs."""

    collection: Collection
    scope: Scope
    shape: bytes
    vector: npt.NDArray[np.float32]
    distance: Distance
    options: QueryOptions
    wanted: int


class NearFiller:
    """For one event loop. The latest queries are served; older ones that wait too long are dropped."""

    def __init__(self, results: ResultCache, clock: Clock = SYSTEM) -> None:
        self.filled_count = 0
        self.dropped_count = 0
        self._results = results
        self._clock = clock
        self._waiting: OrderedDict[tuple[Scope, bytes, bytes], Asked] = OrderedDict()
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False

    def offer(self, asked: Asked) -> None:
        """A list for this query would be of use."""
        if self._is_closed or not self._results.has_near:
            return
        self._waiting[asked.scope, asked.shape, asked.vector.tobytes()] = asked
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
            self.dropped_count += 1
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="littoral-near-lists")

    async def close(self) -> None:
        self._is_closed = True
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _run(self) -> None:
        while self._waiting:
            _, asked = self._waiting.popitem()
            began = self._clock.monotonic()
            try:
                await self._fill(asked)
            except LittoralError:  # the collection is gone or its host restarts: the next query asks again
                self.dropped_count += 1
            await asyncio.sleep((self._clock.monotonic() - began) * (1 / BUSY_SHARE - 1))

    async def _fill(self, asked: Asked) -> None:
        collection, scope = asked.collection, asked.scope
        if self._results.scope(collection, scope.tenant) != scope:
            return
        if self._results.is_proven(scope, asked.shape, asked.vector, asked.distance, asked.wanted):
            return  # by a list that was made since it was asked
        count = min(LIST_MAX, max(LIST_MIN, LIST_FACTOR * asked.wanted))
        options: QueryOptions = {
            **asked.options,
            "limit": count,
            "with_vector": True,
            "params": SearchParams(exact=True),
        }
        hits = await collection.search(asked.vector, **options)
        if self._results.scope(collection, scope.tenant) == scope:
            distance = asked.distance
            self._results.keep_near(scope, asked.shape, asked.vector, distance, hits, count)
            self.filled_count += 1
