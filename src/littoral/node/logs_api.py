"""`GET /api/logs`: the lines that a node keeps, and those that come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial

from littoral.errors import InputError, NotFoundError, UnavailableError
from littoral.node.node import Node
from littoral.node.shown.numbers import number
from littoral.telemetry import Log
from littoral.telemetry.log_lines import LEVELS, Line, fits
from littoral.web import Answer, Events, Protocol, Request, Route, Stream, json_answer

__all__ = ["logs_protocol"]

LINES_MAX = 1000
LINES = 200
FOLLOWERS_MAX = 8
PART_CHARACTERS_MAX = 64
EVENTS = "text/event-stream"


def logs_protocol(node: Node) -> Protocol:
    """`?level=`: the least; `part=`: who says it; `since=`: the first number; `limit=`: so many lines at most.

    With `follow=1` server-sent events `line`, from now on.
    """

    async def logs(request: Request) -> Answer | Stream:
        if node.log is None:
            raise NotFoundError("this node keeps no log")
        query = request.query
        level, part = query.get("level", LEVELS[0]), query.get("part", "")[:PART_CHARACTERS_MAX]
        if level not in LEVELS:
            raise InputError(f"parameter `level` is `{level[:40]}`, must be one of {', '.join(LEVELS)}")
        if query.get("follow") == "1":
            if len(node.log.listeners) >= FOLLOWERS_MAX:
                raise UnavailableError(f"{FOLLOWERS_MAX} follow the log, which is the most")
            return Stream(_following(node.log, partial(fits, level=level, part=part)), EVENTS)
        since = number(query, "since", 0, 1 << 62)
        told = node.log.told(level=level, part=part, since=since, count_max=number(query, "limit", LINES, LINES_MAX))
        return json_answer({"lines": told.lines, "next": told.next, "lost": told.lost})

    return Protocol(("/api/logs",), [Route("GET", "/api/logs", logs, is_always_taken=True)])


async def _following(log: Log, fits: Callable[[Line], bool]) -> AsyncGenerator[bytes, None]:
    """Lines come from any thread."""
    loop, events = asyncio.get_running_loop(), Events(listener_count_max=1)

    def tell(line: Line) -> None:
        if fits(line):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(events.tell, "line", line)

    log.listeners.append(tell)
    try:
        async with contextlib.aclosing(events.stream().chunks) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk
    finally:
        log.listeners.remove(tell)
