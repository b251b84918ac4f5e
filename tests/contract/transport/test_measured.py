"""What a node measures of its links: round trips, bytes, failures, and whether a peer answers."""

import asyncio

import msgspec
import pytest

from littoral.clock import SYSTEM
from littoral.errors import ConflictError, InputError, PeerError
from littoral.mesh.condition import (
    LAG_COUNT_MAX,
    LINK_COUNT_MAX,
    REPLICA_COUNT_MAX,
    BehindTold,
    Condition,
    LinkTold,
    ReplicaTold,
)
from littoral.mesh.facts import FACT_BYTES_MAX, Fact, decode_fact, encode_fact
from littoral.testing import SimulatedClock
from littoral.transport.measured import PING, PINGS_MAX, MeasuredTransport
from nodes_in_process import Wires
from waiting import until_async

DEADLINE_S = 30.0


async def pair(wires: Wires) -> tuple[MeasuredTransport, MeasuredTransport]:
    first, second = (MeasuredTransport(wires.end(name), SYSTEM) for name in ("a", "b"))
    for one in (first, second):
        await one.open()
    return first, second


async def test_bytes_are_counted_at_both_ends_and_rounds_are_measured() -> None:
    first, second = await pair(Wires())

    async def double(_: str, body: bytes) -> bytes:
        return 2 * body

    await second.serve("double", double)
    assert await first.request("b", "double", b"123", deadline_s=DEADLINE_S) == b"123123"
    asked, answered = first.states()["b"], second.states()["a"]
    assert (asked.sent_bytes, asked.received_bytes, asked.asked_count) == (3, 6, 1)
    assert (answered.sent_bytes, answered.received_bytes, answered.asked_count) == (6, 3, 0)
    assert asked.round_trip_s is None
    await first.measure(["a", "b"])
    measured = first.states()["b"]
    assert measured.round_trip_s is not None
    assert 0 < measured.round_trip_s < DEADLINE_S
    assert (measured.is_up, measured.sent_bytes, measured.asked_count) == (True, 3, 1), "measuring is not traffic"


async def test_a_frozen_peer_is_down_until_it_answers_again() -> None:
    wires = Wires()
    first, _ = await pair(wires)
    await first.measure(["b"])
    wires.frozen.add("b")
    await first.measure(["b"])
    assert (first.states()["b"].is_up, first.states()["b"].failed_count) == (False, 1)
    wires.frozen.clear()
    await first.measure(["b"])
    assert first.states()["b"].is_up
    wires.cut("a", "b")
    assert not first.states()["b"].is_up, "who is away is known without asking"


async def test_failures_are_those_without_an_answer() -> None:
    wires = Wires()
    first, second = await pair(wires)

    async def refuse(_: str, _body: bytes) -> bytes:
        raise InputError("no")

    await second.serve("refuse", refuse)
    with pytest.raises(InputError):
        await first.request("b", "refuse", b"", deadline_s=DEADLINE_S)
    assert first.states()["b"].failed_count == 0
    wires.kill("b")
    with pytest.raises(PeerError):
        await first.request("b", "refuse", b"", deadline_s=DEADLINE_S)
    assert [reply.peer async for reply in first.fan_out(["b"], "refuse", b"", deadline_s=DEADLINE_S)] == ["b"]
    assert (first.states()["b"].failed_count, first.states()["b"].asked_count) == (2, 3)


async def test_rounds_begin_when_somebody_comes() -> None:
    wires = Wires()
    first = MeasuredTransport(wires.end("a"), SYSTEM)
    await first.open()
    running = asyncio.create_task(first.run(lambda: {"a", "b"}))
    try:
        await asyncio.sleep(0)
        second = MeasuredTransport(wires.end("b"), SYSTEM)
        await second.open()
        await until_async(lambda: "b" in first.states() and first.states()["b"].is_up)
    finally:
        running.cancel()


async def test_of_many_peers_some_are_asked_in_turn() -> None:
    wires = Wires()
    names = [f"n{i:03}" for i in range(PINGS_MAX + 10)]
    for name in names:
        await MeasuredTransport(wires.end(name), SYSTEM).open()
    one = MeasuredTransport(wires.end("a"), SYSTEM)
    await one.measure(names)
    assert len(one.states()) == PINGS_MAX
    await one.measure(names)
    assert len(one.states()) == len(names)


async def test_the_rate_is_that_of_the_latest_seconds() -> None:
    wires, clock = Wires(), SimulatedClock()
    one, other = MeasuredTransport(wires.end("a"), clock), MeasuredTransport(wires.end("b"), SYSTEM)

    async def echo(_: str, body: bytes) -> bytes:
        return body

    await other.serve("echo", echo)
    await one.request("b", "echo", b"x" * 100, deadline_s=DEADLINE_S)
    await one.measure([])
    await one.request("b", "echo", b"x" * 1000, deadline_s=DEADLINE_S)
    clock.advance(2.0)
    await one.measure([])
    assert one.states()["b"].bytes_per_s == 1000.0
    clock.advance(2.0)
    await one.measure([])
    assert one.states()["b"].bytes_per_s == 0.0


async def test_the_service_of_the_measurements_is_taken() -> None:
    first, _ = await pair(Wires())
    with pytest.raises(ConflictError):
        await first.serve(PING, lambda _caller, _body: asyncio.sleep(0, b""))


def test_the_longest_condition_fits_into_a_fact() -> None:
    """Names as long as nodes and collections of a site are; a node that tells more is not heard."""
    large, node, collection = 1 << 48, "n" * 24, "c" * 16
    condition = Condition(
        "0.1.0",
        1e6,
        [LinkTold(node, True, 1.5, 1e6, large, large, large, large) for _ in range(LINK_COUNT_MAX)],
        [ReplicaTold(collection, 255, large, large, large) for _ in range(REPLICA_COUNT_MAX)],
        [BehindTold(collection, 255, node, large, 1e6) for _ in range(LAG_COUNT_MAX)],
    )
    points = {collection: dict.fromkeys(range(REPLICA_COUNT_MAX), large)}
    lags = {f"{node}{i}": 1.5 for i in range(LINK_COUNT_MAX)}
    loads = {collection: dict.fromkeys(range(REPLICA_COUNT_MAX), (1.5, 1.5))}
    fact = Fact(node, 1, 1, points=points, lag_s=lags, condition=condition, owed=points, loads=loads)
    assert len(encode_fact(fact)) <= FACT_BYTES_MAX
    assert decode_fact(encode_fact(fact), node) == fact
    more = msgspec.structs.replace(fact, condition=msgspec.structs.replace(condition, links=2 * condition.links))
    with pytest.raises(InputError):
        decode_fact(encode_fact(more), node)
