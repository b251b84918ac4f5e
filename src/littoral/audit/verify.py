"""Finds what was changed in a log, from its files alone: each finding says which file or entry is wrong, and how.

Believed is the key. It signs a checkpoint, which fixes the root; the root fixes the tiles from the top down, and they
fix the entries. A tile that its parent does not bear out is told once; what lies below it is held against it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from littoral.audit.checkpoint import Checkpoint, parse_checkpoint
from littoral.audit.disk import Disk
from littoral.audit.entries import PRUNED, decode_entry
from littoral.audit.log import CHECKPOINT, KEYS, WITNESSED, WITNESSES
from littoral.audit.note import Verifier, parse_note
from littoral.audit.tiles import (
    ENTRIES,
    HEIGHT,
    LEVEL_COUNT_MAX,
    WIDTH,
    Tile,
    TileReader,
    bundled,
    parse_tile,
    read_tile,
)
from littoral.audit.tree import HASH_BYTES, leaf_hashes, root
from littoral.errors import InputError, LittoralError, TrustError

__all__ = ["Fault", "Report", "Witness", "verify_log"]

FAULTS_MAX = 1000
KEY_LINES_MAX = 256
KEY_FILE_BYTES_MAX = 1 << 16


class Fault(NamedTuple):
    """where: a file, or `entry NUMBER`. what: how it is wrong."""

    where: str
    what: str


class Witness(NamedTuple):
    """Has seen the log with so many entries. at_s: Unix seconds."""

    name: str
    size: int
    at_s: int


@dataclass
class Report:
    """size: entries of the checkpoint. checked: those that were read; pruned: those of which the hash is left.

    unsigned: files beyond the checkpoint: of a batch on its way, or of a checkpoint that was put back.
    key: whose signature was found right; is_own_key: it was read from the log's own folder, so whoever wrote the folder
    chose it.
    """

    size: int = 0
    root: str = ""
    key: str = ""
    is_own_key: bool = False
    checked: int = 0
    pruned: int = 0
    unsigned: int = 0
    witnesses: list[Witness] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    more_faults: int = 0
    faults_max: int = FAULTS_MAX

    @property
    def is_right(self) -> bool:
        return not self.faults

    def fault(self, where: str, what: str) -> None:
        """Counted beyond `faults_max`."""
        if len(self.faults) < self.faults_max:
            self.faults.append(Fault(where, what))
        else:
            self.more_faults += 1


def verify_log(
    disk: Disk,
    *,
    key: Verifier | None = None,
    witnesses: Sequence[Verifier] = (),
    earlier: Sequence[bytes] = (),
    heed: Callable[[int, bytes], None] | None = None,
    faults_max: int = FAULTS_MAX,
) -> Report:
    """key: whose the log must be; default: what its folder says. witnesses: whose cosignatures count, beside those
    that the folder names. earlier: signed checkpoints that were seen elsewhere: the log must go on from each.
    heed: given every entry that is right. faults_max: more are counted. Raises OSError.
    """
    return _Verification(disk, heed, Report(faults_max=faults_max)).run(key, witnesses, earlier)


class _Verification:
    def __init__(self, disk: Disk, heed: Callable[[int, bytes], None] | None, report: Report) -> None:
        self._disk = disk
        self._heed = heed
        self._report = report
        self._reader = TileReader(disk, 0)
        self._pruned_to = 0
        self._missing: list[Tile] = []

    def run(self, key: Verifier | None, witnesses: Sequence[Verifier], earlier: Sequence[bytes]) -> Report:
        report = self._report
        own = self._own_key()
        if key is not None and own is not None and own != key:
            report.fault(KEYS, f"names the key of `{own.name}` {own.key_id.hex()}, expected {key.key_id.hex()}")
        verifier = key or own
        if verifier is None or (checkpoint := self._checkpoint(verifier, CHECKPOINT)) is None:
            return report
        report.key, report.size, report.root = str(verifier), checkpoint.size, checkpoint.root.hex()
        report.is_own_key = key is None
        self._reader = TileReader(self._disk, checkpoint.size)
        if not self._is_held(checkpoint.size):
            return report
        self._check_tiles(checkpoint)
        self._check_entries(checkpoint.size)
        self._check_pruned()
        self._check_strangers(checkpoint.size)
        self._check_witnessed(verifier, witnesses)
        for number, data in enumerate(earlier):
            self._check_seen(data, f"earlier checkpoint {number + 1}", verifier)
        return report

    def _own_key(self) -> Verifier | None:
        try:
            return _keys(self._disk.read(KEYS), KEYS)[0]
        except (LittoralError, IndexError) as error:
            self._report.fault(KEYS, f"no public key: {error}")
            return None

    def _checkpoint(self, verifier: Verifier, path: str) -> Checkpoint | None:
        if (data := self._disk.read(path)) is None:
            self._report.fault(path, "is missing")
            return None
        return self._signed(data, path, verifier)

    def _signed(self, data: bytes, what: str, verifier: Verifier) -> Checkpoint | None:
        try:
            note = parse_note(data, what)
            note.check(verifier)
            checkpoint = parse_checkpoint(note, what)
        except TrustError as error:
            self._report.fault(what, error.message)
            return None
        if checkpoint.origin != verifier.name:
            self._report.fault(what, f"is of log `{checkpoint.origin}`, expected `{verifier.name}`")
            return None
        if what == CHECKPOINT and len(note.signatures) != 1:
            self._report.fault(what, f"has {len(note.signatures)} signatures, expected the log's alone")
        return checkpoint

    def _is_held(self, size: int) -> bool:
        """Files that are missing are named one by one, unless they are more than can be named: a checkpoint may speak
        of any size."""
        held, needed = sum(1 for _ in self._disk.files("tile")), size >> HEIGHT
        if needed <= held + FAULTS_MAX:
            return True
        told = f"speaks of {size} entries, whose hashes take {needed} files; the folder has {held} in all"
        self._report.fault(CHECKPOINT, f"{told}: the log was cut back, or this is no checkpoint of it")
        return False

    def _check_tiles(self, checkpoint: Checkpoint) -> None:
        """From the top down. Whether a tile is right is known from its parent; the last ones of each level give the
        root."""
        try:
            is_borne = root(checkpoint.size, self._reader.hash_at) == checkpoint.root
        except LittoralError:
            is_borne = False
        if not is_borne:
            self._report.fault(CHECKPOINT, f"the last tiles do not give its root of {checkpoint.size} entries")
        for level in reversed(range(LEVEL_COUNT_MAX)):
            for number in range((checkpoint.size >> HEIGHT * level) + WIDTH - 1 >> HEIGHT):
                self._check_tile(level, number)

    def _check_tile(self, level: int, number: int) -> None:
        tile = self._tile(level, number)
        try:
            found = self._reader.root_of(tile) if tile.width == WIDTH else self._reader.tile(tile)
        except LittoralError as error:
            self._report.fault(tile.path, error.message)
            return
        if tile.width < WIDTH:
            return
        above = self._tile(level + 1, number // WIDTH)
        wanted = self._hashes_or_none(above)
        at = number % WIDTH * HASH_BYTES
        if wanted is not None and wanted[at : at + HASH_BYTES] != found:
            self._report.fault(tile.path, f"its root is not hash {number % WIDTH} of `{above.path}`")

    def _check_entries(self, size: int) -> None:
        for number in range(size + WIDTH - 1 >> HEIGHT):
            tile = Tile(ENTRIES, number, min(WIDTH, size - number * WIDTH))
            try:
                data = read_tile(self._disk, tile)
                entries = [] if data is None else bundled(data, tile.path)
            except TrustError as error:
                self._report.fault(tile.path, error.message)
                continue
            if data is None:
                self._missing.append(tile)
                continue
            if len(entries) != tile.width:
                self._report.fault(tile.path, f"has {len(entries)} entries, expected {tile.width}")
            self._check_bundle(tile, entries)

    def _check_bundle(self, tile: Tile, entries: Sequence[bytes]) -> None:
        found, wanted = leaf_hashes(entries), self._hashes_or_none(tile._replace(level=0))
        if wanted is None:
            self._report.fault(tile.path, "cannot be checked: there is no tile with the hashes of its entries")
        first = tile.number * WIDTH
        for at, entry in enumerate(entries[: tile.width]):
            place = slice(at * HASH_BYTES, (at + 1) * HASH_BYTES)
            if wanted is not None and wanted != found and found[place] != wanted[place]:
                self._report.fault(f"entry {first + at}", f"its hash is not hash {at} of `{tile.path}`'s tile")
                continue
            self._report.checked += 1
            self._read_entry(first + at, entry)

    def _read_entry(self, index: int, entry: bytes) -> None:
        if self._heed is not None:
            self._heed(index, entry)
        if b'"pruned"' not in entry:
            return
        try:
            told = decode_entry(entry, index)
        except TrustError as error:
            self._report.fault(f"entry {index}", error.message)
            return
        if told.did == PRUNED and told.count <= index:
            self._pruned_to = max(self._pruned_to, told.count)

    def _check_pruned(self) -> None:
        """Entries that are missing must be said to be, in the log itself."""
        for tile in self._missing:
            if (tile.number + 1) * WIDTH <= self._pruned_to and tile.width == WIDTH:
                self._report.pruned += WIDTH
            else:
                self._report.fault(tile.path, "is missing, and nothing in the log says that it was pruned")

    def _check_strangers(self, size: int) -> None:
        """Files that are none of this log. Tiles of earlier sizes may have stayed: later ones must begin with them."""
        for path, _ in self._disk.files("tile"):
            try:
                tile = parse_tile(path.removeprefix("tile/"))
            except InputError:
                self._report.fault(path, "is no file of a log")
                continue
            held = (size >> HEIGHT * max(tile.level, 0)) - tile.number * WIDTH
            if tile.width > held:
                self._report.unsigned += 1
            elif tile.width < min(held, WIDTH):
                now = self._disk.read(tile._replace(width=min(held, WIDTH)).path)
                if now is not None and not now.startswith(self._disk.read(path) or b""):
                    self._report.fault(path, "is of an earlier size, and says something else than the tile of now")

    def _check_witnessed(self, verifier: Verifier, more: Sequence[Verifier]) -> None:
        if (data := self._disk.read(WITNESSED)) is None:
            return
        try:
            known = {(one.name, one.key_id): one for one in (*_keys(self._disk.read(WITNESSES), WITNESSES), *more)}
        except LittoralError as error:
            self._report.fault(WITNESSES, str(error))
            return
        if (seen := self._check_seen(data, WITNESSED, verifier)) is None:
            return
        note = parse_note(data, WITNESSED)
        for one in note.signatures:
            if (one.name, one.key_id) == (verifier.name, verifier.key_id):
                continue
            if (witness := known.get((one.name, one.key_id))) is None:
                self._report.fault(WITNESSED, f"cosigned by `{one.name}` with a key that is not in `{WITNESSES}`")
                continue
            try:
                self._report.witnesses.append(Witness(witness.name, seen.size, note.check(witness)))
            except TrustError as error:
                self._report.fault(WITNESSED, error.message)

    def _check_seen(self, data: bytes, what: str, verifier: Verifier) -> Checkpoint | None:
        """The log as somebody has seen it must be the beginning of what it is now."""
        if (seen := self._signed(data, what, verifier)) is None:
            return None
        if seen.size > self._report.size:
            self._report.fault(what, f"speaks of {seen.size} entries, the log has {self._report.size}: it was cut back")
            return seen
        try:
            found = root(seen.size, self._reader.hash_at)
        except LittoralError as error:
            self._report.fault(what, f"cannot be compared: {error.message}")
            return seen
        if found != seen.root:
            self._report.fault(what, f"the first {seen.size} entries are others now: the log was forked")
        return seen

    def _tile(self, level: int, number: int) -> Tile:
        return Tile(level, number, min(WIDTH, (self._report.size >> HEIGHT * level) - number * WIDTH))

    def _hashes_or_none(self, tile: Tile) -> bytes | None:
        try:
            return self._reader.tile(tile)
        except LittoralError:
            return None


def _keys(data: bytes | None, what: str) -> list[Verifier]:
    try:
        lines = (data or b"")[:KEY_FILE_BYTES_MAX].decode().splitlines()[:KEY_LINES_MAX]
    except UnicodeDecodeError as error:
        raise InputError(f"`{what}`: is no text") from error
    return [Verifier.parse(line) for line in lines if line]
