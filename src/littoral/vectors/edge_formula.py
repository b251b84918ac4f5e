"""A formula in Qdrant's JSON as an expression of Qdrant Edge.

Source: Qdrant's OpenAPI description, `Expression`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import qdrant_edge as edge

from littoral.errors import InputError, TooLargeError
from littoral.vectors.edge_filters import condition
from littoral.vectors.filters import Condition, Filter, GeoPoint, check_filter

__all__ = ["formula"]

DEPTH_MAX = 32
PART_COUNT_MAX = 256
DEFAULT_COUNT_MAX = 256


class _Geo(msgspec.Struct, forbid_unknown_fields=True):
    origin: GeoPoint
    to: str


class _Division(msgspec.Struct, forbid_unknown_fields=True):
    left: Any
    right: Any
    by_zero_default: float | None = None


class _Power(msgspec.Struct, forbid_unknown_fields=True):
    base: Any
    exponent: Any


class _Decay(msgspec.Struct, forbid_unknown_fields=True):
    x: Any
    target: Any = None
    scale: float | None = None
    midpoint: float | None = None


def formula(expression: Any, defaults: Mapping[str, Any]) -> Any:
    """Raises InputError naming the part that is wrong, TooLargeError beyond 32 levels or 256 parts of one sum."""
    if len(defaults) > DEFAULT_COUNT_MAX:
        raise TooLargeError(f"formula: {len(defaults)} defaults, at most {DEFAULT_COUNT_MAX}")
    return edge.Formula(_expression(expression, "formula", DEPTH_MAX), dict(defaults))


def _expression(json: Any, path: str, depth_left: int) -> Any:
    if not depth_left:
        raise TooLargeError(f"formula: nested deeper than {DEPTH_MAX}")
    if isinstance(json, str):
        return edge.Expression.Variable(json)
    if isinstance(json, int | float) and not isinstance(json, bool):
        if not math.isfinite(json):
            raise InputError(f"{path}: is {json}, must be finite")
        return edge.Expression.Constant(float(json))
    if not isinstance(json, dict):
        raise InputError(f"{path}: must be a number, a name or an object")
    if len(json) == 1 and (make := _MAKERS.get(name := next(iter(json)))) is not None:
        path = f"{path}.{name}"
        try:
            return make(json[name], path, lambda part: _expression(part, path, depth_left - 1))
        except msgspec.ValidationError as error:
            raise InputError(f"{path}: {error}") from error
    return _condition(json, path)


def _condition(json: dict[str, Any], path: str) -> Any:
    try:
        own = msgspec.convert(json, Condition)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: is neither a known expression nor a condition: {error}") from error
    check_filter(Filter(must=[own]))
    return edge.Expression.Condition(condition(own))


_Part = Callable[[Any], Any]
_Maker = Callable[[Any, str, _Part], Any]


def _of_one(name: str) -> _Maker:
    make = getattr(edge.Expression, name)
    return lambda json, _, part: make(part(json))


def _of_many(name: str) -> _Maker:
    make = getattr(edge.Expression, name)

    def made(json: Any, path: str, part: _Part) -> Any:
        if not isinstance(json, list) or len(json) > PART_COUNT_MAX:
            raise InputError(f"{path}: must be a list of at most {PART_COUNT_MAX} expressions")
        return make([part(one) for one in json])

    return made


def _division(json: Any, _: str, part: _Part) -> Any:
    own = msgspec.convert(json, _Division)
    return edge.Expression.Div(part(own.left), part(own.right), own.by_zero_default)


def _power(json: Any, _: str, part: _Part) -> Any:
    own = msgspec.convert(json, _Power)
    return edge.Expression.Pow(part(own.base), part(own.exponent))


def _decay(kind: Any) -> _Maker:
    def made(json: Any, _: str, part: _Part) -> Any:
        own = msgspec.convert(json, _Decay)
        target = None if own.target is None else part(own.target)
        return edge.Expression.Decay(kind, part(own.x), target, own.midpoint, own.scale)

    return made


def _geo(json: Any, _: str, __: _Part) -> Any:
    own = msgspec.convert(json, _Geo)
    return edge.Expression.GeoDistance(edge.GeoPoint(own.origin.lon, own.origin.lat), own.to)


def _of_text(name: str) -> _Maker:
    make = getattr(edge.Expression, name)
    return lambda json, _, __: make(msgspec.convert(json, str))


_MAKERS: dict[str, _Maker] = {
    "mult": _of_many("Mult"),
    "sum": _of_many("Sum"),
    "max": _of_many("Max"),
    "min": _of_many("Min"),
    "neg": _of_one("Neg"),
    "abs": _of_one("Abs"),
    "sqrt": _of_one("Sqrt"),
    "exp": _of_one("Exp"),
    "log10": _of_one("Log10"),
    "ln": _of_one("Ln"),
    "acosh": _of_one("Acosh"),
    "div": _division,
    "pow": _power,
    "geo_distance": _geo,
    "datetime": _of_text("Datetime"),
    "datetime_key": _of_text("DatetimeKey"),
    "lin_decay": _decay(edge.DecayKind.Lin),
    "exp_decay": _decay(edge.DecayKind.Exp),
    "gauss_decay": _decay(edge.DecayKind.Gauss),
}
