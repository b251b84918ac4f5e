"""Bytes of a known length and digest, from a transport that may break off, lie, or never end."""

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import (
    EndlessDataError,
    InputError,
    LittoralError,
    NotFoundError,
    PeerError,
    SlowUpdateError,
    TruncatedUpdateError,
    UpdateRefusedError,
    WithheldUpdateError,
    WrongContentError,
    WrongRangeError,
)
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.blocks import BlockList, Piece, plan
from littoral.updates.targets import TargetFile
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.transport import FirstOf, Transport, file_chunks

__all__ = ["Fetcher", "Progress"]

Progress = Callable[[int, int], None]
"""Bytes that are there, and of how many."""

PART = ".part"
READ_BYTES = 1 << 20


class _Wanted(NamedTuple):
    path: str
    length: int
    sha256: str
    name: str


class Fetcher:
    """wait: seconds; a stop may cut it short. random: makes pauses uneven, so that a fleet does not come at once.

    fetched_bytes: of targets, that came over a transport.
    """

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
        self.fetched_bytes = 0

    def metadata(
        self, transport: Transport, path: str, bytes_max: int, *, bytes_per_s_max: float | None = None
    ) -> bytes:
        """A small file whose length is not known. Raises NotFoundError, EndlessDataError, PeerError.

        bytes_per_s_max: what is lower than the bounds' least for metadata is taken for that.
        """
        most = None if bytes_per_s_max is None else max(bytes_per_s_max, self._bounds.metadata_bytes_per_s_min)
        for attempt in range(self._bounds.attempts_max):
            try:
                return self._whole(transport, path, bytes_max, most)
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
        have: Sequence[Path] = (),
        progress: Progress | None = None,
        bytes_per_s_max: float | None = None,
    ) -> Path:
        """See `TrustedClient.fetch`. What is wrong by way of peers is fetched once more without them."""
        one = partial(self._fetch, target=target, into=into, have=have, progress=progress, most=bytes_per_s_max)
        if not isinstance(transport, FirstOf):
            return one(transport)
        try:
            return one(transport)
        except (UpdateRefusedError, PeerError):
            return one(transport.last)

    def _fetch(
        self,
        transport: Transport,
        target: TargetFile,
        into: Path,
        have: Sequence[Path],
        progress: Progress | None,
        most: float | None,
    ) -> Path:
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
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        pace = self._pace(wanted.name, most)
        filling = _Filling(transport, wanted, part, pace, progress, self._pieces(transport, target, have, most))
        filling.is_joined = filling.is_joined or _size(part) > 0
        self._fill(filling)
        if not _is_it(part, wanted) and filling.is_joined:
            filling.begin_plainly()
            self._fill(filling)
        if not _is_it(part, wanted):
            part.unlink()
            raise WrongContentError(
                f"`{wanted.name}`: {wanted.length} bytes came, their SHA-256 is not {wanted.sha256}",
                hint="somebody changed it on its way, or where it lies",
            )
        _finish(part, into)
        return into

    def _pieces(
        self, transport: Transport, target: TargetFile, have: Sequence[Path], most: float | None
    ) -> list[Piece]:
        """Blocks that are here and ranges that are not; all of it in one, where there is no list that is right."""
        whole = [Piece(target.length, None, 0)]
        there = [path for path in have if path.is_file()]
        if target.custom.blocks_sha256 is None or not there:
            return whole
        try:
            path = tree.block_list_file(target.sha256)
            data = self.metadata(transport, path, self._bounds.block_list_bytes_max, bytes_per_s_max=most)
            if sha256(data).hexdigest() != target.custom.blocks_sha256:
                return whole
            return plan(BlockList.read(data, target.length), there)
        except (LittoralError, OSError):
            return whole

    def _pace(self, name: str, bytes_per_s_max: float | None) -> "_Pace":
        return _Pace(self._clock, self._wait, bytes_per_s_max, self._bounds, name)

    def _whole(self, transport: Transport, path: str, bytes_max: int, most: float | None) -> bytes:
        parts, size, pace = [], 0, self._pace(path, most)
        with contextlib.closing(_iterated(transport.read(path, end=bytes_max + 1))) as chunks:
            for chunk in chunks:
                parts.append(chunk)
                size += len(chunk)
                pace.came(len(chunk))
                if size > bytes_max:
                    raise EndlessDataError(f"`{path}` has more than {bytes_max} bytes", hint="nothing of it is taken")
        return b"".join(parts)

    def _fill(self, filling: "_Filling") -> None:
        """Until the part has its length. Only attempts in a row that brought nothing are counted."""
        part, wanted = filling.part, filling.wanted
        if _size(part) > wanted.length:
            os.truncate(part, 0)
        failed = 0
        while (size := _size(part)) < wanted.length:
            problem = self._attempt(filling, size)
            failed = 0 if _size(part) > size else failed + 1
            filling.is_joined = filling.is_joined or _size(part) < wanted.length
            if isinstance(problem, WrongRangeError):
                filling.begin_plainly()
            if failed >= self._bounds.attempts_max:
                raise _final(problem, filling)
            if failed:
                self._pause(failed)

    def _attempt(self, filling: "_Filling", offset: int) -> PeerError | WrongRangeError | None:
        """What is worth another attempt."""
        wanted = filling.wanted
        try:
            for piece, begin in filling.rest(offset):
                self._append(filling, piece, begin)
        except NotFoundError as error:
            raise WithheldUpdateError(
                f"`{wanted.path}` (`{wanted.name}`) is not to be had, though it is signed for",
                hint="a copy that is not complete, or somebody who keeps it back",
            ) from error
        except (PeerError, WrongRangeError) as error:
            return error
        return None

    def _append(self, filling: "_Filling", piece: Piece, begin: int) -> None:
        """begin: of what is left of the piece, in the whole. Raises PeerError where less came."""
        end = begin + piece.length
        with filling.part.open("ab") as file, contextlib.closing(_iterated(filling.chunks(piece, begin))) as chunks:
            for chunk in chunks:
                begin += len(chunk)
                if begin > end:
                    raise EndlessDataError(
                        f"`{filling.wanted.name}` goes on after byte {end} of {filling.wanted.length}",
                        hint="nothing of it is taken",
                    )
                file.write(chunk)
                if piece.source is None:
                    self.fetched_bytes += len(chunk)
                    filling.pace.came(len(chunk))
                if filling.progress is not None:
                    filling.progress(begin, filling.wanted.length)
        if begin < end:
            raise _ShortError(
                f"`{filling.wanted.name}`: {end - begin} bytes less than asked for", hint="tried again at the next look"
            )

    def _pause(self, attempt: int) -> None:
        longest = min(self._bounds.pause_s_max, self._bounds.pause_s * 2**attempt)
        self._wait(longest * self._random.uniform(0.5, 1.0))


