"""Dashboards of a fleet: boards of Grafana, held against bounds before anything shows them. Pure.

A board is data: what a browser would run of it is refused here, whatever the Grafana that shows it would do.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from littoral.errors import InputError

__all__ = ["BYTES_MAX", "Board", "Panel", "read_board"]

BYTES_MAX = 1 << 20
PANELS_MAX = 256
DEPTH_MAX = 32
SCRIPTS = ("<script", "javascript:", "<iframe")
HINT = "export it from Grafana as JSON, with nothing to be filled in (`__inputs`)"


class Panel(NamedTuple):
    """kind: Grafana's type, such as `timeseries`. expressions: what it asks its source."""

    title: str
    kind: str
    expressions: tuple[str, ...]


class Board(NamedTuple):
    """uid: by which Grafana knows the next version of it; '' = it makes one of the file's name."""

    title: str
    uid: str
    panels: tuple[Panel, ...]


def read_board(data: bytes, label: str) -> Board:
    """Raises InputError for what is no board, is too large, or brings a script."""
    if len(data) > BYTES_MAX:
        raise InputError(f"{label}: has more than {BYTES_MAX} bytes")
    try:
        board = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{label}: is no JSON: {error}", hint=HINT) from error
    if not isinstance(board, dict) or not _text(board, "title") or not isinstance(board.get("panels"), list):
        raise InputError(f"{label}: is no board of Grafana, which has a `title` and `panels`", hint=HINT)
    if board.get("__inputs"):
        raise InputError(f"{label}: has `__inputs`, which a file of Grafana's provisioning cannot fill in", hint=HINT)
    if script := next((text for text in _texts(board, label) if any(one in text.lower() for one in SCRIPTS)), None):
        raise InputError(f"{label}: brings a script: `{script[:60]}`", hint="a board is data: take it out")
    panels = tuple(_panels(board["panels"], label))
    if len(panels) > PANELS_MAX:
        raise InputError(f"{label}: has {len(panels)} panels, at most {PANELS_MAX}")
    return Board(_text(board, "title"), _text(board, "uid"), panels)


def _panels(listed: list[Any], label: str) -> Iterator[Panel]:
    """Also those that stand in a row which is closed."""
    for one in listed:
        if not isinstance(one, dict) or not (kind := _text(one, "type")):
            raise InputError(f"{label}: a panel has no `type`", hint=HINT)
        options = one.get("options")
        if kind == "text" and isinstance(options, dict) and options.get("mode") == "html":
            raise InputError(f"{label}: panel `{_text(one, 'title')[:60]}` is HTML", hint="write it as Markdown")
        if kind != "row":
            targets = one.get("targets")
            asked = targets if isinstance(targets, list) else []
            found = (_text(target, "expr") for target in asked if isinstance(target, dict))
            yield Panel(_text(one, "title"), kind, tuple(filter(None, found)))
        inner = one.get("panels")
        yield from _panels(inner if isinstance(inner, list) else [], label)


def _texts(board: Any, label: str) -> Iterator[str]:
    """Every text in it, names too."""
    waiting = [(board, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise InputError(f"{label}: is deeper than {DEPTH_MAX} levels")
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += ((one, depth + 1) for pair in value.items() for one in pair)
        elif isinstance(value, list):
            waiting += ((one, depth + 1) for one in value)


def _text(table: dict[Any, Any], key: str) -> str:
    found = table.get(key)
    return found if isinstance(found, str) else ""
