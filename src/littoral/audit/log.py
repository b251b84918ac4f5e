"""The log itself: entries in, a signed checkpoint out, and files that bear it at every moment.

A batch is written bottom up: bundles of entries and tiles of hashes, which are synced, then the checkpoint, which is
replaced. What lies beyond the checkpoint when the log is opened is what an interrupted batch left; it is removed. So a
checkpoint never speaks of entries that are not there, and no two are signed that contradict each other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.ed25519 import SecretKey
from littoral.audit.checkpoint import Checkpoint, parse_checkpoint
from littoral.audit.disk import Disk, FolderDisk
from littoral.audit.note import Note, Verifier, parse_note, sign
from littoral.audit.tiles import (
    ENTRIES,
    ENTRY_BYTES_MAX,
    HEIGHT,
    LEVEL_COUNT_MAX,
    WIDTH,
    Tile,
    TileReader,
    bundle,
    bundled,
    partial_tiles,
    read_tile,
    tiles_of,
)
from littoral.audit.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    consistency_proof,
    folded,
    inclusion_proof,
    leaf_hashes,
    parents,
    root,
)
from littoral.errors import InputError, NotFoundError, TrustError

__all__ = ["CHECKPOINT", "KEYS", "WITNESSED", "WITNESSES", "Inclusion", "LogFolder", "TreeLog"]

CHECKPOINT, WITNESSED = "checkpoint", "witnessed"
KEYS, WITNESSES = "log.key", "witness.keys"
"""Files of the public keys, a line each, as `Verifier` writes them."""

BATCH_COUNT_MAX = 1 << 14
WITNESSES_MAX = 64


class Inclusion(NamedTuple):
    """That an entry is in the log of this checkpoint. note: the checkpoint, signed."""

    number: int
    entry: bytes
    proof: list[bytes]
    note: str


class _Edge(NamedTuple):
    """What a tree ends with: of each level the hashes of the tile that is not full; entries of the last bundle."""

    hashes: tuple[bytes, ...]
    entries: bytes

    @property
    def root(self) -> bytes:
        return folded([subtree for hashes in reversed(self.hashes) for subtree in _complete(hashes)])


class LogFolder:
    """A log to read. shown: a checkpoint, signed, and a reader of its size; replaced together when the log grows."""

    def __init__(self, disk: Disk, checkpoint: Checkpoint, note: Note) -> None:
        self._disk = disk
        self.checkpoint = checkpoint
        self.shown = (note, TileReader(disk, checkpoint.size))

    @classmethod
    def open(cls, folder: Path) -> "LogFolder":
        """As its checkpoint says, which nobody verifies here. Raises NotFoundError, TrustError."""
        disk = FolderDisk(folder)
        if (data := disk.read(CHECKPOINT)) is None:
            raise NotFoundError(f"`{folder}`: has no `{CHECKPOINT}`, so it is no log")
        note = parse_note(data, CHECKPOINT)
        return cls(disk, parse_checkpoint(note, CHECKPOINT), note)

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def note(self) -> Note:
        return self.shown[0]

    @property
    def reader(self) -> TileReader:
        return self.shown[1]

    def tile(self, tile: Tile) -> bytes:
        """As its file has it. Raises NotFoundError for one that no checkpoint so far speaks of, or that was pruned."""
        held = (self.size >> HEIGHT * max(tile.level, 0)) - tile.number * WIDTH
        if tile.width > held or tile.level >= LEVEL_COUNT_MAX or (data := read_tile(self._disk, tile)) is None:
            raise NotFoundError(f"`{tile.path}`: a log of {self.size} entries has no such tile, or keeps it no longer")
        return data

    def entry(self, index: int) -> bytes:
        """Raises NotFoundError for one that is not there, or no longer."""
        if not 0 <= index < self.size:
            raise NotFoundError(f"entry {index}: the log has {self.size}")
        number, at = divmod(index, WIDTH)
        return self.entries(number)[at]

    def entries(self, number: int) -> list[bytes]:
        """Of one bundle. Raises as `entry`."""
        tile = Tile(ENTRIES, number, min(WIDTH, self.size - number * WIDTH))
        if (data := read_tile(self._disk, tile)) is None:
            raise NotFoundError(f"entry {number * WIDTH}: is no longer kept, its hash is")
        entries = bundled(data, tile.path)
        if len(entries) != tile.width:
            raise TrustError(f"`{tile.path}`: has {len(entries)} entries, expected {tile.width}")
        return entries

    def inclusion(self, index: int) -> Inclusion:
        """Raises as `entry`."""
        entry, (note, reader) = self.entry(index), self.shown
        return Inclusion(index, entry, inclusion_proof(index, reader.size, reader.hash_at), str(note))

    def consistency(self, old_size: int) -> tuple[list[bytes], Note]:
        """From the log as it was to its checkpoint, and that. Raises InputError for a size that it never had."""
        note, reader = self.shown
        return consistency_proof(old_size, reader.size, reader.hash_at), note

    def root_at(self, size: int) -> bytes:
        """When it had so many entries. Raises InputError for more than it has."""
        if size > self.size:
            raise InputError(f"log of {self.size} entries: had never {size}")
        return root(size, self.reader.hash_at)

    @property
    def witnessed(self) -> Note | None:
        """The last checkpoint that a witness has cosigned."""
        data = self._disk.read(WITNESSED)
        return None if data is None else parse_note(data, WITNESSED)


class TreeLog(LogFolder):
    """Of one writer. For one thread at a time; `reader` gives what others may read with beside it."""

    def __init__(self, disk: Disk, origin: str, key: SecretKey) -> None:
        self._key = key
        self._edge = _Edge((b"",) * LEVEL_COUNT_MAX, b"")
        checkpoint = Checkpoint(origin, 0, EMPTY_ROOT)
        super().__init__(disk, checkpoint, self._signed(checkpoint))

    @classmethod
    def begin(cls, disk: Disk, origin: str, key: SecretKey) -> "TreeLog":
        """As its last checkpoint says; an empty one is begun where there is none.

        Raises TrustError for a checkpoint that is not this key's and for files that do not bear it, OSError.
        """
        log = cls(disk, origin, key)
        if (data := disk.read(CHECKPOINT)) is not None:
            log._take(data)
        elif next(disk.files("tile/0"), None) is not None:
            raise TrustError("log: has tiles and no checkpoint", hint="`littoral audit verify` says what is wrong")
        log._remove_beyond()
        disk.replace(KEYS, f"{log.verifier}\n".encode())
        disk.replace(CHECKPOINT, str(log.note).encode())  # it may have been there without being on the disk
        return log

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.checkpoint.origin, self._key.public)

    def append(self, entries: Sequence[bytes]) -> Checkpoint:
        """All of them, on the disk and signed for when it returns.

        Raises InputError for an entry that is too long or a batch too large, OSError. After an OSError the log must be
        opened again: only then it is known whether they are in it.
        """
        _check(entries)
        if not entries:
            return self.checkpoint
        before, size = self.size, self.size + len(entries)
        edge = self._write(entries)
        self._disk.sync()
        checkpoint = self.checkpoint._replace(size=size, root=edge.root)
        note = self._signed(checkpoint)
        self._disk.replace(CHECKPOINT, str(note).encode())
        self._edge, self.checkpoint, self.shown = edge, checkpoint, (note, self.reader.grown(size))
        self._remove_partial(before, size)
        return checkpoint

    def cosigned(self, note: Note, by: Verifier) -> None:
        """Keeps a witness's signature of a checkpoint of this log, and the witness's key.

        Raises TrustError for a signature that is not its, and for a checkpoint that is not this log's; OSError.
        """
        note.check(by)
        seen = parse_checkpoint(note, "cosigned checkpoint")
        if seen.size > self.size or self.root_at(seen.size) != seen.root:
            raise TrustError(f"cosigned checkpoint of {seen.size} entries: is not of this log")
        own = [one for one in note.signatures if one.key_id == self.verifier.key_id]
        others = [one for one in note.signatures if (one.name, one.key_id) == (by.name, by.key_id)]
        known = Note(note.text, tuple(own + others))
        if (before := self.witnessed) is not None and before.text == note.text:
            kept = [one for one in before.signatures if (one.name, one.key_id) != (by.name, by.key_id)]
            known = Note(note.text, tuple(kept + others))
        self._keep_witness(by)
        self._disk.replace(WITNESSED, str(known).encode())

    def _keep_witness(self, by: Verifier) -> None:
        lines = (self._disk.read(WITNESSES) or b"").decode(errors="replace").splitlines()
        if str(by) in lines:
            return
        kept = [line for line in lines if not line.startswith(f"{by.name}+")][-WITNESSES_MAX + 1 :]
        self._disk.replace(WITNESSES, "".join(f"{line}\n" for line in (*kept, str(by))).encode())

    def _signed(self, checkpoint: Checkpoint) -> Note:
        text = checkpoint.text
        return Note(text, (sign(text, checkpoint.origin, self._key),))

    def _take(self, data: bytes) -> None:
        note = parse_note(data, CHECKPOINT)
        note.check(self.verifier)
        found = parse_checkpoint(note, CHECKPOINT)
        if found.origin != self.checkpoint.origin:
            raise TrustError(f"`{CHECKPOINT}`: is of log `{found.origin}`, expected `{self.checkpoint.origin}`")
        self.checkpoint, self.shown = found, (note, TileReader(self._disk, found.size))
        self._edge = self._read_edge(found.size)
        if self._edge.root != found.root:
            raise TrustError(
                f"`{CHECKPOINT}`: its root of {found.size} entries is not that of the tiles",
                hint="`littoral audit verify` says which file was changed",
            )

    def _read_edge(self, size: int) -> _Edge:
        partial = {tile.level: tile for tile in partial_tiles(size)}
        hashes = [self.reader.tile(partial[at]) if at in partial else b"" for at in range(LEVEL_COUNT_MAX)]
        entries = b""
        if ENTRIES in partial:
            path = partial[ENTRIES].path
            entries = self._disk.read(path) or b""
            if leaf_hashes(bundled(entries, path)) != hashes[0]:
                raise TrustError(f"`{path}`: is missing or was changed: the tiles have other hashes")
        return _Edge(tuple(hashes), entries)

    def _write(self, entries: Sequence[bytes]) -> _Edge:
        """Full files and the partial one of each level that grew."""
        grown = self._write_entries(entries)
        hashes, more = list(self._edge.hashes), leaf_hashes(entries)
        for level in range(LEVEL_COUNT_MAX):
            if not more:
                break
            more = self._write_level(level, hashes, more)
        return _Edge(tuple(hashes), grown)

    def _write_level(self, level: int, hashes: list[bytes], more: bytes) -> bytes:
        """Roots of the tiles that are full now; `hashes` of the level becomes what is left."""
        data, roots = hashes[level] + more, []
        index = (self.size >> HEIGHT * level) // WIDTH
        tile_bytes = WIDTH * HASH_BYTES
        full_count = len(data) // tile_bytes
        for number in range(full_count):
            full = data[number * tile_bytes : (number + 1) * tile_bytes]
            self._disk.write(Tile(level, index + number).path, full)
            roots.append(_tile_root(full))
        hashes[level] = data[full_count * tile_bytes :]
        if hashes[level]:
            width = len(hashes[level]) // HASH_BYTES
            self._disk.write(Tile(level, index + full_count, width).path, hashes[level])
        return b"".join(roots)

    def _write_entries(self, entries: Sequence[bytes]) -> bytes:
        index, held = divmod(self.size, WIDTH)
        data, at = self._edge.entries, 0
        while at < len(entries):
            taken = entries[at : at + WIDTH - held]
            data += bundle(taken)
            at, held = at + len(taken), held + len(taken)
            self._disk.write(Tile(ENTRIES, index, held).path, data)
            if held == WIDTH:
                index, held, data = index + 1, 0, b""
        return data

    def _remove_partial(self, before: int, size: int) -> None:
        """Those of the checkpoint before, in whose place there are larger ones."""
        grown = {(tile.level, tile.number) for tile in tiles_of(size, since=before)}
        for tile in partial_tiles(before):
            if (tile.level, tile.number) in grown:
                self._disk.remove(tile.path)

    def _remove_beyond(self) -> None:
        """What an interrupted batch has left. It began at this size, and no batch is larger than BATCH_COUNT_MAX."""
        kept = {tile.path for tile in partial_tiles(self.size)}
        for tile in tiles_of(self.size + BATCH_COUNT_MAX + WIDTH, since=self.size):
            held = [path for path, _ in self._disk.files(f"{tile.full.path}.p")]
            for path in (tile.full.path, *held):
                if path not in kept:
                    self._disk.remove(path)


def _check(entries: Sequence[bytes]) -> None:
    if len(entries) > BATCH_COUNT_MAX:
        raise InputError(f"batch of {len(entries)} entries, at most {BATCH_COUNT_MAX}")
    if (longest := max(map(len, entries), default=0)) > ENTRY_BYTES_MAX:
        raise InputError(f"entry of {longest} bytes, at most {ENTRY_BYTES_MAX}")


def _complete(hashes: bytes) -> list[bytes]:
    """Roots of the complete subtrees that a tile's hashes fall into, the largest first."""
    count, at, found = len(hashes) // HASH_BYTES, 0, []
    while at < count:
        width = 1 << ((count - at).bit_length() - 1)
        found.append(_tile_root(hashes[at * HASH_BYTES : (at + width) * HASH_BYTES]))
        at += width
    return found


def _tile_root(hashes: bytes) -> bytes:
    """Of a power of two of hashes."""
    while len(hashes) > HASH_BYTES:
        hashes = parents(hashes)
    return hashes
