"""The log: what a line says and never says, how often, what is kept, and that nobody waits for who reads it."""

import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from littoral.errors import InputError
from littoral.telemetry import Limit, Log, LogOptions, incoming_trace, tracing
from littoral.telemetry.log_limit import KEYS_MAX
from littoral.telemetry.log_lines import without_secrets
from littoral.testing import SimulatedClock
from node_fixture import Served, node_in_thread
from page_pictures import draw, jpeg
from raw_http import connect, request, send
from supervised import short_folder
from waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CANARY = "kanarienvogel"

say = logging.getLogger("littoral.canary")


class Stream(io.StringIO):
    def isatty(self) -> bool:
        return False


@pytest.fixture
def log() -> Iterator[Log]:
    found = Log.start(LogOptions(lines_per_s=1000), Stream())
    yield found
    found.stop()


def written(log: Log) -> list[dict[str, Any]]:
    stream = log._stream
    assert isinstance(stream, Stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_the_request_it_belongs_to(log: Log) -> None:
    with tracing(incoming_trace(f"00-{TRACE}-00f067aa0ba902b7-01", None, "order-7")):
        say.warning("model `%s`:\n%d items", "a", 3)
    say.info("plain")
    say.debug("not told")
    until(lambda: len(written(log)) == 2)
    first, second = written(log)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning", "part": "canary", "message": "model `a`:\n3 items", "request": "order-7", "trace": TRACE,
    }  # fmt: skip
    assert set(second) == {"time", "level", "part", "message"}


def test_libraries_are_told_from_warnings_on(log: Log) -> None:
    logging.getLogger("asyncio").info("not told")
    logging.getLogger("asyncio").warning("told")
    assert [line.message for line in log.told().lines] == ["told"]


SECRETS = [
    f"cannot reach mqtts://user:{CANARY}@broker:8883/x",
    f"headers: Authorization: Bearer {CANARY}",
    f'`password = "{CANARY}"` is wrong',
    f"?token={CANARY}&limit=1",
    f"api_key: {CANARY}, next",
    f"sent Bearer {CANARY}",
    f"LITTORAL_OTLP_TOKEN={CANARY}",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_line_holds_a_secret(log: Log, text: str) -> None:
    say.error(text)
    say.error("%s", text)
    try:
        raise InputError(text)
    except InputError:
        say.exception("failed")
    until(lambda: len(written(log)) == 3)
    assert CANARY not in json.dumps(written(log))
    assert CANARY not in str(log.told())


def test_what_is_no_secret_stays() -> None:
    for text in ("token `defects` is unknown", "http://127.0.0.1:8642/x@y", "a passwordless node: yes", "basic steps"):
        assert without_secrets(text) == text


def test_an_unforeseen_error_is_told_without_what_was_sent(log: Log) -> None:
    vector = CANARY.encode() * 4
    try:
        raise ValueError(f"cannot take {vector!r}")
    except ValueError:
        say.exception("internal error")
    (line,) = log.told().lines
    assert line.failure[0] == "ValueError"
    assert "test_log.py" in line.failure[1]
    assert CANARY not in str(line)
    until(lambda: len(written(log)) == 1)
    assert CANARY not in str(written(log))


def test_the_level_debug_tells_all() -> None:
    log = Log.start(LogOptions(level="debug"), Stream())
    try:
        raise ValueError("of what")
    except ValueError:
        say.exception("internal error")
    say.debug("told")
    log.stop()
    assert log.told().lines[0].failure[0] == "ValueError: of what"
    assert log.told().lines[1].message == "told"


def test_one_message_is_told_so_often_and_the_rest_is_counted() -> None:
    clock = SimulatedClock()
    limit = Limit(10, clock)
    assert [limit.take("a") for _ in range(25)] == [0] * 20 + [None] * 5
    assert limit.take("b") == 0
    clock.advance(0.1)
    assert [limit.take("a"), limit.take("a")] == [5, None]
    assert limit.suppressed == 6
    for key in range(2 * KEYS_MAX):
        limit.take(key)
    assert len(limit._buckets) == KEYS_MAX


def test_the_rate_is_of_a_message_whatever_its_values(log: Log) -> None:
    log.stop()
    log = Log.start(LogOptions(lines_per_s=1, keep=100), Stream())
    for i in range(50):
        say.warning("peer `%d` is away", i)
        say.warning("another kind %d", i)
    found = [line.message for line in log.told().lines]
    assert len(found) < 10
    assert {"peer `0` is away", "another kind 0"} <= set(found)
    suppressed = {one.name: one.value for one in log.readings()}["littoral_log_lines_suppressed_total"]
    assert suppressed == 100 - len(found)
    log.stop()


def test_what_is_kept_is_bounded_and_read_from_a_number_on() -> None:
    log = Log.start(LogOptions(lines_per_s=10_000, keep=10), Stream())
    for i in range(25):
        say.log(logging.WARNING if i % 2 else logging.INFO, "line %d", i)
    assert [line.number for line in log.told().lines] == list(range(16, 26))
    assert [line.number for line in log.told(count_max=2).lines] == [24, 25]
    assert {line.level for line in log.told(level="warning").lines} == {"warning"}
    assert log.told(part="mqtt").lines == []
    told = log.told(since=5, count_max=4)
    assert ([line.number for line in told.lines], told.next, told.lost) == ([16, 17, 18, 19], 20, 11)
    assert log.told(since=26) == ([], 26, 0)
    assert log.told(since=20, count_max=0) == ([], 20, 0), "none was wanted: all are yet to be told"
    assert log.told(count_max=0).lines == []
    log.stop()


def test_nobody_waits_for_who_does_not_read() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb"):
        log = Log.start(LogOptions(lines_per_s=1e6, keep=10), stream)
        for i in range(8000):
            say.info("a line of some length, %d %s", i, "x" * 100)
        told = {f"{one.name}{''.join(one.labels)}": one.value for one in log.readings()}
        assert told["littoral_log_lines_totalinfo"] == 8000
        assert told["littoral_log_lines_dropped_total"] > 0
        log.stop()
        os.set_blocking(read, False)
        while log._writer.is_alive():
            try:
                os.read(read, 1 << 20)
            except BlockingIOError:
                log._writer.join(0.01)


# --- of a node ---


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder) as found:
        found.node.log = Log.start(LogOptions(lines_per_s=1000), Stream())
        yield found
        found.node.log.stop()


