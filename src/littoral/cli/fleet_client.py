"""What the verbs of a fleet share: who they ask, and how answers are shown."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from littoral import settings
from littoral.cli.console import results, show_json
from littoral.errors import InputError
from littoral.node.client import NodeClient

__all__ = ["JsonOption", "UrlOption", "asked", "pairs", "path_of", "show", "show_rows"]

DEFAULT_URL = "http://127.0.0.1:8680"
TIMEOUT_S = 300.0

UrlOption = Annotated[
    str | None, typer.Option("--url", help="Of the orchestrator; default: `LITTORAL_FLEET`, else this machine's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def asked(url: str | None) -> NodeClient:
    """Asks once: what was begun is not begun twice."""
    return NodeClient(url or settings.text("LITTORAL_FLEET") or DEFAULT_URL, timeout_s=TIMEOUT_S, try_count_max=1)


def show(found: Any, as_json: bool, line: str) -> None:
    """JSON, or a line for people."""
    if as_json:
        show_json(found)
    else:
        results.print(line, markup=False)


def show_rows(found: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    """A line each, of these keys."""
    if as_json:
        show_json(found)
        return
    for row in found:
        results.print("  ".join(_cell(row.get(key)) for key in columns), markup=False)


def pairs(given: list[str], what: str) -> dict[str, str]:
    """Of `NAME=VALUE`. Raises InputError."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"{what} is `{text[:80]}`, must be NAME=VALUE")
        found[name] = value
    return found


def path_of(*parts: str) -> str:
    """Below `/api/fleet`."""
    return "/api/fleet/" + "/".join(quote(part, safe="") for part in parts)


def _cell(value: Any) -> str:
    match value:
        case None | "" | [] | {}:
            return "–"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ",".join(f"{key}={inner}" for key, inner in value.items())
        case list():
            return ",".join(map(str, value))
        case float():
            return f"{value:g}"
    return str(value)
