"""`/pipelines/{name}/stream`: frames in, answers out, over one POST or one WebSocket (docs/reference/streams.md)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import msgspec

from littoral.errors import ForbiddenError, InputError, LittoralError, PeerError, SlowRequestError, TooLargeError
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.pipelines_api import pipeline_named, status_error
from littoral.node.request_options import request_deadline_ms
from littoral.node.stream_runs import CREDIT, CREDIT_MAX, StreamRun, Streams
from littoral.telemetry import Reading
from littoral.web import Protocol, Request, Route, Socket, Stream, Upgrade
from littoral.web.failures import failure_of
from littoral.web.framing import Frame, Framing, framing_of

__all__ = ["streams_protocol"]

PAUSE_S = 60.0
DRAIN_S = 0.5
TEXT_BYTES_MAX = 4096
EVENTS = "text/event-stream"
END, TOO_MUCH, TOO_LARGE, INTERNAL, IDLE = 1000, 1008, 1009, 1011, 4408
"""Why a WebSocket is closed: as RFC 6455 says, and one of our own."""


def streams_protocol(node: Node, observed: Observed, *, pause_s: float = PAUSE_S) -> Protocol:
    """pause_s: a stream from which nothing comes for so long is ended."""
    streams = Streams()

    def run_of(request: Request) -> StreamRun:
        streams.check_room()
        served = pipeline_named(node, request.names["name"])
        credit, deadline_ms = _credit(request), request_deadline_ms(request)
        return StreamRun(streams, node, observed, served, credit=credit, deadline_ms=deadline_ms)

    async def post(request: Request) -> Stream:
        framing = framing_of(str(request.headers.get("content-type", "")), request.body.bytes_max)
        run = run_of(request)
        return Stream(_events(streams, run, request.body.chunks(pause_s), framing), EVENTS)

    async def upgrade(request: Request) -> Upgrade:
        run = run_of(request)
        return Upgrade(lambda socket: _serve(streams, run, socket, request.body.bytes_max, pause_s))

    def readings() -> Iterator[Reading]:
        for name, value in vars(streams.counts).items():
            ending = "" if name == "open" else "_total"
            yield Reading(f"littoral_streams_{name}{ending}", (), value)

    observed.sources.append(readings)
    path = "/pipelines/{name}/stream"
    return Protocol((), [Route("POST", path, post), Route("GET", path, upgrade)], status_error)


def _credit(request: Request) -> int:
    if (text := request.query.get("credit")) is None:
        return CREDIT
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= CREDIT_MAX):
        raise InputError(f"`credit` is `{text[:40]}`, must be 1..{CREDIT_MAX}")
    return int(text)


async def _events(
    streams: Streams, run: StreamRun, chunks: AsyncIterator[bytes], framing: Framing
) -> AsyncGenerator[bytes, None]:
    """Frames are read no faster than their answers are taken: back-pressure is that of the connection."""
    failures: list[Exception] = []

    async def read() -> None:
        try:
            async for chunk in chunks:
                for frame in framing.feed(chunk):
                    await run.wait_for_room()
                    run.give(frame)
            framing.end()
        except Exception as error:  # noqa: BLE001  told at the end of the stream
            failures.append(error)
        finally:
            run.end()

    counts = {"answer": 0, "error": 0}
    with streams.one():
        async with run:
            reading = asyncio.create_task(read())
            try:
                yield _event("open", {"credit": run.credit})
                async for outcome in run.outcomes():
                    name = "answer" if outcome.is_ok else "error"
                    counts[name] += 1
                    yield _event(name, outcome.said)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        end: dict[str, Any] = {"answers": counts["answer"], "errors": counts["error"]}
        if failures:
            failure = failure_of(failures[0])
            end |= {"status": {"error": failure.message}, "code": failure.status}
        yield _event("end", end)


def _event(name: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


class _Control(msgspec.Struct, forbid_unknown_fields=True):
    """A text message of the client. frame: says something of the binary message that follows it."""

    type: str
    id: str = ""
    media_type: str = ""


async def _serve(streams: Streams, run: StreamRun, socket: Socket, bytes_max: int, pause_s: float) -> None:
    """Says at the end why it ends: `{"type": "end", "code": …, "reason": …}`."""

    async def tell() -> None:
        async for outcome in run.outcomes():
            await _say(socket, "answer" if outcome.is_ok else "error", **outcome.said)

    try:
        with streams.one():
            await _say(socket, "credit", frames=run.credit)
            async with run:
                telling = asyncio.create_task(tell())
                try:
                    await _receive(run, socket, bytes_max, pause_s, telling)
                finally:
                    telling.cancel()
                    await asyncio.gather(telling, return_exceptions=True)
        await _say(socket, "end", code=END, reason="all frames are answered")
    except LittoralError as error:
        await _say(socket, "end", code=_code(error), reason=failure_of(error).message)
        await _drain(socket)


async def _drain(socket: Socket) -> None:
    """Takes what is under way: bytes that nobody read would make the kernel take back what we said."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await socket.receive() is not None:
                pass


async def _receive(
    run: StreamRun, socket: Socket, bytes_max: int, pause_s: float, telling: "asyncio.Task[None]"
) -> None:
    """Until the client has ended, and every frame is answered. Raises what ends the stream."""
    about: Frame | None = Frame(b"")
    while about is not None and not telling.done():
        about = _one(run, await _next(socket, pause_s), about, bytes_max)
    run.end()
    await telling


async def _next(socket: Socket, pause_s: float) -> bytes | str:
    try:
        async with asyncio.timeout(pause_s):
            message = await socket.receive()
    except TimeoutError as error:
        raise SlowRequestError(f"nothing came in {pause_s:g} s") from error
    if message is None:
        raise PeerError("the client has gone")
    return message


def _one(run: StreamRun, message: bytes | str, about: Frame, bytes_max: int) -> Frame | None:
    """What was said of the next frame, after this message; None if it says that there is none."""
    if isinstance(message, str):
        return _control(message)
    if len(message) > bytes_max:
        raise TooLargeError(f"frame has {len(message)} bytes, at most {bytes_max}")
    if run.unanswered >= run.credit:
        raise ForbiddenError(f"{run.unanswered + 1} frames are unanswered, credit is {run.credit}")
    run.give(about._replace(data=message))
    return Frame(b"")


def _control(text: str) -> Frame | None:
    if len(text) > TEXT_BYTES_MAX:
        raise InputError(f"text message has {len(text)} characters, at most {TEXT_BYTES_MAX}")
    try:
        said = msgspec.json.decode(text, type=_Control)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"text message: {error}") from error
    if said.type == "end":
        return None
    if said.type != "frame":
        raise InputError(f"text message is of type `{said.type[:40]}`, must be `frame` or `end`")
    return Frame(b"", said.id, said.media_type)


async def _say(socket: Socket, kind: str, **said: Any) -> None:
    await socket.send(msgspec.json.encode({"type": kind} | said).decode())


def _code(error: LittoralError) -> int:
    if isinstance(error, TooLargeError):
        return TOO_LARGE
    if isinstance(error, SlowRequestError):
        return IDLE
    return TOO_MUCH if failure_of(error).status < 500 else INTERNAL
