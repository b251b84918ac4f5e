"""What is wrong in a file of tables, in words: file, key path, value, what was expected, the nearest known key."""

import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from littoral.errors import SettingError
from littoral.runtime.host.options import NAME_PATTERN, PLACE_PATTERN, RESIDENCY_PATTERN

__all__ = ["DIGEST_PATTERN", "NAME_PATTERN", "PATTERNS", "Place", "nearest_hint", "unknown_hint"]

VALUE_CHARACTERS_MAX = 60

DIGEST_PATTERN = r"^[0-9A-Fa-f]{64}$"
PATTERNS = {
    NAME_PATTERN: "1 to 64 of a-z, A-Z, 0-9, `_` and `-`",
    DIGEST_PATTERN: "64 hexadecimal digits",
    PLACE_PATTERN: "`here`, `auto` or `node:NAME`",
    RESIDENCY_PATTERN: "`node`, `region:NAME`, `site` or `any`",
}

_WORDS = {
    "int": "an integer",
    "str": "a text",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
}
_WHERE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class Place:
    """A place in a file; `place / key` is one inside it."""

    def __init__(self, file: str, path: str = "") -> None:
        self._file = file
        self._path = path

    def __truediv__(self, key: str | int) -> "Place":
        if isinstance(key, int):
            return Place(self._file, f"{self._path}[{key}]")
        return Place(self._file, f"{self._path}.{key}" if self._path else key)

    def __str__(self) -> str:
        return f"{self._file}: `{self._path}`" if self._path else self._file

    def wrong(self, value: object, expected: str, *, hint: str | None = None) -> SettingError:
        """`site.toml: `node.listen` is `x`, must be …`."""
        return SettingError(f"{self} is `{_shown(value)}`, must be {expected}", hint=hint)

    def unknown(self, key: str, known: Iterable[str]) -> SettingError:
        """A key that this place does not have."""
        return SettingError(f"{self / key} is unknown", hint=nearest_hint(key, known))

    def missing(self, key: str) -> SettingError:
        """A key that this place needs."""
        return SettingError(f"{self / key} is missing")

    def about(self, message: str, *, hint: str | None = None) -> SettingError:
        """Whatever else is wrong here."""
        return SettingError(f"{self}: {message}", hint=hint)

    def refused(self, error: msgspec.ValidationError, value: object, table: type[Any]) -> SettingError:
        """What msgspec says of a value that should have been a `table`, as we say it."""
        match = _WHERE.fullmatch(str(error))
        assert match is not None
        place, what = self, match["what"]
        kind: Any = table
        for name, index in _PART.findall(match["path"] or ""):
            place, value, kind = (
                (place / name, _inside(value, name), _field(kind, name))
                if name
                else (place / int(index), _inside(value, int(index)), _item(kind))
            )
        if found := _UNKNOWN.fullmatch(what):
            return place.unknown(found[1], _keys(kind))
        if found := _MISSING.fullmatch(what):
            return place.missing(found[1])
        return place.wrong(value, _expected(what, kind))


def unknown_hint(error: msgspec.DecodeError, table: type[Any]) -> str | None:
    """Where msgspec says that a `table` has an unknown key: the nearest one that is known there, or all of them."""
    match = _WHERE.fullmatch(str(error))
    if match is None or not (found := _UNKNOWN.fullmatch(match["what"])):
        return None
    kind: Any = table
    for name, _ in _PART.findall(match["path"] or ""):
        kind = _field(kind, name) if name else _item(kind)
    return nearest_hint(found[1], known) if (known := _keys(kind)) else None


def nearest_hint(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, or all of them."""
    words = sorted(known)
    if near := difflib.get_close_matches(word, words, 1, 0.6):
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(words) or 'none'}"


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    line = " ".join(text.split())
    return line if len(line) <= VALUE_CHARACTERS_MAX else f"{line[:VALUE_CHARACTERS_MAX]}…"


def _expected(what: str, kind: Any) -> str:
    choices = _choices(kind)
    if choices:
        return f"one of {', '.join(choices)}"
    rest = what.removeprefix("Expected ").partition(", got ")[0]
    for pattern, words in PATTERNS.items():
        if rest.endswith(f"matching regex {pattern!r}"):
            return words
    return re.sub(r"`([^`]*)`", lambda match: _in_words(match[1]), rest)


def _in_words(types: str) -> str:
    return " or ".join(_WORDS.get(name, f"`{name}`") for name in types.split(" | ") if name != "null")


def _inside(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return value


def _keys(kind: Any) -> Sequence[str]:
    table = _struct(kind)
    return table.__struct_encode_fields__ if table else ()


def _field(kind: Any, name: str) -> Any:
    table = _struct(kind)
    return typing.get_type_hints(table).get(name, Any) if table else Any


def _item(kind: Any) -> Any:
    return next(iter(typing.get_args(kind)), Any)


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    for part in (kind, *typing.get_args(kind)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part
    return None


def _choices(kind: Any) -> list[str]:
    return [str(choice) for choice in typing.get_args(kind)] if typing.get_origin(kind) is Literal else []
