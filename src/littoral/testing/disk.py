"""A disk that loses power: what was written and not synced is there, lost or torn, as a seed says."""

import errno
from collections.abc import Iterator
from random import Random

__all__ = ["PowerCutError", "SimulatedDisk"]


class PowerCutError(OSError):
    """The power went at this step."""


class SimulatedDisk:
    """A `littoral.artifact.disk.Disk` in memory. cut_at: the power goes during this step, counted from 1; 0: never.

    full_at: from this step on nothing is written, until it is 0. steps: of writing, so far.
    """

    def __init__(self, seed: int, *, cut_at: int = 0, full_at: int = 0) -> None:
        self.cut_at = cut_at
        self.full_at = full_at
        self.steps = 0
        self._random = Random(seed)  # noqa: S311
        self._now: dict[str, bytes] = {}
        self._durable: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self._now.get(path)

    def write(self, path: str, data: bytes) -> None:
        self._step(path, data)
        self._now[path] = data

    def sync(self) -> None:
        self._step("", b"")
        self._durable = dict(self._now)

    def replace(self, path: str, data: bytes) -> None:
        self.steps += 1
        self._refuse()
        if self.steps == self.cut_at:
            if self._random.random() < 0.5:
                self._now[path] = self._durable[path] = data
            raise PowerCutError(errno.EIO, "power cut")
        self._now[path] = self._durable[path] = data

    def remove(self, path: str) -> None:
        self._step("", b"")
        self._now.pop(path, None)

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        yield from [(path, len(data)) for path, data in self._now.items() if path.startswith(f"{folder}/")]

    def close(self) -> None:
        """As a process that ends: what was written is still there."""

    def powered_again(self) -> None:
        """Of what was not synced each file is there, as it was before, or torn."""
        found = dict(self._durable)
        for path in sorted(self._now.keys() | found.keys()):
            if (now := self._now.get(path)) == found.get(path) or self._random.random() < 0.5:
                continue
            if now is None:
                del found[path]
            else:
                found[path] = now[: self._random.randrange(len(now) + 1)] if self._random.random() < 0.5 else now
        self._now, self._durable = found, dict(found)
        self.cut_at = self.full_at = 0

    def change(self, path: str, data: bytes | None) -> None:
        """By somebody who may write to the disk; None: takes the file away."""
        if data is None:
            del self._now[path]
        else:
            self._now[path] = data
        self._durable = dict(self._now)

    def _step(self, path: str, data: bytes) -> None:
        self.steps += 1
        self._refuse()
        if self.steps == self.cut_at:
            if path:
                self._now[path] = data[: self._random.randrange(len(data) + 1)]
            raise PowerCutError(errno.EIO, "power cut")

    def _refuse(self) -> None:
        if self.full_at and self.steps >= self.full_at:
            raise OSError(errno.ENOSPC, "no space left on device")
