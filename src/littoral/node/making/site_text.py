"""A model's table put into the text of a site file, or cut out of it; all else stays as somebody wrote it. Pure."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from littoral.errors import ConflictError

__all__ = ["with_model", "with_version", "without_model"]

PLACES_MAX = 8

_HEADER = re.compile(rb"^[ \t]*\[", re.MULTILINE)


def with_model(text: bytes, name: str, path: str, sha256: str) -> bytes:
    """A table at the end. No pipeline of its own, so that a node takes it while it serves.

    Raises ConflictError where the text has no place for one.
    """
    table = f"[models.{json.dumps(name)}]\npath = {json.dumps(path)}\nsha256 = {json.dumps(sha256)}\npipeline = false\n"
    changed = text.rstrip(b"\n") + b"\n\n" + table.encode()
    wanted = _parsed(text)
    models = wanted.setdefault("models", {})
    models[name] = {"path": path, "sha256": sha256, "pipeline": False}
    if not _says(changed, wanted):
        raise ConflictError("the site file has no place for another model", hint="write `[models.NAME]` as a table")
    return changed


def with_version(text: bytes, name: str, path: str, sha256: str) -> bytes:
    """The model's table names another file and digest; nothing else differs. Raises ConflictError where these do not
    stand in it as plain words."""
    wanted = _parsed(text)
    table = wanted["models"][name]
    before = (table["path"], table["sha256"])
    table |= {"path": path, "sha256": sha256}
    for changed in _replaced(text, before[0], path):
        for whole in _replaced(changed, before[1], sha256):
            if _says(whole, wanted):
                return whole
    raise ConflictError(
        f"path and digest of model `{name}` do not stand in one table of the site file",
        hint="change them by hand: `littoral config apply`",
    )


def _replaced(text: bytes, before: str, after: str) -> Iterator[bytes]:
    """At each of the places where it stands, one at a time."""
    for found in list(re.finditer(re.escape(before.encode()), text))[:PLACES_MAX]:
        yield text[: found.start()] + after.encode() + text[found.end() :]


def without_model(text: bytes, name: str) -> bytes:
    """Raises ConflictError where it does not stand in tables of its own."""
    wanted = _parsed(text)
    wanted["models"].pop(name)
    if not wanted["models"]:
        del wanted["models"]
    for changed in _cuts(text, name):
        if _says(changed, wanted):
            return changed
    raise ConflictError(
        f"model `{name}` does not stand in one table of the site file",
        hint="take it out by hand: `littoral config apply`",
    )


def _cuts(text: bytes, name: str) -> Iterator[bytes]:
    """The text without what begins at one header of the model's, up to another header or the end, shortest first."""
    begins = [found.start() for found in _HEADER.finditer(text)]
    ends = [*begins, len(text)]
    for begin in begins:
        line = text[begin : text.find(b"\n", begin) % (len(text) + 1)]
        if b"models" in line and name.encode() in line:
            kept = text[:begin].rstrip(b"\n") + b"\n"
            yield from (kept + b"\n" * (end < len(text)) + text[end:] for end in ends if end > begin)


def _parsed(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text.decode())
    return found


def _says(text: bytes, wanted: Mapping[str, Any]) -> bool:
    try:
        return _parsed(text) == wanted
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
