"""Shapes of JSON in a short form, and the JSON Schema (2020-12) that each means.

A type is what `msgspec` makes of it; `{"name": shape}` an object of just these, those with `?` at their end may be
lacking; `[shape]` a list; `Map(shape)` an object of any names; `Either(a, b)` one of two; `Words(…)` one of these
texts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

__all__ = ["Either", "Map", "Schemas", "Shape", "Words"]

Shape = Any
REFERENCE = "#/components/schemas/{name}"


class Map(NamedTuple):
    """An object of any names."""

    of: Shape


class Either(NamedTuple):
    """One of two."""

    first: Shape
    second: Shape


class Words(NamedTuple):
    """One of these texts."""

    known: Sequence[str]


class Schemas:
    """Of these shapes, and of no others. components: schemas of the structs in them, by name."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        types = list({id(found): found for shape in shapes for found in _types(shape)}.values())
        schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
        self.components: Mapping[str, Any] = dict(sorted(components.items()))
        self._by_type = {id(found): schema for found, schema in zip(types, schemas, strict=True)}

    def of(self, shape: Shape) -> dict[str, Any]:
        if isinstance(shape, Map):
            return {"type": "object", "additionalProperties": self.of(shape.of)}
        if isinstance(shape, Either):
            return {"anyOf": [self.of(shape.first), self.of(shape.second)]}
        if isinstance(shape, Words):
            return {"type": "string", "enum": list(shape.known)}
        if isinstance(shape, dict):
            return self._object(shape)
        if isinstance(shape, list):
            return {"type": "array", "items": self.of(shape[0])}
        return self._by_type[id(shape)]

    def _object(self, shape: Mapping[str, Shape]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name.removesuffix("?"): self.of(inner) for name, inner in shape.items()},
            "required": [name for name in shape if not name.endswith("?")],
            "additionalProperties": False,
        }


def _types(shape: Shape) -> Iterator[Any]:
    if isinstance(shape, Map):
        yield from _types(shape.of)
    elif isinstance(shape, dict | list | Either):
        for inner in shape.values() if isinstance(shape, dict) else shape:
            yield from _types(inner)
    elif not isinstance(shape, Words):
        yield shape