class _ShortError(PeerError):
    """An answer that ended early and in order."""


class _Filling:
    """A part on its way to its length. is_joined: it is of several answers, so one of them may be at fault."""

    def __init__(
        self,
        transport: Transport,
        wanted: _Wanted,
        part: Path,
        pace: "_Pace",
        progress: Progress | None,
        pieces: list[Piece],
    ) -> None:
        self.wanted = wanted
        self.part = part
        self.pace = pace
        self.progress = progress
        self.is_joined = any(piece.source is not None for piece in pieces)
        self._transport = transport
        self._pieces = pieces
        self._is_plain = False

    def begin_plainly(self) -> None:
        """All over again, by one answer without ranges."""
        os.truncate(self.part, 0)
        self._pieces = [Piece(self.wanted.length, None, 0)]
        self._is_plain, self.is_joined = True, False

    def rest(self, offset: int) -> Iterator[tuple[Piece, int]]:
        """What is left of each piece, and where it begins."""
        at = 0
        for piece in self._pieces:
            skip = min(max(0, offset - at), piece.length)
            if skip < piece.length:
                yield Piece(piece.length - skip, piece.source, piece.start + skip), at + skip
            at += piece.length

    def chunks(self, piece: Piece, begin: int) -> Iterator[bytes]:
        if piece.source is not None:
            return file_chunks(piece.source.open("rb"), piece.start, piece.start + piece.length)
        end = None if self._is_plain and not begin else begin + piece.length
        return self._transport.read(self.wanted.path, offset=begin, end=end)


class _Pace:
    """Not faster than may be, nor slower than makes sense."""

    def __init__(
        self,
        clock: Clock,
        wait: Callable[[float], object],
        bytes_per_s_max: float | None,
        bounds: Bounds,
        name: str,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._most = bytes_per_s_max
        self._least = bounds.bytes_per_s_min
        self._grace_s = bounds.slow_after_s
        self._name = name
        self._begun_s = clock.monotonic()
        self._bytes = 0

    def came(self, count: int) -> None:
        """So many bytes more. Raises SlowUpdateError."""
        self._bytes += count
        passed_s = self._clock.monotonic() - self._begun_s
        if passed_s > self._grace_s and self._bytes < self._least * passed_s:
            raise SlowUpdateError(
                f"`{self._name}`: {self._bytes} bytes in {passed_s:.0f} s, at least {self._least:.0f} a second",
                hint="tried again at the next look; what came is kept",
            )
        if self._most is not None and (early_s := self._bytes / self._most - passed_s) > 0:
            self._wait(early_s)


def _final(problem: PeerError | WrongRangeError | None, filling: _Filling) -> LittoralError:
    """What to say when no attempt is left."""
    if problem is not None and not isinstance(problem, _ShortError):
        return problem
    return TruncatedUpdateError(
        f"`{filling.wanted.name}` ends after {_size(filling.part)} of {filling.wanted.length} bytes",
        hint="the copy that was asked is not complete",
    )


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
