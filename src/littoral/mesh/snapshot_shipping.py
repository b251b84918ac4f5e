"""The first copy of a shard for a new replica: files of a peer's snapshot, in pieces that are checked one by one.

Whoever has a replica packs it once and keeps the files while somebody fetches them. Whoever fetches goes on where it
was, after any break, as long as the peer has the same snapshot; what was fetched gets its name when all of it is there
and on the disk.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from littoral.clock import Clock
from littoral.errors import ForbiddenError, InputError, LittoralError, NodeError, NotFoundError, TrustError
from littoral.mesh.replica_messages import decode, encode
from littoral.transport import Transport

__all__ = ["Fetch", "Pace", "SnapshotOffers", "fetch_snapshot"]

OFFER = "replica-snapshot"
PIECE = "replica-snapshot-piece"
PIECE_BYTES = 1 << 20
KEEP_S = 600.0
FILE_COUNT_MAX = 8
STATE = "offer.msgpack"
PART = ".part"
OFFER_DEADLINE_S = 120.0
PIECE_DEADLINE_S = 10.0

Pack = Callable[[str, Path], Awaitable[list[Path]]]
"""Writes a snapshot of that shard into a folder that is there and empty; its files."""

MayHave = Callable[[str, str], bool]
"""Whether a peer may have that shard."""


class Pace(Protocol):
    """How fast pieces are fetched."""

    def now(self) -> float:
        """Seconds, for `spent`."""
        ...

    async def spent(self, bytes_sent: int, began_s: float) -> None:
        """Returns when more may be fetched. began_s: when these were asked for."""
        ...


class OfferedFile(msgspec.Struct, array_like=True):
    """pieces: SHA-256 of each, in order."""

    name: str
    size_bytes: int
    pieces: list[bytes]


class AskOffer(msgspec.Struct, array_like=True):
    shard: str


class Offer(msgspec.Struct, array_like=True):
    """snapshot: names this one, whatever else there will be."""

    snapshot: str
    piece_bytes: int
    files: list[OfferedFile]


class AskPiece(msgspec.Struct, array_like=True):
    shard: str
    snapshot: str
    file: str
    index: int


class _Kept(NamedTuple):
    offer: Offer
    folder: Path
    used_at: float


class SnapshotOffers:
    """folder: for snapshots while they are fetched; what lies in it from before goes. One of each shard at a time."""

    def __init__(
        self, transport: Transport, folder: Path, pack: Pack, may_have: MayHave, *, clock: Clock, keep_s: float = KEEP_S
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._pack = pack
        self._may_have = may_have
        self._clock = clock
        self._keep_s = keep_s
        self._kept: dict[str, _Kept] = {}
        self._packing = asyncio.Lock()
        self.told_bytes = 0
        """Of pieces, since the start."""

    async def start(self) -> None:
        """Offers from now on."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._transport.serve(OFFER, self._offer)
        await self._transport.serve(PIECE, self._piece)

    async def tidy(self) -> None:
        """Removes what nobody has fetched from for a while; to be called now and then."""
        now = self._clock.monotonic()
        for shard, kept in list(self._kept.items()):
            if now - kept.used_at > self._keep_s:
                del self._kept[shard]
                await asyncio.to_thread(shutil.rmtree, kept.folder, ignore_errors=True)

    def _check(self, peer: str, shard: str) -> None:
        if not self._may_have(peer, shard):
            raise ForbiddenError(
                f"node `{peer}` has no replica of `{shard[:80]}`, as node `{self._transport.name}` knows"
            )

    async def _offer(self, peer: str, body: bytes) -> bytes:
        shard = decode(body, AskOffer).shard
        self._check(peer, shard)
        async with self._packing:
            await self.tidy()
            if (kept := self._kept.get(shard)) is None:
                kept = await self._packed(shard)
            self._kept[shard] = kept._replace(used_at=self._clock.monotonic())
        return encode(kept.offer)

    async def _packed(self, shard: str) -> _Kept:
        snapshot = secrets.token_hex(8)
        folder = self._folder / snapshot
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, mode=0o700)
            files = await self._pack(shard, folder)
            piece_bytes = min(PIECE_BYTES, self._transport.body_bytes_max)
            offered = [await asyncio.to_thread(_offered, file, piece_bytes) for file in files]
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        return _Kept(Offer(snapshot, piece_bytes, offered), folder, self._clock.monotonic())

    async def _piece(self, peer: str, body: bytes) -> bytes:
        asked = decode(body, AskPiece)
        self._check(peer, asked.shard)
        kept = self._kept.get(asked.shard)
        if kept is None or kept.offer.snapshot != asked.snapshot:
            raise NotFoundError(f"snapshot `{asked.snapshot[:40]}` of `{asked.shard}` is no longer here")
        if asked.file not in {file.name for file in kept.offer.files} or asked.index < 0:
            raise InputError(f"snapshot `{asked.snapshot}` has no file `{asked.file[:80]}`")
        self._kept[asked.shard] = kept._replace(used_at=self._clock.monotonic())
        size = kept.offer.piece_bytes
        piece = await asyncio.to_thread(_read_piece, kept.folder / asked.file, asked.index * size, size)
        self.told_bytes += len(piece)
        return piece


