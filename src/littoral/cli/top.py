"""`littoral top`: what a running node does, as it does it."""

import contextlib
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from littoral.cli.console import bytes_text, results, show_json
from littoral.cli.top_samples import Look, parse_samples
from littoral.cli.top_tables import Row, Section, headline, sections
from littoral.clock import SYSTEM, Clock
from littoral.node.client import DEFAULT_URL, NodeClient

__all__ = ["top"]

QUIT = "q"
WIDTH = 200
"""Of what no terminal bounds."""
LEFT_COLUMN = "name"
UNKNOWN = "–"


def top(
    url: Annotated[str, typer.Option(help="The node.")] = DEFAULT_URL,
    every_s: Annotated[float, typer.Option("--every", min=0.1, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Two looks, then end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What `--once` sees, as JSON.")] = False,
) -> None:
    """Show requests, pools, collections, caches and links of a node, live; `q` ends it."""
    with contextlib.closing(NodeClient(url)) as client:
        looks = Looks(client, SYSTEM)
        if once or as_json or not (results.is_terminal and sys.stdin.isatty()):
            looks.take()
            _wait_s(every_s)
            _print(*looks.take(), as_json=as_json)
            return
        with _keys() as pressed, Live(console=results, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_shown(*looks.take()), refresh=True)
                if pressed(every_s) == QUIT:
                    return


class Looks:
    """One after the other, each with the one before."""

    def __init__(self, client: NodeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._before: tuple[Any, float] | None = None

    def take(self) -> tuple[Row, list[Section]]:
        """Raises what `NodeClient.call` raises."""
        now, at_s = parse_samples(self._client.text("/metrics")), self._clock.monotonic()
        before, before_s = self._before or (None, at_s)
        self._before = (now, at_s)
        look = Look(now, before, at_s - before_s)
        node, pipelines = self._client.call("GET", "/api/node"), self._client.call("GET", "/api/pipelines")
        return headline(node, look), sections(look, pipelines)


def _print(head: Row, found: list[Section], *, as_json: bool) -> None:
    if as_json:
        show_json({"node": head} | {section.title: section.rows for section in found})
    else:
        Console(highlight=False, width=None if results.is_terminal else WIDTH).print(_shown(head, found))


def _shown(head: Row, found: list[Section]) -> RenderableType:
    return Group(_head(head), *(_table(section) for section in found))


def _head(head: Row) -> Text:
    state = "ready" if head["ready"] else "not ready"
    told = [
        f"{head['node']} {head['version']}, {state}, up {_duration(head['uptime_s'])}",
        f"{_number(head['requests_per_s'])} requests/s, {_number(head['failures_per_s'])} failed",
        f"{_number(head['cpu_cores'])} cores, {_bytes(head['memory_bytes'])}, {_number(head['open_files'])} files",
    ]
    return Text(" · ".join(told))


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(section.rows[0]):
        title = section.title if i == 0 else column.replace("_per_s", "/s").replace("per_s", "/s").replace("_", " ")
        table.add_column(title, justify="left" if column in (LEFT_COLUMN, "kind") else "right", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(_cell(column, value)) for column, value in row.items()))
    return table


def _cell(column: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.startswith("bytes") or "_bytes" in column:
        return _bytes(value)
    if column.endswith("_share"):
        return UNKNOWN if value is None else f"{value:.0%}"
    return _number(value)


def _number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.2f}"


def _bytes(value: float | None) -> str:
    return UNKNOWN if value is None else bytes_text(round(value))


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """What waits for a key at most so many seconds; '' where none came. The terminal is as before afterwards."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _wait_s
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _wait_s(seconds: float) -> str:
    if not sys.stdin.isatty():
        select.select([], [], [], seconds)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else ""
