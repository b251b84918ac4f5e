"""Bytes of a known length and digest, from a transport that may break off, lie, or never end."""

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import (
    EndlessDataError,
    InputError,
    NotFoundError,
    PeerError,
    SlowUpdateError,
    TruncatedUpdateError,
    WithheldUpdateError,
    WrongContentError,
    WrongRangeError,
)
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.targets import TargetFile
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.transport import Transport

__all__ = ["Fetcher", "Progress"]

Progress = Callable[[int, int], None]
"""Bytes that are there, and of how many."""

PART = ".part"
READ_BYTES = 1 << 20
SLOW_AFTER_S = 60.0


class _Wanted(NamedTuple):
    path: str
    length: int
    sha256: str
    name: str


class Fetcher:
    """wait: seconds; a stop may cut it short. random: makes pauses uneven, so that a fleet does not come at once."""

    def __init__(
        self,
        clock: Clock,
        bounds: Bounds,
        *,
        wait: Callable[[float], object] | None = None,
        random: Random | None = None,
    ) -> None:
        self._clock = clock
        self._bounds = bounds
        self._wait = wait or threading.Event().wait
        self._random = random or Random()  # noqa: S311

    def metadata(self, transport: Transport, path: str, bytes_max: int) -> bytes:
        """A small file whose length is not known. Raises NotFoundError, EndlessDataError, PeerError."""
        for attempt in range(self._bounds.attempts_max):
            try:
                return self._whole(transport, path, bytes_max)
            except PeerError:
                if attempt + 1 == self._bounds.attempts_max:
                    raise
                self._pause(attempt)
        raise AssertionError("attempts_max is at least 1")

    def fetch(
        self,
        transport: Transport,
        target: TargetFile,
        into: Path,
        *,
        have: Sequence[Path] = (),  # noqa: ARG002
        progress: Progress | None = None,
        bytes_per_s_max: float | None = None,
    ) -> Path:
        """See `TrustedClient.fetch`."""
        try:
            path = tree.target_file(ArtifactName.parse(target.name), target.sha256)
        except InputError as error:
            raise WithheldUpdateError(f"`{target.name}`: {error.message}", hint=error.hint) from error
        wanted = _Wanted(path, target.length, target.sha256, target.name)
        if wanted.length > self._bounds.target_bytes_max:
            raise EndlessDataError(
                f"`{wanted.name}` has {wanted.length} bytes, at most {self._bounds.target_bytes_max}",
                hint="`bytes_mb_max` of the node",
            )
        if _is_it(into, wanted):
            return into
        part = into.with_name(f"{into.name}{PART}")
        is_resumed = _size(part) > 0
        pace = _Pace(self._clock, self._wait, bytes_per_s_max, self._bounds.bytes_per_s_min, wanted.name)
        self._fill(transport, wanted, part, pace, progress)
        if not _is_it(part, wanted):
            part.unlink()
            if not is_resumed:
                raise WrongContentError(
                    f"`{wanted.name}`: {wanted.length} bytes came, their SHA-256 is not {wanted.sha256}",
                    hint="somebody changed it on its way, or where it lies",
                )
            return self.fetch(transport, target, into, progress=progress, bytes_per_s_max=bytes_per_s_max)
        _finish(part, into)
        return into

    def _whole(self, transport: Transport, path: str, bytes_max: int) -> bytes:
        parts, size = [], 0
        for chunk in transport.read(path, end=bytes_max + 1):
            parts.append(chunk)
            size += len(chunk)
            if size > bytes_max:
                raise EndlessDataError(f"`{path}` has more than {bytes_max} bytes", hint="nothing of it is taken")
        return b"".join(parts)

    def _fill(
        self, transport: Transport, wanted: _Wanted, part: Path, pace: "_Pace", progress: Progress | None
    ) -> None:
        """Until the part has its length. Attempts that brought nothing are counted, those with progress are not."""
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size(part) > wanted.length:
            part.unlink()
        failed = 0
        while (size := _size(part)) < wanted.length:
            try:
                self._append(transport, wanted, part, pace, progress)
                problem: PeerError | WrongRangeError | None = None
            except NotFoundError as error:
                raise WithheldUpdateError(
                    f"`{wanted.path}` (`{wanted.name}`) is not to be had, though it is signed for",
                    hint="a copy that is not complete, or somebody who keeps it back",
                ) from error
            except (PeerError, WrongRangeError) as error:
                problem = error
            failed = 0 if _size(part) > size else failed + 1
            if failed >= self._bounds.attempts_max:
                raise problem or TruncatedUpdateError(
                    f"`{wanted.name}` ends after {_size(part)} of {wanted.length} bytes",
                    hint="the copy that was asked is not complete",
                )
            if failed:
                self._pause(failed)
        if not wanted.length:
            part.touch()

    def _append(
        self, transport: Transport, wanted: _Wanted, part: Path, pace: "_Pace", progress: Progress | None
    ) -> None:
        offset = _size(part)
        with (
            part.open("ab") as file,
            contextlib.closing(_iterated(transport.read(wanted.path, offset=offset, end=wanted.length))) as chunks,
        ):
            for chunk in chunks:
                offset += len(chunk)
                if offset > wanted.length:
                    raise EndlessDataError(
                        f"`{wanted.name}` goes on after its {wanted.length} bytes", hint="nothing of it is taken"
                    )
                file.write(chunk)
                pace.came(len(chunk))
                if progress is not None:
                    progress(offset, wanted.length)

    def _pause(self, attempt: int) -> None:
        longest = min(self._bounds.pause_s_max, self._bounds.pause_s * 2**attempt)
        self._wait(longest * self._random.uniform(0.5, 1.0))


class _Pace:
    """Not faster than may be, nor slower than makes sense."""

    def __init__(
        self,
        clock: Clock,
        wait: Callable[[float], object],
        bytes_per_s_max: float | None,
        bytes_per_s_min: float,
        name: str,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._most = bytes_per_s_max
        self._least = bytes_per_s_min
        self._name = name
        self._begun_s = clock.monotonic()
        self._bytes = 0

    def came(self, count: int) -> None:
        """So many bytes more. Raises SlowUpdateError."""
        self._bytes += count
        passed_s = self._clock.monotonic() - self._begun_s
        if passed_s > SLOW_AFTER_S and self._bytes < self._least * passed_s:
            raise SlowUpdateError(
                f"`{self._name}`: {self._bytes} bytes in {passed_s:.0f} s, at least {self._least:.0f} a second",
                hint="tried again at the next look; what came is kept",
            )
        if self._most is not None and (early_s := self._bytes / self._most - passed_s) > 0:
            self._wait(early_s)


def _iterated(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """A generator, so that it can be closed."""
    yield from chunks


def _is_it(file: Path, wanted: _Wanted) -> bool:
    if _size(file) != wanted.length or not file.exists():
        return False
    with file.open("rb") as stream:
        digest = sha256()
        while chunk := stream.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == wanted.sha256


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _finish(part: Path, into: Path) -> None:
    """On the disk, then under its name, and that on the disk too."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(into)
    handle = os.open(into.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
