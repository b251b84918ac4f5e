"""What every network owes the mesh: answers or errors within the deadline, names that are proven, bounds."""

import asyncio
import time

import pytest

from littoral.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    PeerError,
    TooLargeError,
    TrapError,
    UnavailableError,
)
from littoral.telemetry import Trace, current_trace, incoming_trace, tracing
from littoral.transport import desk
from mesh_rigs import BODY_BYTES_MAX, LEASE_S, Counted, Rig, echo, meet, never, reached
from waiting import until_async, until_true

DEADLINE_S = 60.0
SHORT_S = 0.3
FANNED_S = 2.0
SOON_S = 20.0
"""Long before a deadline, however busy the machine is."""


async def test_a_request_is_answered_and_its_caller_is_named(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)

    async def greet(caller: str, body: bytes) -> bytes:
        return caller.encode() + b" says " + body

    await other.serve("greet", greet)
    assert await one.request("gw-2", "greet", b"hello", deadline_s=DEADLINE_S) == b"gw-1 says hello"
    assert await one.request("gw-2", "greet", b"", deadline_s=DEADLINE_S) == b"gw-1 says "
    assert (one.traffic.asked, other.traffic.served, one.traffic.unanswered) == (2, 2, 0)


async def test_a_request_carries_its_trace(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    seen: list[Trace | None] = []

    async def look(_: str, body: bytes) -> bytes:
        seen.append(current_trace())
        return body

    await other.serve("look", look)
    trace = incoming_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None, None)
    with tracing(trace):
        assert await one.request("gw-2", "look", b"x", deadline_s=DEADLINE_S) == b"x"
    assert await one.request("gw-2", "look", b"x", deadline_s=DEADLINE_S) == b"x"
    (there, nothing) = seen
    assert there is not None
    assert (there.trace, there.parent, there.flags) == (trace.trace, trace.span, "01")
    assert nothing is None