def _offered(file: Path, piece_bytes: int) -> OfferedFile:
    pieces = []
    with file.open("rb") as stream:
        while piece := stream.read(piece_bytes):
            pieces.append(hashlib.sha256(piece).digest())
    return OfferedFile(file.name, file.stat().st_size, pieces)


def _read_piece(file: Path, at: int, size: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(at)
        return stream.read(size)


class Fetch(NamedTuple):
    """files: by name, each whole and on the disk. fetched_bytes: over the network, this time."""

    files: dict[str, Path]
    fetched_bytes: int


async def fetch_snapshot(
    transport: Transport,
    peer: str,
    shard: str,
    folder: Path,
    *,
    pace: Pace | None = None,
    room_bytes: Callable[[], int] | None = None,
) -> Fetch:
    """The files of a peer's snapshot, in that folder; goes on with what a former call has left there.

    Raises PeerError (call it again to go on), TrustError for a piece that is not what was offered, NodeError for the
    disk. room_bytes: how large it may be.
    """
    body = await transport.request(peer, OFFER, encode(AskOffer(shard)), deadline_s=OFFER_DEADLINE_S)
    offer = decode(body, Offer)
    _check_offer(offer)
    fetched = 0
    try:
        await asyncio.to_thread(_begin, folder, offer.snapshot, body)
        if room_bytes is not None and (size := sum(file.size_bytes for file in offer.files)) > room_bytes():
            raise NodeError(f"snapshot of `{shard}` from `{peer}`: {size} bytes find no room on the disk")
        for file in offer.files:
            part = folder / f"{file.name}{PART}"
            for index in range(await asyncio.to_thread(_sound_pieces, part, file, offer.piece_bytes), len(file.pieces)):
                began_s = 0.0 if pace is None else pace.now()
                ask = AskPiece(shard, offer.snapshot, file.name, index)
                piece = await transport.request(peer, PIECE, encode(ask), deadline_s=PIECE_DEADLINE_S)
                if hashlib.sha256(piece).digest() != file.pieces[index]:
                    raise TrustError(f"snapshot of `{shard}` from `{peer}`: piece {index} of `{file.name}` is another")
                await asyncio.to_thread(_append, part, index * offer.piece_bytes, piece)
                fetched += len(piece)
                if pace is not None:
                    await pace.spent(len(piece), began_s)
        files = await asyncio.to_thread(_finish, folder, [file.name for file in offer.files])
    except OSError as error:
        raise NodeError(f"snapshot of `{shard}` in `{folder}`: {error.strerror}") from error
    return Fetch(files, fetched)


def _check_offer(offer: Offer) -> None:
    if not 0 < len(offer.files) <= FILE_COUNT_MAX or not 0 < offer.piece_bytes <= PIECE_BYTES:
        raise InputError(f"snapshot of {len(offer.files)} files in pieces of {offer.piece_bytes} bytes is none of ours")
    for file in offer.files:
        if Path(file.name).name != file.name or file.name.startswith(".") or file.name.endswith((PART, STATE)):
            raise InputError(f"snapshot has a file `{file.name[:80]}`")
        if len(file.pieces) != -(-file.size_bytes // offer.piece_bytes):
            raise InputError(f"snapshot: `{file.name}` has {file.size_bytes} bytes in {len(file.pieces)} pieces")


def _begin(folder: Path, snapshot: str, offer: bytes) -> None:
    """Clears what is of another snapshot."""
    state = folder / STATE
    try:
        if decode(state.read_bytes(), Offer).snapshot == snapshot:
            return
    except (OSError, LittoralError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    state.write_bytes(offer)


def _sound_pieces(part: Path, file: OfferedFile, piece_bytes: int) -> int:
    """How many pieces from the start are there and right; what follows them is cut off."""
    count = 0
    with part.open("a+b") as stream:
        stream.seek(0)
        while count < len(file.pieces) and (piece := stream.read(piece_bytes)):
            if hashlib.sha256(piece).digest() != file.pieces[count]:
                break
            count += 1
        stream.truncate(min(count * piece_bytes, file.size_bytes))
    return count


def _append(part: Path, at: int, piece: bytes) -> None:
    with part.open("r+b") as stream:
        stream.seek(at)
        stream.write(piece)


def _finish(folder: Path, names: list[str]) -> dict[str, Path]:
    for name in names:
        with (folder / f"{name}{PART}").open("rb") as stream:
            os.fsync(stream.fileno())
    for name in names:
        (folder / f"{name}{PART}").replace(folder / name)
    (folder / STATE).unlink(missing_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return {name: folder / name for name in names}
