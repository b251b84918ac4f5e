"""Hits as JSON, written where they are found: who only passes them on need not read them."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from littoral.vectors.records import Payload, PointId

__all__ = ["told"]


class _Told(msgspec.Struct):
    """As Qdrant's REST interface tells a hit."""

    id: PointId
    version: int
    score: float
    payload: Payload | msgspec.UnsetType = msgspec.UNSET
    order_value: int | float | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode


def told(points: Iterable[Any], id_of: Callable[[Any], PointId]) -> bytes:
    """A JSON list of the store's points or of hits, without their vectors. id_of: what a point's `id` is in JSON."""
    return _encode([_told(point, id_of) for point in points])


def _told(point: Any, id_of: Callable[[Any], PointId]) -> _Told:
    payload, order_value = point.payload, point.order_value
    return _Told(
        id_of(point.id),
        point.version,
        point.score,
        msgspec.UNSET if payload is None else payload,
        msgspec.UNSET if order_value is None else order_value,
    )