async def test_many_requests_are_answered_at_a_time(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    gate = asyncio.Barrier(16)

    async def together(_: str, body: bytes) -> bytes:
        await gate.wait()
        return body

    await other.serve("together", together)
    asked = [one.request("gw-2", "together", b"%d" % i, deadline_s=DEADLINE_S) for i in range(16)]
    assert await asyncio.gather(*asked) == [b"%d" % i for i in range(16)]
    assert other.traffic.busy == 0
    assert other.traffic.busy_bytes == 0


async def test_a_large_body_arrives_whole(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    await other.serve("echo", echo)
    body = bytes(range(256)) * (BODY_BYTES_MAX // 256)
    assert await one.request("gw-2", "echo", body, deadline_s=DEADLINE_S) == body


async def test_what_is_too_large_is_refused_at_both_ends(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)

    async def twice(_: str, body: bytes) -> bytes:
        return body * 2

    await other.serve("twice", twice)
    with pytest.raises(TooLargeError, match=rf"body has {BODY_BYTES_MAX + 1} bytes, at most: {BODY_BYTES_MAX}"):
        await one.request("gw-2", "twice", bytes(BODY_BYTES_MAX + 1), deadline_s=DEADLINE_S)
    with pytest.raises(TooLargeError, match=r"peer `gw-2`: answer of `twice` has"):
        await one.request("gw-2", "twice", bytes(BODY_BYTES_MAX // 2 + 1), deadline_s=DEADLINE_S)
    with pytest.raises(TooLargeError):
        await one.publish("news", bytes(BODY_BYTES_MAX + 1))
    assert other.traffic.refused["large"] == 1


async def test_an_unknown_service_is_refused_and_counted(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    with pytest.raises(NotFoundError, match="peer `gw-2`: has no service `nothing`"):
        await one.request("gw-2", "nothing", b"", deadline_s=DEADLINE_S)
    assert other.traffic.refused["service"] == 1


async def test_an_error_comes_back_as_one_of_its_class(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    errors = {
        b"busy": UnavailableError("shard `frames`: restarts", hint="try again", retry_after_s=2.5),
        b"trap": TrapError("guest `g`: trapped", code="unreachable"),
    }

    async def fail(_: str, body: bytes) -> bytes:
        raise errors[body]

    await other.serve("fail", fail)
    with pytest.raises(UnavailableError) as busy:
        await one.request("gw-2", "fail", b"busy", deadline_s=DEADLINE_S)
    assert (busy.value.message, busy.value.hint) == ("shard `frames`: restarts", "try again")
    assert busy.value.retry_after_s == 2.5
    with pytest.raises(TrapError) as trap:
        await one.request("gw-2", "fail", b"trap", deadline_s=DEADLINE_S)
    assert trap.value.code == "unreachable"
    assert other.traffic.failed == 2


async def test_a_handler_that_breaks_is_an_error_and_no_silence(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)

    async def broken(_: str, _body: bytes) -> bytes:
        raise ZeroDivisionError("a secret of the machine")

    await other.serve("broken", broken)
    with pytest.raises(PeerError, match="peer `gw-2`: `broken` failed: `ZeroDivisionError`$"):
        await one.request("gw-2", "broken", b"", deadline_s=DEADLINE_S)
    assert "a secret of the machine" in caplog.text


async def test_a_peer_that_is_not_there_is_an_error_at_once(rig: Rig) -> None:
    one = await rig.join("gw-1")
    start = time.perf_counter()
    with pytest.raises(PeerError, match="peer `gw-3`"):
        await one.request("gw-3", "echo", b"", deadline_s=DEADLINE_S)
    assert time.perf_counter() - start < SOON_S
    assert one.traffic.unanswered == 1


async def test_what_answers_too_late_is_an_error_on_time_and_stops_there(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    await other.serve("never", never)
    start = time.perf_counter()
    with pytest.raises(PeerError, match="peer `gw-2`"):
        await one.request("gw-2", "never", b"", deadline_s=SHORT_S)
    assert SHORT_S * 0.9 < time.perf_counter() - start < SOON_S
    await until_async(lambda: other.traffic.refused["late"] == 1)
    assert other.traffic.busy == 0


async def test_beyond_the_bound_requests_are_refused_and_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SERVED_COUNT_MAX", 4)
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    gate = asyncio.Event()

    async def held(_: str, body: bytes) -> bytes:
        await gate.wait()
        return body

    await other.serve("held", held)
    asked = [asyncio.ensure_future(one.request("gw-2", "held", b"", deadline_s=DEADLINE_S)) for _ in range(6)]
    await until_async(lambda: sum(task.done() for task in asked) == 2)
    gate.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome != b""] == [UnavailableError] * 2
    assert other.traffic.refused["busy"] == 2


async def test_a_caller_without_the_right_is_refused_and_counted(rig: Rig) -> None:
    one = await rig.join("gw-1")
    third = await rig.join("gw-3")
    other = await rig.join("gw-2", rights=lambda caller, service: (caller, service) == ("gw-3", "echo"))
    await meet(one, other, third)
    await other.serve("echo", echo)
    assert await third.request("gw-2", "echo", b"x", deadline_s=DEADLINE_S) == b"x"
    with pytest.raises(ForbiddenError, match="peer `gw-2`: `gw-1` may not ask for `echo`"):
        await one.request("gw-2", "echo", b"x", deadline_s=DEADLINE_S)
    assert other.traffic.refused["rights"] == 1


async def test_a_fan_out_brings_replies_as_they_come_and_the_dead_one_too(rig: Rig) -> None:
    await rig.spawn("gw-2")
    one, third = await rig.join("gw-1"), await rig.join("gw-3")
    await meet(one, third, others=1)
    await third.serve("echo", echo)
    rig.freeze("gw-2")
    start = time.perf_counter()
    came = [reply async for reply in one.fan_out(["gw-2", "gw-3", "gw-4"], "echo", b"x", deadline_s=FANNED_S)]
    assert time.perf_counter() - start < SOON_S
    rig.thaw("gw-2")
    replies = {reply.peer: reply for reply in came}
    assert replies["gw-3"].body == b"x"
    assert isinstance(replies["gw-4"].error, PeerError)
    assert isinstance(replies["gw-2"].error, PeerError)
    assert came[-1].peer == "gw-2", "nobody waits for it"


async def test_messages_come_in_order_with_their_senders_and_not_back(rig: Rig) -> None:
    one, other, third = await rig.join("gw-1"), await rig.join("gw-2"), await rig.join("gw-3")
    await meet(one, other, third)
    heard: list[tuple[str, str, bytes]] = []
    back: list[object] = []
    await other.subscribe("facts/load", lambda *message: heard.append(message))
    await one.subscribe("facts/load", lambda *message: back.append(message))
    await until_heard(one, "facts/load", heard)
    await until_heard(third, "facts/load", back)
    for number in range(200):
        await one.publish("facts/load", b"%d" % number)
        if number % 10 == 0:
            await asyncio.sleep(0)
    await one.publish("facts/other", b"elsewhere")
    await one.publish("facts/load", b"end")
    await until_async(lambda: ("gw-1", "facts/load", b"end") in heard)
    numbered = [message for message in heard if message[2].isdigit() or message[1] != "facts/load"]
    assert numbered == [("gw-1", "facts/load", b"%d" % number) for number in range(200)]
    before, back[:] = list(back), []
    await until_heard(third, "facts/load", back)
    assert {sender for sender, _, _ in before + back} == {"gw-3"}


async def until_heard(sender: Counted, topic: str, heard: list[tuple[str, str, bytes]]) -> None:
    """A subscription takes a moment to be known to who publishes."""

    async def is_heard() -> bool:
        await sender.publish(topic, b"?")
        await asyncio.sleep(0.005)
        return any(name == sender.name for name, _, _ in heard)

    await until_true(is_heard)


async def test_who_listens_badly_is_counted_and_disturbs_nobody(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    heard: list[tuple[str, str, bytes]] = []

    def fail(*_: object) -> None:
        raise KeyError("broken")

    await other.subscribe("news", fail)
    await other.subscribe("news", lambda *message: heard.append(message))
    await until_heard(one, "news", heard)
    assert other.traffic.dropped["failed"] >= 1
    assert "who listens to `news` failed" in caplog.text


async def test_a_killed_node_is_told_to_be_gone_and_what_waits_for_it_ends(rig: Rig) -> None:
    await rig.spawn("gw-2")
    one = await rig.join("gw-1")
    changes: list[tuple[str, bool]] = []
    one.watch(lambda *change: changes.append(change))
    await meet(one, others=1)
    assert changes == [("gw-2", True)]
    late: list[tuple[str, bool]] = []
    one.watch(lambda *change: late.append(change))
    assert late == [("gw-2", True)]
    waiting = asyncio.ensure_future(one.request("gw-2", "never", b"", deadline_s=60))
    await one.request("gw-2", "echo", b"", deadline_s=DEADLINE_S)
    start = time.perf_counter()
    rig.kill("gw-2")
    await until_async(lambda: changes[-1] == ("gw-2", False))
    assert time.perf_counter() - start < LEASE_S + SOON_S
    assert one.alive() == {"gw-1"}
    with pytest.raises(PeerError, match="peer `gw-2`"):
        await waiting
    await rig.spawn("gw-2")
    await until_async(lambda: changes[-1] == ("gw-2", True))
    assert await reached(one, "gw-2", "echo", b"back") == b"back"


@pytest.mark.parametrize("size", [100, 1 << 20])
async def test_a_frozen_node_holds_up_nobody_beyond_the_deadline(rig: Rig, size: int) -> None:
    await rig.spawn("gw-2")
    one, third = await rig.join("gw-1"), await rig.join("gw-3")
    await meet(one, third, others=1)
    await third.serve("echo", echo)
    rig.freeze("gw-2")
    start = time.perf_counter()
    stuck = [asyncio.ensure_future(one.request("gw-2", "echo", bytes(size), deadline_s=SHORT_S)) for _ in range(16)]
    assert await one.request("gw-3", "echo", bytes(size), deadline_s=DEADLINE_S) == bytes(size)
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert time.perf_counter() - start < SOON_S
    assert {type(outcome) for outcome in outcomes} == {PeerError}
    await until_async(lambda: "gw-2" not in one.alive())
    rig.thaw("gw-2")
    await until_async(lambda: "gw-2" in one.alive())
    assert await reached(one, "gw-2", "echo", b"awake") == b"awake"


async def test_closing_is_bounded_and_ends_what_waits(rig: Rig) -> None:
    await rig.spawn("gw-2")
    one = await rig.join("gw-1")
    await meet(one, others=1)
    waiting = asyncio.ensure_future(one.request("gw-2", "never", b"", deadline_s=60))
    await one.request("gw-2", "echo", b"", deadline_s=DEADLINE_S)
    rig.kill("gw-2")
    start = time.perf_counter()
    await one.close()
    assert time.perf_counter() - start < SOON_S
    with pytest.raises(PeerError, match="`gw-1`: its end of the mesh is closed"):
        await waiting
    with pytest.raises(PeerError, match="is closed"):
        await one.request("gw-2", "echo", b"", deadline_s=DEADLINE_S)
    with pytest.raises(PeerError, match="is closed"):
        await one.publish("news", b"")
    await one.close()


async def test_who_leaves_is_gone_at_once(rig: Rig) -> None:
    one, other = await rig.join("gw-1"), await rig.join("gw-2")
    await meet(one, other)
    gone: list[str] = []
    one.watch(lambda name, is_here: None if is_here else gone.append(name))
    await other.close()
    await until_async(lambda: gone == ["gw-2"])


async def test_names_are_of_few_letters_and_services_have_one_handler(rig: Rig) -> None:
    one = await rig.join("gw-1")
    await one.serve("echo", echo)
    with pytest.raises(ConflictError, match="service `echo`: `gw-1` serves it already"):
        await one.serve("echo", echo)
    for peer, service in (("gw/2", "echo"), ("gw-2", "*"), ("", "echo"), ("GW", "echo")):
        with pytest.raises(InputError):
            await one.request(peer, service, b"", deadline_s=DEADLINE_S)
    for topic in ("a//b", "**", "a/$*", ""):
        with pytest.raises(InputError):
            await one.publish(topic, b"")
        with pytest.raises(InputError):
            await one.subscribe(topic, print)
