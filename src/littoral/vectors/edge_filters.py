"""Our filters as the classes of Qdrant Edge."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from littoral.vectors.filters import (
    Condition,
    Filter,
    GeoPoint,
    GeoRing,
    Match,
    Range,
    ValuesCount,
    check_filter,
    clause,
)

__all__ = ["condition", "filter_"]


class _Bool:
    """The store's converter tries integers before booleans, so that `True` would match 1. It knows numpy's booleans by
    the name of their class, and takes those for nothing else.
    """

    __module__ = "numpy"

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


_Bool.__name__ = "bool"


def _match_value(value: bool | int | str) -> Any:
    return edge.MatchValue(_Bool(value) if isinstance(value, bool) else value)  # type: ignore[arg-type]


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": _match_value,
    "any": edge.MatchAny,
    "except_": edge.MatchExcept,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
}


def filter_(own: Filter | None) -> Any:
    """Checked, so that a filter that came by another way than `parse_filter` is bounded too."""
    if own is None:
        return None
    check_filter(own)
    return _filter(own)


def _filter(own: Filter | Condition) -> Any:
    clauses: dict[str, Any] = {
        name: [condition(one) for one in conditions]
        for name in ("must", "should", "must_not")
        if (conditions := clause(getattr(own, name))) is not None
    }
    if own.min_should is not None:
        some = [condition(one) for one in own.min_should.conditions]
        clauses["min_should"] = edge.MinShould(some, own.min_should.min_count)
    return edge.Filter(**clauses)


def condition(own: Condition) -> Any:
    """A condition that `check_filter` has seen."""
    if own.key is not None:
        return edge.FieldCondition(own.key, **_field_test(own))
    if own.has_id is not None:
        return edge.HasIdCondition(set(own.has_id))
    if own.has_vector is not None:
        return edge.HasVectorCondition(own.has_vector)
    if own.nested is not None:
        return edge.NestedCondition(own.nested.key, _filter(own.nested.filter))
    if own.is_empty is not None and not isinstance(own.is_empty, bool):
        return edge.IsEmptyCondition(own.is_empty.key)
    if own.is_null is not None and not isinstance(own.is_null, bool):
        return edge.IsNullCondition(own.is_null.key)
    return _filter(own)


def _field_test(own: Condition) -> dict[str, Any]:
    """`check_filter` has made sure that there is exactly one."""
    tests: dict[str, Callable[[Any], Any]] = {
        "match": _match,
        "range": _range,
        "values_count": _values_count,
        "geo_bounding_box": lambda box: edge.GeoBoundingBox(_geo_point(box.top_left), _geo_point(box.bottom_right)),
        "geo_radius": lambda circle: edge.GeoRadius(_geo_point(circle.center), circle.radius),
        "geo_polygon": lambda area: edge.GeoPolygon(_ring(area.exterior), [_ring(hole) for hole in area.interiors]),
        "is_empty": bool,
        "is_null": bool,
    }
    return {name: make(value) for name, make in tests.items() if (value := getattr(own, name)) is not None}


def _match(own: Match) -> Any:
    return next(make(value) for name, make in _MATCHES.items() if (value := getattr(own, name)) is not None)


def _range(own: Range) -> Any:
    bounds = {name: getattr(own, name) for name in ("gt", "gte", "lt", "lte")}
    timed = any(isinstance(bound, str) for bound in bounds.values())
    return (edge.RangeDateTime if timed else edge.RangeFloat)(**bounds)


def _values_count(own: ValuesCount) -> Any:
    return edge.ValuesCount(gt=own.gt, gte=own.gte, lt=own.lt, lte=own.lte)


def _geo_point(own: GeoPoint) -> Any:
    return edge.GeoPoint(own.lon, own.lat)


def _ring(own: GeoRing) -> list[Any]:
    return [_geo_point(point) for point in own.points]