def lines(served: Served, query: str = "") -> Any:
    return send(served.address, "GET", f"/api/logs{query}").json


def test_a_node_tells_its_log(served: Served) -> None:
    say.warning("here")
    told = lines(served, "?level=warning&part=canary")
    assert told["lines"][-1]["message"] == "here"
    assert lines(served, f"?since={told['next']}&part=canary")["lines"] == []
    for query in ("?level=loud", "?limit=0x", "?since=-1", "?limit=1001"):
        reply = send(served.address, "GET", f"/api/logs{query}")
        assert reply.status == 400
        assert "parameter `" in reply.error


def test_a_request_that_fails_inside_has_a_line_with_its_id_and_nothing_of_what_was_sent(served: Served) -> None:
    broken = served.node.pipelines["double"]
    kept = broken.pipeline

    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ValueError(f"{CANARY} of {name}")

    broken.pipeline = Broken()  # type: ignore[assignment]
    try:
        body = json.dumps({"inputs": {"x": [[CANARY]]}}).encode()
        headers = {"X-Request-Id": "order-9", "Authorization": f"Bearer {CANARY}", "Content-Type": "application/json"}
        assert send(served.address, "POST", f"/pipelines/double?token={CANARY}", body, headers).status == 500
    finally:
        broken.pipeline = kept

    def of_it() -> list[dict[str, Any]]:
        return [line for line in lines(served)["lines"] if line.get("request") == "order-9"]

    until(lambda: {line["part"] for line in of_it()} == {"web", "requests"})
    told = of_it()
    assert "POST /pipelines/{name}: 500 in" in told[-1]["message"]
    assert CANARY not in json.dumps(told)


def test_lines_are_followed(served: Served) -> None:
    with connect(served.address) as listener:
        listener.sendall(request("GET", "/api/logs?follow=1&level=warning&part=canary"))
        data = b""
        while b": connected" not in data:
            data += listener.recv(1 << 16)
        say.info("not told")
        say.warning("told at once")
        while b"told at once" not in data:
            data += listener.recv(1 << 16)
    assert b"event: line" in data
    assert b"not told" not in data
    log = served.node.log
    assert log is not None
    until(lambda: not log.listeners)


def test_nothing_that_a_request_sends_gets_into_the_log(served: Served) -> None:
    node = served
    secret = {"Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY, "Content-Type": "application/octet-stream"}
    for path, body in (
        ("/pipelines/similar", CANARY.encode() * 100),
        ("/pipelines/similar", jpeg(draw(0, 0)) + CANARY.encode()),
        (f"/collections/frames/points/query?api_key={CANARY}", json.dumps({"query": CANARY}).encode()),
        ("/v2/models/plain/infer", json.dumps({"inputs": [{"name": CANARY}]}).encode()),
        (f"/collections/{CANARY}/points", b"{}"),
    ):
        send(node.address, "POST", path, body, secret)
    assert CANARY not in json.dumps(lines(served))
