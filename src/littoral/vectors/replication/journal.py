"""What a replica knows, in one SQLite file: its log, the version of every point, what the shard has of them.

The only place of replication that touches a disk. Every transaction is synced before its call returns (WAL,
`synchronous=FULL`): the shard never has what the journal could lose in a power cut, and a number that another replica
has seen is never given twice. For one thread.

entries: what was written or taken, in the order it came; `seq` counts them. Rows of an origin are its log, rows
without one are repairs. points: the version of each point that is or was there. origins: of each log the number up to
which everything is known, that up to which entries are no longer kept here, and that up to which deletions are
forgotten.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from littoral.errors import ShardError
from littoral.vault import KeyRing
from littoral.vectors.formats import check_marks
from littoral.vectors.records import PointId
from littoral.vectors.replication.digests import Digests, bucket_of, digest_of
from littoral.vectors.replication.entries import (
    Change,
    Entry,
    State,
    Version,
    decode_entry,
    decode_states,
    encode,
    id_of,
    key_of,
    latest,
    parts,
)
from littoral.vectors.replication.hybrid_clock import HybridClock
from littoral.vectors.replication.journal_bodies import Bodies
from littoral.vectors.replication.owing import LOGGED, Owing
from littoral.vectors.replication.repair import Knowledge
from littoral.vectors.replication.stamps import ANY, APART, At, LateError, Shipment, Stamp
from littoral.vectors.replication.strays import Strays, is_contested

__all__ = ["Journal"]

FORMAT = 1
READ_ROWS = 64
WAL_BYTES = 8 << 20
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT, number INTEGER, size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS log ON entries(origin, number) WHERE origin IS NOT NULL;
CREATE INDEX IF NOT EXISTS repairs ON entries(seq) WHERE origin IS NULL;
CREATE TABLE IF NOT EXISTS points(
  bucket INTEGER, key BLOB, time INTEGER NOT NULL, origin TEXT NOT NULL, number INTEGER NOT NULL, gone INTEGER NOT NULL,
  PRIMARY KEY(bucket, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS gone ON points(time) WHERE gone = 1;
CREATE TABLE IF NOT EXISTS origins(origin TEXT PRIMARY KEY, number INTEGER, base INTEGER, floor INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS doubts(key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class _Known(NamedTuple):
    """Of one origin: number ≥ base, floor."""

    number: int = 0
    base: int = 0
    floor: int = 0


class Journal:
    """path: of the file, or `:memory:`. life: a name that no other life of this replica has, for a new file.

    shard: names the shard that the points of this journal lie in. A file that belongs to another is emptied: what it
    says is there lies in a shard that is gone. ring: keys that seal what was written; None: it is plain.
    """

    def __init__(self, path: Path | str, node: str, life: str, shard: str = "", ring: KeyRing | None = None) -> None:
        self._path = path
        self._bodies = Bodies(ring, f"journal `{path}`")
        self._digests: Digests | None = None
        with self.errors():
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            check_marks(self._file, FORMAT, f"journal `{path}`")
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=FULL")
            self._file.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
            self._file.executescript(SCHEMA)
            self.was_emptied = str(self._mark("shard", shard)) != shard
            self.owing, self.strays = Owing(self._file), Strays(self._file)
            if self.was_emptied:
                self._empty()
            self._bodies.seal_all(self._file)
            self._load()
        if not self.origin:
            self.begin_life(node, life)
        with self.transaction():
            self._set_mark("shard", shard)

    def _empty(self) -> None:
        for table in ("entries", "points", "origins", "doubts", "marks", "owed", "strays"):
            self._file.execute(f"DELETE FROM {table}")  # noqa: S608

    def _load(self) -> None:
        self.owing.load()
        self.strays.load()
        self.origin = str(self._mark("origin", ""))
        self.is_whole = bool(self._mark("whole", 0))
        self._clock = HybridClock(int(self._mark("clock", 0)))
        rows = self._file.execute("SELECT origin, number, base, floor FROM origins")
        self._known = {origin: _Known(number, base, floor) for origin, number, base, floor in rows}
        (self.log_bytes,) = self._file.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()
        (self.last_seq,) = self._file.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
        self.applied_seq = int(self._mark("applied", 0))
        self.last_seq = max(self.last_seq, self.applied_seq)
        self._digests = None

    def begin_life(self, node: str, life: str) -> None:
        """From now on writes made here are of a new origin: nobody has numbers of it."""
        with self.transaction():
            self.origin = f"{node}.{life}"
            self._set_mark("format", FORMAT)
            self._set_mark("origin", self.origin)

    def become_whole(self) -> None:
        """Nothing that was acknowledged before the journal began is missing."""
        with self.transaction():
            self._set_mark("whole", 1)
            self.is_whole = True

    def close(self) -> None:
        """May be called twice."""
        self._file.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is on the disk after it, or not at all. Raises ShardError."""
        try:
            with self.errors():
                self._file.execute("BEGIN IMMEDIATE")
                yield
                self._set_mark("clock", self._clock.last)
                self._file.execute("COMMIT")
        except BaseException:
            with self.errors():
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                self._load()
            raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Around what asks the file: raises ShardError."""
        try:
            yield
        except sqlite3.Error as error:
            raise ShardError(f"journal `{self._path}`: {error}") from error

    def _mark(self, name: str, default: int | str) -> int | str:
        row = self._file.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return default if row is None else row[0]

    def _set_mark(self, name: str, value: int | str) -> None:
        self._file.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    @property
    def vector(self) -> dict[str, int]:
        """Up to which number each origin's writes are known here."""
        return {origin: known.number for origin, known in self._known.items() if known.number}

    @property
    def floor(self) -> dict[str, int]:
        """Up to which number each origin's deletions may be forgotten here."""
        return {origin: known.floor for origin, known in self._known.items() if known.floor}

    @property
    def knowledge(self) -> Knowledge:
        """Both, as they are now: between two transactions, what is on the disk."""
        return Knowledge(self.vector, self.floor)

    def write(self, changes: Sequence[Change], wall: float, *, at: At = ANY) -> Stamp:
        """A write made here, later than everything known; inside a transaction. wall: seconds since 1970.

        Raises LateError where it is not later than each of these points, or is not of what was seen.
        """
        time = at.time
        if time:
            self.check_time([change.id for change in changes], at)
            self._clock.saw(time)
        time = time or self._clock.tick(wall)
        told = changes if at.is_told or not self.owing.towards else [one for one in changes if self._has(one.id)]
        number = self._write_at(time, latest(changes))
        self._note(told, time)
        if at.may_stray:
            self.strays.note((key_of(change.id) for change in changes), time)
        return Stamp(self.origin, number, time)

    def _has(self, point: PointId) -> bool:
        version = self._version(key_of(point))
        return version is not None and not version.is_gone

    def _write_at(self, time: int, changes: Sequence[Change]) -> int:
        """As entries of this origin; the number of the last one."""
        first = self._known.get(self.origin, _Known()).number + 1
        entries = [Entry(self.origin, first + at, time, part) for at, part in enumerate(parts(changes))]
        for entry, body in [(entry, encode(entry)) for entry in entries]:
            self._append(body, self.origin, entry.number)
            for state in entry.states():
                self._put(state)
        return first + len(entries) - 1

    def _note(self, changes: Iterable[Change], time: int) -> None:
        if self.owing.towards:
            for change in changes:
                self.owing.note(key_of(change.id), time)

    def check_time(self, ids: Iterable[PointId], at: At) -> None:
        """Raises LateError where one of these points has a version that is not older, or another than was seen."""
        with self.errors():
            known = [self._version(key_of(point)) for point in ids]
        if any(at.is_late_for(version) for version in known):
            raise LateError(max(self._clock.last, *(version.time + APART for version in known if version), 0))

    def take_over(self, states: Sequence[State]) -> tuple[list[Change], Stamp]:
        """States of points that lay elsewhere, written as this origin's own, at the times that they have: those that
        win here. Inside a transaction.
        """
        by_time: dict[int, list[Change]] = {}
        for state in states:
            known = self._version(key_of(state.change.id))
            if known is None or state.time > known.time:
                by_time.setdefault(state.time, []).append(state.change)
        winners: list[Change] = []
        number = self._known.get(self.origin, _Known()).number
        for time, changes in sorted(by_time.items()):
            self._clock.saw(time)
            number = self._write_at(time, changes)
            winners += changes
        return winners, Stamp(self.origin, number, max(by_time, default=0))

    def take(self, entry: Entry, body: bytes) -> list[Change]:
        """An entry of another log, and as it came: the changes that win here. Inside a transaction.

        One that is known already, or that does not follow the last one known, changes nothing.
        """
        if entry.number != self._known.get(entry.origin, _Known()).number + 1:
            return []
        self._clock.saw(entry.time)
        self._append(body, entry.origin, entry.number)
        winners = self._put_all(entry.states())
        self._note(winners, LOGGED)
        return winners

    def take_states(self, states: Sequence[State]) -> list[Change]:
        """Points that a repair found: those that win here. Inside a transaction."""
        for state in states:
            self._clock.saw(state.time)
        winners = self._put_all(states)
        ids = {change.id for change in winners}
        self._note(winners, LOGGED)
        if ids:
            self._append(encode([state for state in states if state.change.id in ids]), None, None)
        return winners

    def learn(self, vector: Mapping[str, int], floor: Mapping[str, int]) -> None:
        """A repair took over everything that a replica with this vector had. Inside a transaction."""
        for origin in vector.keys() | floor.keys():
            known = self._known.get(origin, _Known())
            number = max(known.number, vector.get(origin, 0))
            base = number if number > known.number else known.base
            self._know(origin, _Known(number, base, max(known.floor, floor.get(origin, 0))))

    def _put_all(self, states: Iterable[State]) -> list[Change]:
        winners = []
        for state in states:
            key, version = key_of(state.change.id), state.version
            if is_contested(version, known := self._version(key)):
                self.strays.note([key], version.time)
            if version.beats(known):
                self._put(state)
                winners.append(state.change)
        return winners

    def _put(self, state: State) -> None:
        key, version = key_of(state.change.id), state.version
        bucket = bucket_of(key)
        if self._digests is not None:
            self._toggle(bucket, key, self._version(key))
            self._toggle(bucket, key, version)
        self._file.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?)", (bucket, key, *version))

    def _toggle(self, bucket: int, key: bytes, version: Version | None) -> None:
        if self._digests is not None and version is not None:
            self._digests.toggle(bucket, digest_of(key, version.time, version.origin, version.is_gone))

    def _version(self, key: bytes) -> Version | None:
        row = self._file.execute(
            "SELECT time, origin, number, gone FROM points WHERE bucket = ? AND key = ?", (bucket_of(key), key)
        ).fetchone()
        return None if row is None else Version(row[0], row[1], row[2], bool(row[3]))

    def _append(self, body: bytes, origin: str | None, number: int | None) -> None:
        row = (origin, number, len(body), self._bodies.stored(body, origin, number))
        added = self._file.execute("INSERT INTO entries(origin, number, size, body) VALUES (?, ?, ?, ?)", row)
        self.last_seq = added.lastrowid or self.last_seq
        self.log_bytes += len(body)
        if origin is not None and number is not None:
            self._know(origin, self._known.get(origin, _Known())._replace(number=number))

    def _know(self, origin: str, known: _Known) -> None:
        self._known[origin] = known
        self._file.execute("INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)", (origin, *known))

    def entries_after(self, vector: Mapping[str, int], bytes_max: int) -> Shipment:
        """What a replica with this vector lacks, an origin after the other; at least one entry, if there are any."""
        bodies: list[bytes] = []
        size, is_gapped = 0, False
        with self.errors():
            for origin, known in sorted(self._known.items()):
                after = vector.get(origin, 0)
                if after >= known.number or size >= bytes_max:
                    continue
                if after < known.base:
                    is_gapped = True
                    continue
                for number, stored in self._file.execute(
                    "SELECT number, body FROM entries WHERE origin = ? AND number > ? ORDER BY number", (origin, after)
                ):
                    body = self._bodies.plain(stored, origin, number)
                    if bodies and size + len(body) > bytes_max:
                        size = bytes_max
                        break
                    bodies.append(body)
                    size += len(body)
        return Shipment(bodies, is_gapped)

    def unapplied(self) -> Iterator[tuple[int, list[Change]]]:
        """What the shard may lack, as `seq` and the changes that still count, in order."""
        seq = self.applied_seq
        while True:
            with self.errors():
                rows = self._file.execute(
                    "SELECT seq, origin, number, body FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", (seq, READ_ROWS)
                ).fetchall()
                told = [(at, self._standing(origin, number, stored)) for at, origin, number, stored in rows]
            if not rows:
                return
            yield from told
            seq = rows[-1][0]

    def _standing(self, origin: str | None, number: int | None, stored: bytes) -> list[Change]:
        body = self._bodies.plain(stored, origin, number)
        states = decode_states(body) if origin is None else decode_entry(body).states()
        return [state.change for state in states if self._version(key_of(state.change.id)) == state.version]

    def applied(self, seq: int) -> None:
        """The shard has everything up to this, and keeps it in a power cut."""
        with self.transaction():
            self._set_mark("applied", seq)
            self._delete("origin IS NULL AND seq <= ?", (seq,))
            self.applied_seq = seq

    def forget(self, known_to_all: Mapping[str, int], bytes_max: int) -> None:
        """Drops entries that the shard has and every replica has; more, the oldest first, while they are too many.

        A replica that then lacks some is repaired, point by point.
        """
        with self.transaction():
            for origin, known in list(self._known.items()):
                upto = max(min(known_to_all.get(origin, 0), known.number), known.base)
                self._drop("origin = ? AND number <= ?", (origin, upto))
            while self.log_bytes > bytes_max:
                rows = self._file.execute(
                    "SELECT seq FROM entries WHERE seq <= ? ORDER BY seq LIMIT ?", (self.applied_seq, READ_ROWS)
                ).fetchall()
                if not rows:
                    return
                self._drop("seq <= ?", (rows[-1][0],))

    def _drop(self, which: str, values: tuple[int | str, ...]) -> None:
        which = f"{which} AND origin IS NOT NULL AND seq <= {self.applied_seq:d}"
        last = f"SELECT origin, max(number) FROM entries WHERE {which} GROUP BY origin"  # noqa: S608
        for origin, base in self._file.execute(last, values).fetchall():
            known = self._known[origin]
            self._know(origin, known._replace(base=max(known.base, base)))
        self._delete(which, values)

    def _delete(self, which: str, values: tuple[int | str, ...]) -> None:
        (freed,) = self._file.execute(f"SELECT sum(size) FROM entries WHERE {which}", values).fetchone()  # noqa: S608
        if freed is not None:
            self._file.execute(f"DELETE FROM entries WHERE {which}", values)  # noqa: S608
            self.log_bytes -= freed

    def forget_deletions(self, before: int) -> int:
        """Drops what is known of points that were deleted before this hybrid time; how many. Nothing while the shard
        lacks something.
        """
        if self.applied_seq < self.last_seq:
            return 0
        with self.transaction():
            rows = self._file.execute(
                "SELECT bucket, key, time, origin, number FROM points WHERE gone = 1 AND time < ?", (before,)
            ).fetchall()
            for bucket, key, time, origin, number in rows:
                self._toggle(bucket, key, Version(time, origin, number, is_gone=True))
                known = self._known.get(origin, _Known())
                self._know(origin, known._replace(floor=max(known.floor, number)))
            self._file.execute("DELETE FROM points WHERE gone = 1 AND time < ?", (before,))
        return len(rows)

    def digests(self) -> Digests:
        """Of all versions; read from the file once, then kept."""
        if self._digests is None:
            digests = Digests()
            with self.errors():
                for bucket, key, time, origin, gone in self._file.execute(
                    "SELECT bucket, key, time, origin, gone FROM points"
                ):
                    digests.toggle(bucket, digest_of(key, time, origin, bool(gone)))
            self._digests = digests
        return self._digests

    def versions(self, buckets: Iterable[int]) -> dict[bytes, Version]:
        """Of every point in these buckets, by its key."""
        found: dict[bytes, Version] = {}
        with self.errors():
            for bucket in buckets:
                for key, time, origin, number, gone in self._file.execute(
                    "SELECT key, time, origin, number, gone FROM points WHERE bucket = ?", (bucket,)
                ):
                    found[key] = Version(time, origin, number, bool(gone))
        return found

    def versions_of(self, keys: Iterable[bytes]) -> dict[bytes, Version]:
        """Of those points that are or were there."""
        with self.errors():
            found = {key: self._version(key) for key in keys}
        return {key: version for key, version in found.items() if version is not None}

    def doubt(self, ids: Iterable[PointId]) -> None:
        """The shard is about to change these points in its own way: after a crash they are read from it again."""
        with self.transaction():
            self._file.executemany("INSERT OR IGNORE INTO doubts VALUES (?)", ((key_of(point),) for point in ids))

    def doubted(self) -> list[PointId]:
        """Points of which only the shard knows how they are."""
        with self.errors():
            return [id_of(key) for (key,) in self._file.execute("SELECT key FROM doubts")]

    def settle(self) -> None:
        """What was doubted is written, or was not changed. Inside a transaction."""
        self._file.execute("DELETE FROM doubts")

    def adopt(self, ids: Iterable[PointId], wall: float) -> Stamp:
        """Points that the shard had before there was a journal: as if all were written now, without their states."""
        time = self._clock.tick(wall)
        known = self._known.get(self.origin, _Known())
        number = known.number + 1
        for point in ids:
            self._put(State(time, self.origin, number, Change(point, b"")))
        self._know(self.origin, known._replace(number=number, base=number))
        return Stamp(self.origin, number, time)

    def copy(self, target: Path) -> None:
        """What is known of points and origins, without the log, as a journal that is not there yet: for a shard that
        has everything. Raises ShardError.
        """
        with self.errors(), contextlib.closing(sqlite3.connect(target)) as copied:
            copied.executescript(SCHEMA)
            points = self._file.execute("SELECT * FROM points")
            copied.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?)", points)
            origins = [(origin, known.number, known.number, known.floor) for origin, known in self._known.items()]
            copied.executemany("INSERT INTO origins VALUES (?, ?, ?, ?)", origins)
            copied.execute("INSERT INTO marks VALUES ('clock', ?)", (self._clock.last,))
            copied.commit()

    def count(self) -> tuple[int, int]:
        """How many points are there, and how many deletions are remembered."""
        with self.errors():
            (count,) = self._file.execute("SELECT count(*) FROM points").fetchone()
            (gone,) = self._file.execute("SELECT count(*) FROM points WHERE gone = 1").fetchone()
        return count - gone, gone
