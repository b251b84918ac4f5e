"""JSON Schema of the site file, for editors, and its keys as rows, for the reference page; both from the tables."""

import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from littoral.node.site_tables import (
    ALL_STEP_TABLES,
    ENTRIES_MAX,
    TABLES,
    AgentTable,
    CollectionTable,
    ForEachStepTable,
    ModelTable,
    PipelineTable,
    TenantTable,
)
from littoral.node.tenant_tables import TENANTS_MAX
from littoral.runtime.host.options import OPTIONS, PlacedTable

__all__ = ["Key", "keys", "site_schema"]

NAMED = (ModelTable, AgentTable, CollectionTable, PipelineTable)
REFERENCE = "#/$defs/{name}"


class Key(NamedTuple):
    """One key of the file: `table` as it stands in brackets, and its default as TOML writes it ('' = required)."""

    table: str
    name: str
    default: str
    meaning: str


def site_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    kinds = [*TABLES.values(), *ALL_STEP_TABLES.values()]
    references, definitions = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    tables = dict(zip(kinds, references, strict=True))
    steps = {"oneOf": [tables[kind] for kind in ALL_STEP_TABLES.values()]}
    definitions[PipelineTable.__name__]["properties"]["steps"]["items"] = steps
    definitions[ForEachStepTable.__name__]["properties"]["for_each"]["items"] = steps
    for name in OPTIONS:
        definitions[OPTIONS[name].__name__]["required"] = ["step", *definitions[OPTIONS[name].__name__]["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Littoral site file",
        "type": "object",
        "properties": {name: _property(kind, tables[kind]) for name, kind in TABLES.items()},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _property(kind: type[msgspec.Struct], reference: Mapping[str, Any]) -> Mapping[str, Any]:
    if kind is TenantTable:
        return {"type": "array", "items": reference, "maxItems": TENANTS_MAX}
    if kind not in NAMED:
        return reference
    return {"type": "object", "additionalProperties": reference, "maxProperties": ENTRIES_MAX}


def keys() -> list[Key]:
    """Every key, in the order of the tables; those of inner tables with a dot."""
    rows: list[Key] = []
    for name, kind in TABLES.items():
        rows += _keys(f"{name}.NAME" if kind in NAMED else name, kind)
    rows += _keys("every step", PlacedTable)
    common = {key.name for key in _keys("", PlacedTable)}
    for name, step in ALL_STEP_TABLES.items():
        rows += (key for key in _keys(name, step) if key.name not in common)
    return rows


def _keys(table: str, kind: type[msgspec.Struct], prefix: str = "") -> Iterator[Key]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        inner = typing.get_args(hints[field.name])[0] if typing.get_args(hints[field.name]) else hints[field.name]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _keys(table, inner, f"{prefix}{field.name}.")
        elif typing.get_origin(inner) is list and (item := _struct_in(inner)) is not None:
            yield from _keys(f"{table}.{field.name}", item)
        else:
            yield Key(table, prefix + field.encode_name, _default(field), _meaning(hints[field.name]))


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    (item,) = typing.get_args(kind)
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return str(field.default_factory())
    if field.default is msgspec.NODEFAULT:
        return "required"
    return "" if field.default is None else msgspec.json.encode(field.default).decode()


def _meaning(hint: Any) -> str:
    found = [part.description for part in getattr(hint, "__metadata__", ()) if getattr(part, "description", None)]
    return found[-1] if found else ""
