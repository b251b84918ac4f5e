"""How much may lie in a set of collections: points, and bytes on disk; looked at before each write, which is taken as a
whole or refused as a whole.

Between two looks the counts are upper bounds: what is written is added as if all of it were new. Where a bound says
that it is too much, the collections are counted, and points that are written again are told from new ones. So a quota
of points is never passed, and refuses nothing that fits. Bytes are those of the files (allocated blocks): an index that
is built later may pass that quota; then nothing more is written until there is room.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import LittoralError, QuotaError
from littoral.vectors import frames
from littoral.vectors.disk_reserve import RESERVE

if TYPE_CHECKING:
    from littoral.vectors.records import PointId

__all__ = ["Bounds", "StoreQuota", "Usage", "disk_bytes"]

LOOK_AGAIN_S = 5.0
PATIENCE = 4
BLOCK_BYTES = 512

_GROWS = (frames.Upsert, frames.UpdateVectors, frames.ChangePayload, frames.CreateIndex, frames.AddVector)
_POINTS = (frames.Upsert, frames.UpdateVectors)


class Bounds(NamedTuple):
    """Of all collections together."""

    collections_max: int
    points_max: int
    disk_bytes_max: int


class Usage(NamedTuple):
    """points, disk_bytes: at most; they are there or under way."""

    points: int
    disk_bytes: int


class _Wanted(NamedTuple):
    points: int
    size_bytes: int


@dataclass
class _Upper:
    """A bound from above: what was seen, and what was written since that look began."""

    seen: int = 0
    written: int = 0
    written_before: int = 0

    @property
    def most(self) -> int:
        return self.seen + self.written - self.written_before

    @property
    def is_exact(self) -> bool:
        return self.written == self.written_before


class StoreQuota:
    """owner: for messages, such as ``tenant `acme` ``. count: points of all its collections, exactly.

    folder: that holds them. For one event loop.
    """

    def __init__(
        self,
        owner: str,
        bounds: Bounds,
        *,
        count: Callable[[], Awaitable[int]],
        folder: Path,
        clock: Clock = SYSTEM,
    ) -> None:
        self._owner = owner
        self.points_max, self.disk_bytes_max = bounds.points_max, bounds.disk_bytes_max
        self._count = count
        self._folder = folder
        self._clock = clock
        self._points, self._bytes = _Upper(), _Upper()
        self._flying = _Wanted(0, 0)
        self._is_stale = True
        self._looked_at_s: float | None = None
        self._looking = asyncio.Lock()
        self._beside: asyncio.Task[None] | None = None
        self.refused_count = 0

    def limit(self, bounds: Bounds) -> None:
        """From now on; what is there stays."""
        self.points_max, self.disk_bytes_max = bounds.points_max, bounds.disk_bytes_max

    @property
    def usage(self) -> Usage:
        """As it was when it was last looked at, and what was written since. Who asks has it looked at again, if that
        is long ago.
        """
        self._look_beside()
        return Usage(self._points.most, self._bytes.most)

    async def close(self) -> None:
        """Ends a look that is under way."""
        if self._beside is not None:
            self._beside.cancel()
            await asyncio.gather(self._beside, return_exceptions=True)

    async def look(self) -> Usage:
        """As it is now. Raises UnavailableError where a collection does not answer."""
        async with self._looking:
            await self._look()
        return Usage(self._points.most, self._bytes.most)

    @contextlib.asynccontextmanager
    async def writing(
        self, request: frames.Write, known: Callable[[Sequence["PointId"]], Awaitable[int]]
    ) -> AsyncIterator[None]:
        """Around a write. known: how many of these points are there. Raises QuotaError; nothing was written then."""
        if not isinstance(request, _GROWS):
            yield
            self._is_stale = True  # there may be room now
            return
        wanted = _wanted(request)
        await self._take(request, wanted, known)
        self._flying = _Wanted(self._flying.points + wanted.points, self._flying.size_bytes + wanted.size_bytes)
        try:
            yield
        finally:
            self._flying = _Wanted(self._flying.points - wanted.points, self._flying.size_bytes - wanted.size_bytes)
            self._look_beside()

    async def check_room(self) -> None:
        """Before something that is small by itself, such as an empty collection. Raises QuotaError."""
        if self._is_stale or self._bytes.most >= self.disk_bytes_max:
            await self.look()
        if self._bytes.most >= self.disk_bytes_max:
            raise self._refusal("disk_mb", self._bytes.most, 0, self.disk_bytes_max, "bytes are stored")

    async def _take(
        self, request: frames.Write, wanted: _Wanted, known: Callable[[Sequence["PointId"]], Awaitable[int]]
    ) -> None:
        points, size_bytes = wanted
        if not self._fits(points, size_bytes):
            async with self._looking:
                if not self._fits(points, size_bytes) and self._may_have_changed():
                    await self._look()
                if self._points.most + points > self.points_max and isinstance(request, frames.Upsert):
                    ids = list(dict.fromkeys(request.points.ids))
                    points = len(ids) - await known(ids)
        if self._points.most + points > self.points_max:
            raise self._refusal("points_max", self._points.most, points, self.points_max, "points are stored")
        if self._bytes.most + size_bytes > self.disk_bytes_max:
            raise self._refusal("disk_mb", self._bytes.most, size_bytes, self.disk_bytes_max, "bytes are stored")
        self._points.written += points
        self._bytes.written += size_bytes

    def _fits(self, points: int, size_bytes: int) -> bool:
        return (
            self._looked_at_s is not None
            and self._points.most + points <= self.points_max
            and self._bytes.most + size_bytes <= self.disk_bytes_max
        )

    def _may_have_changed(self) -> bool:
        if self._is_stale or self._looked_at_s is None or not (self._points.is_exact and self._bytes.is_exact):
            return True
        return self._clock.monotonic() - self._looked_at_s >= LOOK_AGAIN_S

    def _look_beside(self) -> None:
        """Rather while nothing is under way: what is would be counted twice until the next look."""
        patience_s = LOOK_AGAIN_S * (1 if self._flying == _Wanted(0, 0) else PATIENCE)
        is_old = self._looked_at_s is None or self._clock.monotonic() - self._looked_at_s >= patience_s
        if is_old and not self._looking.locked() and (self._beside is None or self._beside.done()):
            self._beside = asyncio.create_task(self._try_to_look())

    async def _try_to_look(self) -> None:
        with contextlib.suppress(LittoralError):  # a collection does not answer: the bounds stay as they are
            await self.look()

    async def _look(self) -> None:
        """What is under way when it begins may be counted or not, so it is added."""
        was_stale, self._is_stale = self._is_stale, False
        flying, points_before, bytes_before = self._flying, self._points.written, self._bytes.written
        try:
            points, size_bytes = await asyncio.gather(self._count(), asyncio.to_thread(disk_bytes, self._folder))
        except BaseException:
            self._is_stale = was_stale
            raise
        self._points = _Upper(points + flying.points, self._points.written, points_before)
        self._bytes = _Upper(size_bytes + flying.size_bytes, self._bytes.written, bytes_before)
        self._looked_at_s = self._clock.monotonic()

    def _refusal(self, quota: str, used: int, wanted: int, most: int, what: str) -> QuotaError:
        self.refused_count += 1
        return QuotaError(
            f"{self._owner}: quota `{quota}`: {used} {what}, {wanted} more are wanted, at most {most}",
            hint="delete what is no longer needed, or ask the operator for more; nothing of this request was written",
        )


def _wanted(request: frames.Write) -> _Wanted:
    if isinstance(request, _POINTS):
        is_new = isinstance(request, frames.Upsert) and request.mode != "update_only"
        return _Wanted(len(request.points.ids) if is_new else 0, len(msgspec.msgpack.encode(request.points)))
    if isinstance(request, frames.ChangePayload):
        return _Wanted(0, len(msgspec.msgpack.encode(request.change)))
    return _Wanted(0, 0)


def disk_bytes(folder: Path) -> int:
    """Allocated on disk by all files below it, but for what shards keep for themselves; 0 where there is none."""
    return sum(
        _allocated(os.path.join(at, name))  # noqa: PTH118  many files, and often
        for at, _, names in os.walk(folder)
        for name in names
        if name != RESERVE
    )


def _allocated(path: str) -> int:
    with contextlib.suppress(OSError):  # it may be gone
        return os.lstat(path).st_blocks * BLOCK_BYTES
    return 0
