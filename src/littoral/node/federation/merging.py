"""Answers of several shards as that of one: exact, by true scores, each point once. Pure.

Equal scores are in the order of ids, numbers before UUIDs, as in one shard.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from littoral.errors import ShardError
from littoral.vectors import asks, frames
from littoral.vectors.asks import Ask
from littoral.vectors.frames import Answer, Request
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import (
    LOW_FIRST,
    CollectionConfig,
    FacetValue,
    Hit,
    HitGroup,
    IndexInfo,
    PointId,
    Record,
    ShardInfo,
)

__all__ = ["WHOLE", "id_order", "merge", "merged_hits"]

WHOLE = (frames.Search, frames.Group, frames.Scroll, frames.Retrieve)
"""Answers to these may overlap: a point that two shards or replicas tell is one point. Others are sums."""

_P = TypeVar("_P", Hit, Record)
_A = TypeVar("_A", bound=msgspec.Struct)


def id_order(point_id: PointId) -> tuple[bool, Any]:
    """Numbers before UUIDs, as a store scrolls."""
    return isinstance(point_id, str), point_id


def merge(request: Request, answers: Sequence[Answer], config: CollectionConfig) -> Answer:
    """answers: at least one, to `request`, each of other shards; pages begin at the first hit."""
    match request:
        case frames.Search():
            return _searches(request, _all(answers, frames.Found), config)
        case frames.Group():
            return _groups(request, _all(answers, frames.Grouped), config)
        case frames.Facet():
            return _facets(request, _all(answers, frames.Faceted))
        case frames.Scroll():
            return _scrolls(request, _all(answers, frames.Records))
        case frames.Retrieve():
            records = _each_once(record for one in _all(answers, frames.Records) for record in one.records)
            return frames.Records(call=0, epoch=_epoch(answers), records=records)
        case frames.Count():
            count = sum(one.count for one in _all(answers, frames.Counted))
            return frames.Counted(call=0, epoch=_epoch(answers), count=count)
        case frames.Info():
            return frames.Informed(call=0, info=_info([one.info for one in _all(answers, frames.Informed)]))
    written = _all(answers, frames.Written)
    return frames.Written(call=0, epoch=_epoch(answers), changed=any(one.changed for one in written))


def _all(answers: Sequence[Answer], kind: type[_A]) -> list[_A]:
    found: list[_A] = [one for one in answers if isinstance(one, kind)]
    if len(found) != len(answers):
        other = next(one for one in answers if not isinstance(one, kind))
        raise ShardError(f"a shard answered {type(other).__name__}, not {kind.__name__}")
    return found


def _epoch(answers: Sequence[Answer]) -> int:
    return max(getattr(one, "epoch", 0) for one in answers)


def _searches(request: frames.Search, answers: list[frames.Found], config: CollectionConfig) -> frames.Found:
    hits = [merged_hits(query, [one.hits[i] for one in answers], config) for i, query in enumerate(request.queries)]
    return frames.Found(call=0, epoch=_epoch(answers), hits=hits)


def merged_hits(query: SearchQuery, found: Sequence[list[Hit]], config: CollectionConfig) -> list[Hit]:
    """The `offset + limit` best of all."""
    hits, end = list(chain.from_iterable(found)), query.offset + query.limit
    if isinstance(query.ask, bytes | asks.Nearest) and _are_all_different(hits):
        hits.sort(key=attrgetter("score"), reverse=not _is_low_first(query.using, config))
        return hits[:end]
    hits.sort(key=_order(query.ask, query.using, config))
    return _each_once(hits)[:end]


def _are_all_different(hits: Sequence[Hit]) -> bool:
    """Points and scores: then the scores alone say what comes first, at a quarter of the price."""
    return len({hit.score for hit in hits}) == len(hits) == len({hit.id for hit in hits})


def _is_low_first(using: str, config: CollectionConfig) -> bool:
    params = config.dense.get(using)
    return params is not None and params.multivector_config is None and params.distance in LOW_FIRST


def _order(ask: bytes | Ask | None, using: str, config: CollectionConfig) -> Callable[[Hit | Record], Any]:
    match ask:
        case None:
            return lambda hit: id_order(hit.id)
        case asks.OrderBy():
            return _by_value(ask)
        case bytes() | asks.Nearest() | asks.Recommend(strategy="average_vector"):
            if _is_low_first(using, config):
                return lambda hit: (_score(hit), isinstance(hit.id, str), hit.id)
    return lambda hit: (-_score(hit), isinstance(hit.id, str), hit.id)


def _score(hit: Hit | Record) -> float:
    return hit.score if isinstance(hit, Hit) else 0.0


def _by_value(order: asks.OrderBy) -> Callable[[Hit | Record], Any]:
    sign = 1 if order.direction == "asc" else -1
    return lambda hit: (sign * (hit.order_value or 0), id_order(hit.id))


def _each_once(points: Iterable[_P]) -> list[_P]:
    found: dict[PointId, _P] = {}
    for point in points:
        found.setdefault(point.id, point)
    return list(found.values())


def _groups(request: frames.Group, answers: list[frames.Grouped], config: CollectionConfig) -> frames.Grouped:
    """The best groups are those of the best hits: a group among the first of all is among the first of its shard."""
    order = _order(request.query.ask, request.query.using, config)
    by_id: dict[PointId, list[Hit]] = {}
    for group in (group for one in answers for group in one.groups):
        by_id.setdefault(group.id, []).extend(group.hits)
    groups = [HitGroup(name, _each_once(sorted(hits, key=order))[: request.size]) for name, hits in by_id.items()]
    groups.sort(key=lambda group: order(group.hits[0]))
    return frames.Grouped(call=0, epoch=_epoch(answers), groups=groups[: request.query.limit])


def _facets(request: frames.Facet, answers: list[frames.Faceted]) -> frames.Faceted:
    counts: dict[tuple[str, bool | int | str], int] = {}
    for one in (one for answer in answers for one in answer.values):
        key = (str(type(one.value)), one.value)
        counts[key] = counts.get(key, 0) + one.count
    values = [FacetValue(value, count) for (_, value), count in counts.items()]
    values.sort(key=lambda one: (-one.count, str(type(one.value)), one.value))
    return frames.Faceted(call=0, epoch=_epoch(answers), values=values[: request.limit])


def _scrolls(request: frames.Scroll, answers: list[frames.Records]) -> frames.Records:
    order = _by_value(request.order) if request.order is not None else lambda record: id_order(record.id)
    records = _each_once(sorted((record for one in answers for record in one.records), key=order))
    page, rest = records[: request.limit], records[request.limit :]
    ids = [record.id for record in rest[:1]] + [one.following for one in answers if one.following is not None]
    following = min(ids, key=id_order) if ids and request.order is None else None
    return frames.Records(call=0, epoch=_epoch(answers), records=page, following=following)


def _info(infos: list[ShardInfo]) -> ShardInfo:
    schema: dict[str, IndexInfo] = {}
    for name, info in ((name, info) for one in infos for name, info in one.payload_schema.items()):
        points = schema[name].points + info.points if name in schema else info.points
        schema[name] = msgspec.structs.replace(info, points=points)
    return ShardInfo(
        points_count=sum(one.points_count for one in infos),
        indexed_vectors_count=sum(one.indexed_vectors_count for one in infos),
        segments_count=sum(one.segments_count for one in infos),
        payload_schema=schema,
        epoch=max(one.epoch for one in infos),
        is_optimizing=any(one.is_optimizing for one in infos),
    )
