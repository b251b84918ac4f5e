"""Filters in the JSON of Qdrant's REST interface, as typed structs.

`parse_filter` reads the JSON and names the path of what is wrong; `shard` turns the structs into the store's own
classes. Pure: no store, no I/O. The structs have the shape of the JSON, so they travel between processes as they are.
Source: Qdrant's OpenAPI description, `Filter` and `Condition`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.vectors.checks import checked_ids
from littoral.vectors.records import PointId

__all__ = [
    "CLAUSES",
    "LIST_COUNT_MAX",
    "Condition",
    "Filter",
    "Match",
    "MinShould",
    "PayloadField",
    "Range",
    "as_condition",
    "parse_filter",
]

DEPTH_MAX = 16
CONDITION_COUNT_MAX = 1024
LIST_COUNT_MAX = 16_384


class _Json(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Root of the structs below: a key that Qdrant has and we lack is an error, never ignored."""


class Match(_Json):
    """Exactly one of these."""

    value: bool | int | str | None = None
    any: list[int | str] | None = None
    except_: list[int | str] | None = msgspec.field(default=None, name="except")
    text: str | None = None
    text_any: str | None = None
    phrase: str | None = None
    prefix: str | None = None
    substring: str | None = None


class Range(_Json):
    """Numbers, or RFC 3339 times; one kind in one range."""

    gt: float | str | None = None
    gte: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None


