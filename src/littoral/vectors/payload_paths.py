"""Values of a payload below a path such as `a.b`, `a[].b` or `"a.b"[0]`, as Qdrant writes them."""

import re
from collections.abc import Iterator
from typing import Any

from littoral.errors import InputError
from littoral.vectors.records import Payload

__all__ = ["steps_of", "values_at"]

_STEP = re.compile(r'(?:(?<=.)\.|^)(?:"([^"]+)"|([^."\[\]]+))((?:\[\d*\])*)')
_INDEX = re.compile(r"\[(\d*)\]")


def values_at(payload: Payload, path: str) -> list[Any]:
    """All values there; a list at the end counts as its elements. Raises InputError for what is no path."""
    values: list[Any] = [payload]
    for key, indices in steps_of(path):
        values = [value[key] for value in values if isinstance(value, dict) and key in value]
        for index in indices:
            lists = [value for value in values if isinstance(value, list)]
            values = [part for one in lists for part in (one if index is None else one[index : index + 1])]
    return [part for value in values for part in (value if isinstance(value, list) else [value])]


def steps_of(path: str) -> list[tuple[str, list[int | None]]]:
    """Each key with the places in lists behind it, None for all. Raises InputError for what is no path."""
    return list(_steps(path))


def _steps(path: str) -> Iterator[tuple[str, list[int | None]]]:
    at = 0
    while match := _STEP.match(path, at):
        quoted, plain, indices = match.groups()
        yield quoted or plain, [int(index) if index else None for index in _INDEX.findall(indices)]
        at = match.end()
    if at != len(path) or not path:
        raise InputError(f"`{path[:80]}` is no path into a payload")
