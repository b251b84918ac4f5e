"""What a tenant has used today, on disk: never less than it has, however the process ends.

The file says a little more than what is used, so that it need not be written for each request; after an orderly end it
says exactly that. After a kill the difference counts as used.
"""

import asyncio
from pathlib import Path

import msgspec

from littoral.artifact.model import write_atomically
from littoral.clock import Clock

__all__ = ["DAY_S", "Ledger", "Used"]

DAY_S = 86_400
FILE = "used-today.json"
STEP_REQUESTS, STEP_TOKENS, STEP_MICRO = 200, 50_000, 100_000


class Used(msgspec.Struct, frozen=True):
    """Of one day, counted from 1970 in UTC. micro: millionths of the currency."""

    day: int
    requests: int = 0
    tokens: int = 0
    micro: int = 0

    def plus(self, requests: int, tokens: int, micro: int) -> "Used":
        return Used(self.day, self.requests + requests, self.tokens + tokens, self.micro + micro)

    def covers(self, other: "Used") -> bool:
        return (
            self.day == other.day
            and self.requests >= other.requests
            and self.tokens >= other.tokens
            and self.micro >= other.micro
        )


class Ledger:
    """folder: where its file lies; made if missing. For one event loop."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._file = folder / FILE
        self._clock = clock
        self._written = self._used = self._read()
        self._writing: asyncio.Task[None] | None = None
        self.failed_count = 0

    @property
    def used(self) -> Used:
        """Of today. A clock that is set back begins no day again."""
        if (day := int(self._clock.wall()) // DAY_S) > self._used.day:
            self._used = Used(day)
        return self._used

    @property
    def left_s(self) -> float:
        """Of today."""
        return max(1.0, (self.used.day + 1) * DAY_S - self._clock.wall())

    def add(self, requests: int = 0, tokens: int = 0, micro: int = 0) -> None:
        """Negative ones give back."""
        self._used = self.used.plus(requests, tokens, micro)
        half = self._used.plus(STEP_REQUESTS // 2, STEP_TOKENS // 2, STEP_MICRO // 2)
        if not self._written.covers(half) and self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="littoral-ledger")

    async def close(self) -> None:
        """Writes what was used, exactly."""
        if self._writing is not None:
            await self._writing
        if self._written != self._used:
            await self._put(self._used)

    async def _write(self) -> None:
        try:
            await self._put(self.used.plus(STEP_REQUESTS, STEP_TOKENS, STEP_MICRO))
        finally:
            self._writing = None

    async def _put(self, used: Used) -> None:
        try:
            await asyncio.to_thread(_written, self._file, msgspec.json.encode(used))
        except OSError:
            self.failed_count += 1
            return
        self._written = used

    def _read(self) -> Used:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Used)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return Used(int(self._clock.wall()) // DAY_S)


def _written(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, data)