class ValuesCount(_Json):
    """How many values an array holds."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


class GeoPoint(_Json):
    """Degrees."""

    lon: float
    lat: float


class GeoBoundingBox(_Json):
    top_left: GeoPoint
    bottom_right: GeoPoint


class GeoRadius(_Json):
    """Radius in metres."""

    center: GeoPoint
    radius: float


class GeoRing(_Json):
    points: list[GeoPoint]


class GeoPolygon(_Json):
    exterior: GeoRing
    interiors: list[GeoRing] = []


class PayloadField(_Json):
    key: str


class Condition(_Json):
    """One condition: on a payload field (`key` and one test), on the point, or a filter inside the filter."""

    key: str | None = None
    match: Match | None = None
    range: Range | None = None
    values_count: ValuesCount | None = None
    geo_bounding_box: GeoBoundingBox | None = None
    geo_radius: GeoRadius | None = None
    geo_polygon: GeoPolygon | None = None
    is_empty: PayloadField | bool | None = None
    is_null: PayloadField | bool | None = None
    has_id: list[PointId] | None = None
    has_vector: str | None = None
    nested: "Nested | None" = None
    must: "list[Condition] | Condition | None" = None
    should: "list[Condition] | Condition | None" = None
    must_not: "list[Condition] | Condition | None" = None
    min_should: "MinShould | None" = None


class MinShould(_Json):
    """At least `min_count` of the conditions."""

    conditions: list[Condition]
    min_count: int


class Filter(_Json):
    """All of `must`, one of `should`, none of `must_not`, some of `min_should`."""

    must: list[Condition] | Condition | None = None
    should: list[Condition] | Condition | None = None
    must_not: list[Condition] | Condition | None = None
    min_should: MinShould | None = None


class Nested(_Json):
    """A filter on the elements of an array of objects."""

    key: str
    filter: Filter


CLAUSES = ("must", "should", "must_not", "min_should")
FIELD_TESTS = ("match", "range", "values_count", "geo_bounding_box", "geo_radius", "geo_polygon", "is_empty", "is_null")
POINT_TESTS = ("is_empty", "is_null", "has_id", "has_vector", "nested")
MATCHES = ("value", "any", "except_", "text", "text_any", "phrase", "prefix", "substring")
_MATCH_NAMES = "value, any, except, text, text_any, phrase, prefix, substring"


def parse_filter(json: Mapping[str, Any] | None) -> Filter | None:
    """The filter of a request body; None stays None.

    Raises InputError with the path (`filter.must[0].match`) of what is unknown, of a wrong type or ambiguous,
    TooLargeError over 16 levels, 1024 conditions or 16384 values in one list.
    """
    if json is None:
        return None
    try:
        parsed = msgspec.convert(json, Filter)
    except msgspec.ValidationError as error:
        raise InputError(f"filter: {_readable(str(error))}") from error
    except RecursionError as error:
        raise TooLargeError(f"filter: nested deeper than {DEPTH_MAX}") from error
    check_filter(parsed)
    return parsed


def check_filter(parsed: Filter) -> None:
    """What the types cannot say: one test per condition, bounds, ids. Ids become canonical in place."""
    for count, (path, condition, depth) in enumerate(_conditions(parsed, "filter", 1)):
        if depth > DEPTH_MAX:
            raise TooLargeError(f"filter: nested deeper than {DEPTH_MAX}")
        if count >= CONDITION_COUNT_MAX:
            raise TooLargeError(f"filter: more than {CONDITION_COUNT_MAX} conditions")
        _check_condition(condition, path)


def as_condition(matching: Filter) -> Condition:
    """A filter as one condition of another."""
    return Condition(
        must=matching.must, should=matching.should, must_not=matching.must_not, min_should=matching.min_should
    )


def clause(part: list[Condition] | Condition | None) -> list[Condition] | None:
    """Qdrant takes one condition where a list is meant."""
    return [part] if isinstance(part, Condition) else part


def _conditions(part: Filter | Condition, path: str, depth: int) -> Iterator[tuple[str, Condition, int]]:
    for name in ("must", "should", "must_not"):
        for index, condition in enumerate(clause(getattr(part, name)) or ()):
            yield from _condition(condition, f"{path}.{name}[{index}]", depth)
    if part.min_should is not None:
        for index, condition in enumerate(part.min_should.conditions):
            yield from _condition(condition, f"{path}.min_should.conditions[{index}]", depth)


def _condition(condition: Condition, path: str, depth: int) -> Iterator[tuple[str, Condition, int]]:
    yield path, condition, depth
    yield from _conditions(condition, path, depth + 1)
    if condition.nested is not None:
        yield from _conditions(condition.nested.filter, f"{path}.nested.filter", depth + 1)


def _check_condition(condition: Condition, path: str) -> None:
    clauses = _given(condition, CLAUSES)
    tests = _given(condition, FIELD_TESTS if condition.key is not None else POINT_TESTS)
    everything = _given(condition, (*FIELD_TESTS, *POINT_TESTS))
    if condition.key is not None and (clauses or len(tests) != 1 or everything != tests):
        raise InputError(f"{path}: a condition with `key` needs exactly one of {', '.join(FIELD_TESTS)}")
    if condition.key is None and bool(clauses) == bool(everything):
        raise InputError(f"{path}: must be a condition with `key`, one of {', '.join(POINT_TESTS)}, or a filter")
    if condition.key is None and everything and (len(tests) != 1 or everything != tests):
        raise InputError(f"{path}: `{min(everything)}` needs a `key`, and stands alone")
    for name in ("is_empty", "is_null"):
        if (test := getattr(condition, name)) is not None and isinstance(test, bool) == (condition.key is None):
            raise InputError(f'{path}.{name}: write {{"key": …, "{name}": true}} or {{"{name}": {{"key": …}}}}')
    if condition.match is not None:
        _check_match(condition.match, f"{path}.match")
    if condition.range is not None:
        _check_range(condition.range, f"{path}.range")
    if condition.geo_radius is not None and condition.geo_radius.radius < 0:
        raise InputError(f"{path}.geo_radius: `radius` is {condition.geo_radius.radius:g}, must not be negative")
    if condition.has_id is not None:
        _check_length(condition.has_id, f"{path}.has_id")
        condition.has_id = checked_ids(condition.has_id)


def _check_match(match: Match, path: str) -> None:
    given = _given(match, MATCHES)
    if len(given) != 1:
        raise InputError(f"{path}: needs exactly one of {_MATCH_NAMES}; has {len(given)}")
    for values in (match.any, match.except_):
        if values is None:
            continue
        _check_length(values, path)
        if len({type(value) for value in values}) > 1:
            raise InputError(f"{path}: values are integers and texts, must be of one kind")


def _check_range(bounds: Range, path: str) -> None:
    kinds = {isinstance(b, str) for b in (bounds.gt, bounds.gte, bounds.lt, bounds.lte) if b is not None}
    if len(kinds) > 1:
        raise InputError(f"{path}: bounds are numbers and times, must be of one kind")


def _check_length(values: list[Any], path: str) -> None:
    if len(values) > LIST_COUNT_MAX:
        raise TooLargeError(f"{path}: {len(values)} values, at most {LIST_COUNT_MAX}")


def _given(part: Any, names: tuple[str, ...]) -> set[str]:
    return {name for name in names if getattr(part, name) is not None}


def _readable(message: str) -> str:
    """msgspec says "Expected `int`, got `str` - at `$.must[0].match`"; we put the path first."""
    what, _, where = message.partition(" - at `$")
    return f"`{where.rstrip('`').lstrip('.') or 'filter'}`: {what[:1].lower()}{what[1:]}"
