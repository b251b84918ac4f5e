"""`littoral logs`: what a running node has said, and says."""

import contextlib
import threading
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
import typer

from littoral.cli.console import results
from littoral.errors import InputError
from littoral.node.client import DEFAULT_URL, NodeClient
from littoral.telemetry.log_lines import LEVELS, Line, as_json, as_text

__all__ = ["logs"]

LOOK_S = 0.5
LINES_MAX = 1000


def logs(
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    level: Annotated[str, typer.Option(help="The least: debug, info, warning or error.")] = "debug",
    part: Annotated[str, typer.Option(help="Of this part alone, such as `mqtt` or `requests`.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=LINES_MAX, help="The latest so many.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    as_json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the lines that a running node keeps of its log."""
    if level not in LEVELS:
        raise InputError(f"level `{level}`, must be one of {', '.join(LEVELS)}")
    asked = {"level": level, "part": part}
    form = as_json if as_json_lines else _text
    pause = threading.Event()
    with contextlib.closing(NodeClient(url)) as client:
        told = _asked(client, asked | {"limit": limit})
        while True:
            if told["lost"]:
                results.print(f"({told['lost']} lines are no longer kept)", markup=False)
            for line in msgspec.convert(told["lines"], list[Line]):
                results.print(form(line), markup=False, soft_wrap=True)
            if not follow:
                return
            if len(told["lines"]) < LINES_MAX:
                pause.wait(LOOK_S)
            told = _asked(client, asked | {"limit": LINES_MAX, "since": told["next"]})


def _asked(client: NodeClient, query: dict[str, Any]) -> Any:
    return client.call("GET", f"/api/logs?{urlencode(query)}")


def _text(line: Line) -> str:
    return f"{line.time} {line.level:<7} {line.part:<9} {as_text(line)}"
