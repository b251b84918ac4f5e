"""Copies of points near a border: marked in their payload, so that counts leave them out, and never shown.

A point lies once at home and, where cells have copies, in some other shards too. Searches, pages and reads by id take
each id once. Sums cannot: a shard counts what is at home there.
"""

from typing import TypeVar

import msgspec

from littoral.errors import InputError
from littoral.vectors import frames
from littoral.vectors.filters import Condition, Filter, Match, as_condition
from littoral.vectors.records import Hit, IndexInfo, Payload, PointBatch, PointId, Record, ShardInfo

__all__ = [
    "MARK",
    "as_copy",
    "at_home",
    "check_unmarked",
    "for_shard",
    "is_copy",
    "marked",
    "without_mark",
    "without_marks",
]

MARK = "littoral_copy"
IS_COPY = Condition(key=MARK, match=Match(value=True))

_A = TypeVar("_A", bound=frames.Answer)


def marked() -> Filter:
    """What finds the copies of a shard."""
    return Filter(must=[IS_COPY])


def as_copy(payload: Payload | None) -> Payload:
    """Of a point that is at home elsewhere."""
    return {**(payload or {}), MARK: True}


def is_copy(payload: Payload | None) -> bool:
    """Whether it is of a point that is at home elsewhere."""
    return payload is not None and payload.get(MARK) is True


def without_mark(payload: Payload | None) -> Payload | None:
    """As it is at home."""
    return payload if not is_copy(payload) else {key: value for key, value in (payload or {}).items() if key != MARK}


def check_unmarked(request: frames.Request) -> None:
    """Raises InputError for a payload that uses the key itself."""
    match request:
        case frames.Upsert(points=PointBatch(ids=ids, payloads=list() as payloads)):
            for point, payload in zip(ids, payloads, strict=False):
                if payload and MARK in payload:
                    raise _reserved(point)
        case frames.ChangePayload(change=change):
            if MARK in (*(change.payload or {}), *(change.keys or []), change.key):
                raise _reserved(None)


def _reserved(point: PointId | None) -> InputError:
    where = "payload" if point is None else f"point `{point}`: payload"
    return InputError(f"{where}: the key `{MARK}` is reserved in a collection that is spread over nodes")


def for_shard(request: frames.Request) -> frames.Request:
    """What to ask a shard that has copies: its sums leave them out. What takes a payload away leaves the mark
    (`Replica.kept_key`).
    """
    if isinstance(request, frames.Count | frames.Facet):
        return msgspec.structs.replace(request, filter=at_home(request.filter))
    return request


def at_home(matching: Filter | None) -> Filter:
    """Without copies of points that are at home elsewhere."""
    return Filter(must_not=[IS_COPY], must=None if matching is None else [as_condition(matching)])


def without_marks(answer: _A, copy_count: int = 0) -> _A:
    """As if there were no copies; changes the answer itself. copy_count: how many the shard has, for `Informed`."""
    points: list[Hit | Record] = []
    match answer:
        case frames.Found():
            points += [hit for hits in answer.hits for hit in hits]
        case frames.Grouped():
            points += [hit for group in answer.groups for hit in group.hits]
        case frames.Records():
            points += answer.records
        case frames.Informed():
            answer.info = _homes(answer.info, copy_count)
    for point in points:
        if point.payload is not None:
            point.payload.pop(MARK, None)
    return answer


def _homes(info: ShardInfo, copy_count: int) -> ShardInfo:
    schema: dict[str, IndexInfo] = {name: index for name, index in info.payload_schema.items() if name != MARK}
    return msgspec.structs.replace(info, points_count=max(0, info.points_count - copy_count), payload_schema=schema)
