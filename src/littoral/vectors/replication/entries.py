"""What replicas tell each other: full states of points, each with the version that decides between two of them.

Filters and changes of payloads are resolved where they are made (`resolving`): what travels needs no other point, and
may come twice, late, or in another order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.vectors.checks import check_points, checked_id
from littoral.vectors.records import CollectionConfig, Payload, PointBatch, PointId, PointVectors
from littoral.vectors.replication.hybrid_clock import TIME_MAX

__all__ = [
    "ENTRY_BYTES",
    "Change",
    "Entry",
    "State",
    "Vector",
    "Version",
    "batch_of",
    "check_changes",
    "covers",
    "decode_entry",
    "decode_states",
    "encode",
    "id_of",
    "key_of",
    "latest",
    "merged",
    "parts",
    "size_of",
    "upserts",
]

ENTRY_BYTES = 128 << 10
"""About as much as one entry holds, unless a single point is larger: entries must fit messages between nodes."""

POINT_BYTES_MAX = 15 << 20
"""A point that is larger fits no message between nodes."""

CHANGE_BYTES = 64
ORIGIN_CHARACTERS_MAX = 200
NUMBER_MAX = 2**62
INTEGER_KEY_BYTES = 8

Vector = Mapping[str, int]
"""By origin, the number up to which all of its writes are known."""


class Version(NamedTuple):
    """Of a point. number: of the write, among its origin's."""

    time: int
    origin: str
    number: int
    is_gone: bool = False

    def beats(self, other: "Version | None") -> bool:
        """The later time wins, then the higher origin, then the deletion."""
        return other is None or (self.time, self.origin, self.is_gone) > (other.time, other.origin, other.is_gone)


class Change(msgspec.Struct, array_like=True):
    """A point as it is from now on. `vectors` None = it is gone."""

    id: PointId
    vectors: PointVectors | None = None
    payload: Payload | None = None


class Entry(msgspec.Struct, array_like=True):
    """One write, or a part of a large one, in the log of its origin. No id is in it twice."""

    origin: str
    number: int
    time: int
    changes: list[Change]

    def states(self) -> "list[State]":
        """Each change with its version."""
        return [State(self.time, self.origin, self.number, change) for change in self.changes]


class State(msgspec.Struct, array_like=True):
    """A point and its version: what replicas take over one by one, in any order."""

    time: int
    origin: str
    number: int
    change: Change

    @property
    def version(self) -> Version:
        return Version(self.time, self.origin, self.number, self.change.vectors is None)


_encoder = msgspec.msgpack.Encoder()
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_states_decoder = msgspec.msgpack.Decoder(list[State])
_T = TypeVar("_T")


def encode(told: Entry | list[State]) -> bytes:
    """Raises InputError for what is no msgpack (an integer beyond 64 bits)."""
    try:
        return _encoder.encode(told)
    except (OverflowError, TypeError, UnicodeEncodeError, RecursionError) as error:
        raise InputError(f"write cannot be kept: {error}") from error


def decode_entry(body: bytes) -> Entry:
    """Raises InputError, also for times, numbers and ids that none has."""
    entry = _decoded(_entry_decoder, body)
    _check_version(Version(entry.time, entry.origin, entry.number))
    _check_ids(entry.changes)
    return entry


def decode_states(body: bytes) -> list[State]:
    """Raises InputError, as `decode_entry`."""
    states = _decoded(_states_decoder, body)
    for state in states:
        _check_version(state.version)
    _check_ids(state.change for state in states)
    return states


def _decoded(decoder: "msgspec.msgpack.Decoder[_T]", body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"entry of {len(body)} bytes: {error}") from error


def _check_version(version: Version) -> None:
    if not 0 < version.time < TIME_MAX or not 0 < version.number < NUMBER_MAX:
        raise InputError(f"entry `{version.origin[:80]}` {version.number}: time {version.time} or number out of range")
    if not 0 < len(version.origin) <= ORIGIN_CHARACTERS_MAX:
        raise InputError(f"entry: origin of {len(version.origin)} characters, must be 1..{ORIGIN_CHARACTERS_MAX}")


def _check_ids(changes: Iterable[Change]) -> None:
    seen: set[PointId] = set()
    for change in changes:
        if checked_id(change.id) != change.id or change.id in seen:
            raise InputError(f"entry: point id `{change.id}` is there twice, or not in its canonical form")
        seen.add(change.id)


def check_changes(changes: Sequence[Change], config: CollectionConfig) -> None:
    """What is kept must be what the store takes: everything it refuses is refused here, and what cannot be shipped.

    Raises InputError, TooLargeError.
    """
    for change in changes:
        if (size := size_of(change)) > POINT_BYTES_MAX:
            raise TooLargeError(
                f"point `{change.id}` has {size} bytes, at most {POINT_BYTES_MAX} where it is replicated"
            )
    written = [change for change in changes if change.vectors is not None]
    batch = PointBatch([c.id for c in written], [c.vectors or {} for c in written], [c.payload for c in written])
    check_points(batch, config, range(len(written)))


def latest(changes: Iterable[Change]) -> list[Change]:
    """Of several changes of one point the last."""
    return list({change.id: change for change in changes}.values())


def parts(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """A write in pieces of about ENTRY_BYTES."""
    part: list[Change] = []
    size = 0
    for change in changes:
        size += size_of(change)
        part.append(change)
        if size >= ENTRY_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def size_of(change: Change) -> int:
    """Bytes that it takes, or a little more."""
    vectors = change.vectors
    if change.payload is None and (vectors is None or isinstance(vectors, bytes)):
        return CHANGE_BYTES + len(vectors or b"")
    return len(_encoder.encode(change))


def upserts(batch: PointBatch) -> list[Change]:
    """The points of a checked batch, one by one."""
    payloads: Sequence[Any] = batch.payloads or [None] * len(batch.ids)
    if isinstance(batch.vectors, bytes):
        size = len(batch.vectors) // max(len(batch.ids), 1)
        rows: Sequence[PointVectors] = [batch.vectors[at * size : (at + 1) * size] for at in range(len(batch.ids))]
    else:
        rows = batch.vectors
    return [Change(point, row, payload) for point, row, payload in zip(batch.ids, rows, payloads, strict=True)]


def batch_of(changes: Sequence[Change]) -> PointBatch:
    """Points to write, in columns where they are plain."""
    ids = [change.id for change in changes]
    rows: list[PointVectors] = [change.vectors for change in changes if change.vectors is not None]
    payloads = [change.payload for change in changes] if any(change.payload for change in changes) else None
    plain = [row for row in rows if isinstance(row, bytes)]
    return PointBatch(ids, b"".join(plain) if len(plain) == len(ids) else rows, payloads)


def key_of(point: PointId) -> bytes:
    """An id as the journal keeps it: eight bytes of an integer, the sixteen of a UUID."""
    return point.to_bytes(INTEGER_KEY_BYTES, "big") if isinstance(point, int) else bytes.fromhex(point.replace("-", ""))


def id_of(key: bytes) -> PointId:
    """What `key_of` was given."""
    if len(key) == INTEGER_KEY_BYTES:
        return int.from_bytes(key, "big")
    text = key.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def covers(vector: Vector, other: Vector) -> bool:
    """Whether all that `other` knows is known to `vector`."""
    return all(vector.get(origin, 0) >= number for origin, number in other.items())


def merged(vector: Vector, other: Vector) -> dict[str, int]:
    """What the two know together."""
    return {origin: max(vector.get(origin, 0), other.get(origin, 0)) for origin in {**vector, **other}}
