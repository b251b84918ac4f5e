"""Writes go through together, or one thing alone: what must see no write half done waits for those under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from littoral.errors import UnavailableError

__all__ = ["WriteGate"]


class WriteGate:
    """For one event loop. label: for messages."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._writing = 0
        self._is_closed = False
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def write(self, deadline_s: float) -> AsyncIterator[None]:
        """Beside other writes. Raises UnavailableError where the way is not free in time; nothing is written then."""
        try:
            async with asyncio.timeout(deadline_s), self._changed:
                await self._changed.wait_for(lambda: not self._is_closed)
                self._writing += 1
        except TimeoutError as error:
            raise UnavailableError(
                f"{self._label}: no write in {deadline_s:g} s, its generations change places", hint="try again"
            ) from error
        try:
            yield
        finally:
            await self._leave()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Without any write under way, and none begins."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = True
            try:
                await self._changed.wait_for(lambda: not self._writing)
            except BaseException:
                self._is_closed = False
                self._changed.notify_all()
                raise
        try:
            yield
        finally:
            await self._open()

    async def _leave(self) -> None:
        self._writing -= 1
        await self._tell()

    async def _open(self) -> None:
        self._is_closed = False
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
