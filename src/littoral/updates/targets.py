"""A target as both repositories speak of it, and texts of ours within what they sign.

Canonical JSON, over which TUF signs, knows no fractions; so what we say there is JSON as a text.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import msgspec

from littoral.errors import MalformedUpdateError
from littoral.updates.artifacts import Custom
from littoral.updates.wire import Desired

__all__ = [
    "DIRECTOR",
    "FIELD",
    "IMAGE",
    "NO_CUSTOM",
    "TargetFile",
    "read_custom",
    "read_signable",
    "signable",
    "wished",
]

FIELD = "littoral"
"""Key of what is ours, in `custom` of a target and in the signed part of a director's targets."""

IMAGE, DIRECTOR = "image", "director"
"""Which repository a root is of, signed within it: both have the same root keys."""

NO_CUSTOM = Custom()

_T = TypeVar("_T")


class TargetFile(NamedTuple):
    """name: of the artifact, `models/embedder/3.wasm`. length: bytes. custom: what the image repository says of it."""

    name: str
    length: int
    sha256: str
    custom: Custom = NO_CUSTOM


def wished(desired: Desired) -> Iterator[tuple[str, str]]:
    """Every target that a wish names, and where it does."""
    yield from ((f"models.{name}", target) for name, target in desired.models.items())
    yield from ((f"agents.{name}", target) for name, target in desired.agents.items())
    if desired.site is not None:
        yield "site", desired.site
    yield from ((f"dashboards[{index}]", target) for index, target in enumerate(desired.dashboards))


def signable(what: msgspec.Struct) -> dict[str, str]:
    """As a field beside those of TUF."""
    return {FIELD: msgspec.json.encode(what, order="deterministic").decode()}


def read_signable(kind: type[_T], fields: object, where: str) -> _T:
    """The other way. Raises MalformedUpdateError."""
    text = fields.get(FIELD) if isinstance(fields, dict) else None
    if not isinstance(text, str):
        raise MalformedUpdateError(f"{where}: no text `{FIELD}`", hint="signed by something else than Littoral")
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise MalformedUpdateError(f"{where}: `{FIELD}`: {error}") from error


def read_custom(fields: object, name: str) -> Custom:
    """What the image repository says of a target; nothing where it says nothing."""
    return NO_CUSTOM if fields is None else read_signable(Custom, fields, f"`custom` of `{name}`")
