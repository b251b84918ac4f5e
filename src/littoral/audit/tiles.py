"""C2SP tlog-tiles: 256 hashes a file, 256 entries a file, and where each of them lies below the folder of a log."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from littoral.audit.disk import Disk
from littoral.audit.tree import HASH_BYTES, parents
from littoral.errors import InputError, NotFoundError, TrustError

__all__ = [
    "ENTRIES",
    "ENTRY_BYTES_MAX",
    "HEIGHT",
    "LEVEL_COUNT_MAX",
    "WIDTH",
    "Tile",
    "TileReader",
    "bundle",
    "bundled",
    "parse_tile",
    "partial_tiles",
    "read_tile",
    "tiles_of",
]

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVEL_COUNT_MAX = 8
ENTRIES = -1
"""The level of bundles of entries."""

ENTRY_BYTES_MAX = 0xFFFF
LENGTH_BYTES = 2
KNOWN_COUNT_MAX = 256
READS_MAX = 3


class Tile(NamedTuple):
    """level: 0 holds hashes of leaves, each further one those of full tiles below; ENTRIES the entries themselves.

    width: how many it holds, 1 to 256.
    """

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Such as `tile/0/x001/234.p/112`."""
        groups, rest = [f"{self.number % 1000:03}"], self.number // 1000
        while rest:
            groups.append(f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @property
    def full(self) -> "Tile":
        return self._replace(width=WIDTH)


def parse_tile(path: str) -> Tile:
    """Of its path below `tile/`. Raises InputError for any other way to write one."""
    level, _, rest = path.partition("/")
    name, dot, width = rest.partition(".p/")
    groups = name.replace("x", "").split("/")
    digits = ("0" if level == "entries" else level, *groups, width or "1")
    if len(path) <= 64 and all(part.isascii() and part.isdecimal() for part in digits):
        found = Tile(ENTRIES if level == "entries" else int(level), int("".join(groups)), int(width) if dot else WIDTH)
        if found.path == f"tile/{path}" and found.width > 0 and (not dot or found.width < WIDTH):
            return found
    raise InputError(f"tile `{path[:80]}`: must be LEVEL/INDEX or entries/INDEX, such as `0/x001/234.p/112`")


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Those of a tree of `size` leaves that one of `since` leaves has not; bottom up, of each level from the left."""
    for level in range(ENTRIES, LEVEL_COUNT_MAX):
        below = HEIGHT * max(level, 0)
        first, count, width = (since >> below) // WIDTH, *divmod(size >> below, WIDTH)
        yield from (Tile(level, index) for index in range(first, count))
        if width and (size >> below) != (since >> below):
            yield Tile(level, count, width)


def partial_tiles(size: int) -> list[Tile]:
    """Of `tiles_of` those that are not full: at most one a level."""
    found = []
    for level in range(ENTRIES, LEVEL_COUNT_MAX):
        index, width = divmod(size >> HEIGHT * max(level, 0), WIDTH)
        if width:
            found.append(Tile(level, index, width))
    return found


def bundle(entries: Sequence[bytes]) -> bytes:
    """As the file of entries has them."""
    return b"".join([len(entry).to_bytes(LENGTH_BYTES, "big") + entry for entry in entries])


def bundled(data: bytes, what: str) -> list[bytes]:
    """What `bundle` joined. Raises TrustError for bytes that are none."""
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + LENGTH_BYTES
        at = start + (data[start - 2] << 8 | data[start - 1] if start <= end else end)
        if at > end:
            raise TrustError(f"`{what}`: ends within entry {len(entries)}")
        entries.append(data[start:at])
    return entries


def read_tile(disk: Disk, tile: Tile) -> bytes | None:
    """The tile at its width, also where the log has grown and a wider one has taken its place. None where there is
    none. Raises TrustError for a bundle that is none.
    """
    if (data := disk.read(tile.path)) is not None or tile.width == WIDTH:
        return data
    for _ in range(READS_MAX):
        wider = [parse_tile(path.removeprefix("tile/")) for path, _ in disk.files(f"{tile.full.path}.p")]
        found = min((one for one in (*wider, tile.full) if one.width >= tile.width), key=lambda one: one.width)
        if (data := disk.read(found.path)) is not None:
            if tile.level == ENTRIES:
                return bundle(bundled(data, found.path)[: tile.width])
            return data[: tile.width * HASH_BYTES]
    return None


class TileReader:
    """Hashes of a tree of `size` leaves from the files on a disk.

    What lies in the files is believed: who needs proof compares roots. Keeps what it read, up to KNOWN_COUNT_MAX tiles.
    """

    def __init__(self, disk: Disk, size: int) -> None:
        self.size = size
        self._disk = disk
        self._known: dict[Tile, list[bytes]] = {}
        self._lock = threading.Lock()

    def grown(self, size: int) -> "TileReader":
        """Of the same log with more leaves: what is known of full tiles stays known."""
        other = TileReader(self._disk, size)
        with self._lock:
            other._known = {tile: rows for tile, rows in self._known.items() if tile.width == WIDTH}
        return other

    def hash_at(self, level: int, index: int) -> bytes:
        """As `HashAt`. Raises NotFoundError, TrustError for files that are missing or of the wrong length."""
        tile_level, row = divmod(level, HEIGHT)
        first = index << row
        hashes = self._row(self._tile_at(tile_level, first // WIDTH), row)
        at = (first % WIDTH >> row) * HASH_BYTES
        return hashes[at : at + HASH_BYTES]

    def root_of(self, tile: Tile) -> bytes:
        """Of a full tile: the hash that the level above has for it. Raises as `hash_at`."""
        return self._row(tile, HEIGHT)

    def tile(self, tile: Tile) -> bytes:
        """A tile of hashes as it lies in its file, at its width. Raises as `hash_at`."""
        return self._row(tile, 0)

    def _tile_at(self, level: int, index: int) -> Tile:
        return Tile(level, index, min(WIDTH, (self.size >> HEIGHT * level) - index * WIDTH))

    def _row(self, tile: Tile, row: int) -> bytes:
        """Hashes of the tile's complete subtrees of 2^row hashes."""
        with self._lock:
            if (rows := self._known.pop(tile, None)) is None:
                rows = [_checked(read_tile(self._disk, tile), tile)]
            self._known[tile] = rows
            if len(self._known) > KNOWN_COUNT_MAX:
                del self._known[next(iter(self._known))]
            while len(rows) <= row:
                pairs = len(rows[-1]) // (2 * HASH_BYTES)
                rows.append(parents(rows[-1][: pairs * 2 * HASH_BYTES]))
            return rows[row]


def _checked(data: bytes | None, tile: Tile) -> bytes:
    if data is None:
        raise NotFoundError(f"`{tile.path}`: no such file in the log")
    if len(data) != tile.width * HASH_BYTES:
        raise TrustError(f"`{tile.path}`: has {len(data)} bytes, {tile.width} hashes have {tile.width * HASH_BYTES}")
    return data
