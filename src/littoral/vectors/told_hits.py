"""Hits as JSON, written where they are found: who only passes them on need not read them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from littoral.vectors.edge_classes import plain_id
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


def told(points: Iterable[Any]) -> bytes:
    """A JSON list of the store's points, without their vectors."""
    return _encode([_told(point) for point in points])


def _told(point: Any) -> _Told:
    payload, order_value = point.payload, point.order_value
    return _Told(
        plain_id(point.id),
        point.version,
        point.score,
        msgspec.UNSET if payload is None else payload,
        msgspec.UNSET if order_value is None else order_value,
    )
