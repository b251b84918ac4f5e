"""What a gateway has counted and found, on disk: while it changes, every few seconds, each file whole or as it was."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import LittoralError

__all__ = ["FILE_BYTES_MAX", "FILE_MODE", "Keeping", "Part", "read_part"]

FILE_BYTES_MAX = 32 << 20
STEP_S = 1.0
FILE_MODE = 0o600


class Part(NamedTuple):
    """told: what is kept. mark: another value whenever `told` is another. every_s: it is written no more often; what
    changed since is lost by a kill. pack: what lies in the file, as `told` is plain; in a thread.
    """

    file: Path
    told: Callable[[], bytes]
    mark: Callable[[], object]
    every_s: float
    pack: Callable[[bytes], bytes] = bytes


class Keeping:
    """Writes until its block ends, and then once more. failed_count: of a disk that is full: what was there stays."""

    def __init__(self, parts: Sequence[Part], clock: Clock) -> None:
        self.failed_count = 0
        self._parts = parts
        self._clock = clock
        self._marks = [part.mark() for part in parts]
        self._due_s = [clock.monotonic() for _ in parts]
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep(), name="littoral-gateway-keeping")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.now()

    async def now(self) -> None:
        """What has changed is on disk when it returns, if the disk takes it."""
        async with self._lock:
            for at in range(len(self._parts)):
                await self._written(at)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            await self._due()

    async def _due(self) -> None:
        async with self._lock:
            for at, due_s in enumerate(self._due_s):
                if self._clock.monotonic() >= due_s:
                    await self._written(at)

    async def _written(self, at: int) -> None:
        part = self._parts[at]
        if (mark := part.mark()) == self._marks[at]:
            return
        self._due_s[at] = self._clock.monotonic() + part.every_s
        try:
            await asyncio.to_thread(_write, part, part.told())
        except OSError:
            self.failed_count += 1
        else:
            self._marks[at] = mark


def read_part(file: Path, unpack: Callable[[bytes], bytes] = bytes) -> bytes | None:
    """None where there is none, or none that can be read or opened: its gateway begins anew then."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            return None
        return unpack(file.read_bytes())
    except (OSError, LittoralError):
        return None


def _write(part: Part, data: bytes) -> None:
    part.file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(part.file, part.pack(data), FILE_MODE)
