"""Answers that were kept without the vector of their question: nobody had asked anything else in their partition.

Each turn of a conversation is a partition of its own, most of which are never asked twice: a vector is made when there
is something to compare it with.
"""

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from littoral.answers.asked import Asked
from littoral.answers.judges import Embed
from littoral.answers.store import AnswerStore
from littoral.clock import Clock
from littoral.errors import LittoralError

__all__ = ["Unplaced"]

AGAIN_S = 60.0
"""Another node may have kept one meanwhile."""
AT_ONCE_MAX = 8
ELSEWHERE_MAX = 64
PARTITIONS_MAX = 4096


class Unplaced:
    """Of one tenant's store. For one event loop."""

    def __init__(self, store: AnswerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._looked: OrderedDict[bytes, float] = OrderedDict()
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def kept(self, partition: bytes) -> None:
        """One more of it has no vector: the next look finds it."""
        self._looked.pop(partition, None)

    async def place(self, asked: Asked, embed: Embed) -> None:
        """Those of its partition have their vectors when it returns, `AT_ONCE_MAX` at most; a look is enough for a
        while. Raises LittoralError.
        """
        if (turn := self._turns.get(asked.partition)) is None:
            if not self._is_due(asked.partition):
                return
            turn = self._turns[asked.partition] = asyncio.Lock()
        async with turn:  # who comes meanwhile is compared with what is being placed, too
            if self._is_due(asked.partition):
                await self._look(asked, embed)

    def _is_due(self, partition: bytes) -> bool:
        return self._clock.monotonic() - self._looked.get(partition, -AGAIN_S) >= AGAIN_S

    async def _look(self, asked: Asked, embed: Embed) -> None:
        self._looked[asked.partition] = self._clock.monotonic()
        if len(self._looked) > PARTITIONS_MAX:
            self._looked.popitem(last=False)
        try:
            if await self._place(asked, embed, AT_ONCE_MAX) == AT_ONCE_MAX:
                self._looked.pop(asked.partition, None)
        except LittoralError:
            self._looked.pop(asked.partition, None)
            raise

    async def place_elsewhere(self, asked: Asked, embed: Embed) -> None:
        """Of its tenant and model, in any partition, `ELSEWHERE_MAX` at most. Raises LittoralError."""
        await self._place(asked, embed, ELSEWHERE_MAX, is_elsewhere=True)

    async def _place(self, asked: Asked, embed: Embed, limit: int, *, is_elsewhere: bool = False) -> int:
        entries = await self._store.unplaced(asked, limit, is_elsewhere=is_elsewhere)
        for entry in entries:
            await self._store.place(entry, await embed(entry.question))
        return len(entries)
