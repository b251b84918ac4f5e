"""Trace context and request ids: taken over as the specification says, on the answer, on lines of the log."""

import asyncio
import logging
import re
from typing import Any

import pytest

from littoral.runtime.agents import Agent
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.pool import Pool
from littoral.telemetry import Trace, current_trace, incoming_trace, tracing
from littoral.telemetry.log_lines import as_text, line_of
from littoral.web import Answer, Protocol, Request, Route, Router, json_answer
from modules_in_text import LOG, agent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Body:
    async def read(self) -> bytes:
        return b""


def asked(headers: dict[str, str], *, fails: bool = False) -> tuple[Answer, Trace | None]:
    """Of a router with one route, which tells what it is traced under."""
    seen: list[Trace | None] = []

    async def handler(_: Request) -> Answer:
        seen.append(current_trace())
        if fails:
            raise RuntimeError("broken")
        return json_answer({})

    router = Router([Protocol((), [Route("GET", "/", handler)])])
    answer = asyncio.run(router(Request("GET", "/", "", headers, Body())))
    assert isinstance(answer, Answer)
    return answer, seen[0]


def test_a_trace_goes_on_with_a_span_of_our_own() -> None:
    answer, seen = asked({"traceparent": PARENT, "tracestate": "vendor=1,other=2", "x-request-id": "order-7.a_B"})
    told = dict(answer.headers)
    assert seen is not None
    assert told["traceparent"] == f"00-{TRACE}-{seen.span}-01"
    assert seen.span != SPAN
    assert (told["tracestate"], told["littoral-request-id"]) == ("vendor=1,other=2", "order-7.a_B")
    assert current_trace() is None


def test_a_request_without_an_id_gets_one() -> None:
    ids = {dict(asked({})[0].headers)["littoral-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert "traceparent" not in dict(asked({})[0].headers)


MALFORMED = [
    "",
    PARENT.upper(),
    PARENT[:-1],
    PARENT + "-more",
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}x-{SPAN}-01",
    "x" * 5000,
]


@pytest.mark.parametrize("parent", MALFORMED)
def test_what_is_malformed_counts_as_absent(parent: str) -> None:
    trace = incoming_trace(parent, "vendor=1", None)
    assert (trace.trace, trace.state) == ("", "")


def test_later_versions_and_bounds() -> None:
    assert incoming_trace(f"01-{TRACE}-{SPAN}-00-what-comes-later", None, None).trace == TRACE
    assert incoming_trace(PARENT, "a=" + "x" * 600, None).state == ""
    assert incoming_trace(PARENT, ",".join(f"a{i}=1" for i in range(33)), None).state == ""
    assert incoming_trace(PARENT, "a=\r\nx", None).state == ""
    for request in ("a b", "x" * 129, "", "a\r\nb: c"):
        trace = incoming_trace(PARENT, None, request)
        assert trace.request == trace.span


def test_lines_of_the_log_tell_the_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "littoral.web"):
        answer, seen = asked({"traceparent": PARENT, "x-request-id": "order-7"}, fails=True)
    assert answer.status == 500
    assert seen is not None
    with tracing(seen):
        line = line_of(caplog.records[-1], 1, 0)
    first, *rest = as_text(line).splitlines()
    assert first.endswith(f" [request order-7 trace {TRACE}]")
    assert rest[0] == "  RuntimeError"
    assert any("test_trace_context.py" in place for place in rest)
    assert "[request" not in as_text(line_of(caplog.records[-1], 1, 0))


async def test_an_agents_lines_belong_to_the_request_it_works_for() -> None:
    """Guests run in other threads."""
    found: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.getMessage(), current_trace()))

    handler, logger = Handler(), logging.getLogger("littoral.agents")
    logger.addHandler(handler)
    echo = "(i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))"
    says = agent(f"(call $log (i32.const 1) (i32.const 16) (i32.const 11)) {echo}", imports=LOG)
    try:
        with GuestThreads(1) as threads, Pool(Agent.open(says), name="a", threads=threads) as pool:
            for name in ("one", "two"):
                with tracing(Trace(name, "0")):
                    await pool.run(lambda guest: guest.infer(b"x"))
    finally:
        logger.removeHandler(handler)
    assert [(line, trace.request) for line, trace in found] == [("a: not my type", "one"), ("a: not my type", "two")]
