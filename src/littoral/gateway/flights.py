"""Requests under way at upstreams. Identical ones are asked once: who comes later waits for the same answer, as a
stream or whole, from its beginning.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec

from littoral.errors import LittoralError, TooLargeError, UnavailableError, UpstreamError
from littoral.gateway.sse import Assembly, Events, event, payloads_of
from littoral.gateway.upstream import Upstream
from littoral.gateway.upstreams import Begun, Outgoing, Upstreams

__all__ = ["FLIGHTS_MAX", "HELD_BYTES_MAX", "Flight", "Flights", "Landed", "event_of", "streamed"]

FLIGHTS_MAX = 512
HELD_BYTES_MAX = 256 << 20
"""Of all answers that are under way."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Landed(NamedTuple):
    """A whole answer. answer: its JSON where it is one that may be kept, else None."""

    status: int
    body: bytes
    answer: Mapping[str, Any] | None
    headers: Mapping[str, str]


class _Piece(NamedTuple):
    payload: bytes
    is_usage: bool


class Flight:
    """One request at an upstream. `landed` and `stream` are for whoever listens; without listeners it is given up."""

    def __init__(self, flights: "Flights", outgoing: Outgoing) -> None:
        self._flights = flights
        self._outgoing = outgoing
        self._pieces: list[_Piece] = []
        self._bytes = self._held = 0
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None
        self._landed: Landed | None = None
        self._is_begun = self._is_over = False
        self._listeners = 0
        self.upstream = self.model = ""
        self.joined_count = 0
        self.key = b""
        self.task = asyncio.create_task(self._fly(), name="littoral-flight")

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    @property
    def size(self) -> int:
        """Bytes of its stream so far."""
        return self._bytes

    def __enter__(self) -> "Flight":
        self._listeners += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._listeners -= 1
        if self._listeners:
            return
        if self._is_over:
            self._release()
        else:
            self.task.cancel()

    async def begun(self) -> None:
        """Returns when the first piece of the answer is there. Raises what kept it from coming."""
        while not self._is_begun and not self._is_over:
            await asyncio.shield(self._changed)
        if self._error is not None and not self._pieces:
            raise self._error

    async def is_begun_before(self, other: asyncio.Future[Any]) -> bool:
        """Whether a piece of the answer is there before the other is done. Returns at the first of both; false, too,
        where no piece will come.
        """
        while not (other.done() or self._is_begun or self._is_over):
            await asyncio.wait((self._changed, other), return_when=asyncio.FIRST_COMPLETED)
        return not other.done() and (self._error is None or bool(self._pieces))

    async def landed(self) -> Landed:
        """The whole answer. Raises UpstreamError where it did not come to its end."""
        while not self._is_over:
            await asyncio.shield(self._changed)
        if self._error is not None:
            raise self._error
        assert self._landed is not None, "a flight that is over has landed or failed"
        return self._landed

    @property
    def is_streamed(self) -> bool:
        """Whether its pieces are what is told, not one whole answer. Known once it has begun."""
        return bool(self._pieces)

    async def stream(self, *, has_usage: bool) -> AsyncIterator[bytes]:
        """Events as they come, and those that came before. has_usage: with the count of tokens at the end.

        Ends with an event that tells of an error, and without `[DONE]`, where the answer is cut off.
        """
        at = 0
        while True:
            new = self._pieces[at:]
            at += len(new)
            if told := b"".join(event(one.payload) for one in new if has_usage or not one.is_usage):
                yield told
            elif self._is_over:
                break
            elif not new:
                await asyncio.shield(self._changed)
        if self._error is not None:
            yield event_of(self._error)

    def _tell(self) -> None:
        self._changed.set_result(None)
        self._changed = asyncio.get_running_loop().create_future()

    async def _fly(self) -> None:
        try:
            async with self._flights.upstreams.ask(self._outgoing) as begun:
                self.upstream = begun.upstream.name
                self.model = begun.upstream.name_of(self._outgoing.model)
                if begun.status == 200 and self._outgoing.is_stream and _is_events(begun):
                    self._landed = await self._streamed(begun)
                else:
                    self._landed = _whole(begun)
        except asyncio.CancelledError:
            self._error = UnavailableError("request was given up: nobody waits for it any more")
            raise
        except LittoralError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  whoever listens is told, each in its own way
            self._error = error
        finally:
            self._is_over = True
            self._flights.over(self)
            if not self._listeners:
                self._release()
            self._tell()

    def _release(self) -> None:
        """Nobody listens any more: what was held for those who read slowly is held no longer."""
        self._flights.hold(-self._held)
        self._held = 0

    async def _streamed(self, begun: Begun) -> Landed:
        events, assembly = Events(), Assembly()
        self._take(events.feed(begun.first), assembly, begun.upstream)
        async for data in begun.rest:
            self._take(events.feed(data), assembly, begun.upstream)
        self._take(events.rest(), assembly, begun.upstream)
        if assembly.error is not None:
            # already told as it came
            body = begun.upstream.error_without_secrets(msgspec.json.encode({"error": assembly.error}))
            return Landed(502, body, None, begun.headers)
        if not assembly.is_done and not assembly.is_whole:
            raise UpstreamError(f"upstream `{begun.upstream.name}`: its stream was cut off", kind="cut")
        answer = assembly.answer()
        return Landed(200, msgspec.json.encode(answer), answer if assembly.is_whole else None, begun.headers)

    def _take(self, payloads: list[bytes], assembly: Assembly, upstream: Upstream) -> None:
        if not payloads:
            return
        for said in payloads:
            if assembly.is_done:
                break
            payload = upstream.answer_without_key(said)
            is_usage = assembly.add(payload)
            if assembly.error is not None:
                payload = upstream.error_without_secrets(payload)
            self._pieces.append(_Piece(payload, is_usage))
            self._bytes += len(payload)
            self._held += len(payload)
            self._flights.hold(len(payload))
        if self._bytes > self._flights.answer_bytes_max:
            raise TooLargeError(f"answer has more than {self._flights.answer_bytes_max} bytes")
        self._is_begun = True
        self._tell()


class Flights:
    """All that are under way, by what makes them identical."""

    def __init__(self, upstreams: Upstreams, *, answer_bytes_max: int = 16 << 20) -> None:
        self.upstreams = upstreams
        self.answer_bytes_max = answer_bytes_max
        self._by_key: dict[bytes, Flight] = {}
        self._all: set[Flight] = set()
        self._held_bytes = 0
        self.joined_count = 0

    def __len__(self) -> int:
        return len(self._all)

    def find(self, key: bytes) -> Flight | None:
        """One to join. It counts as joined."""
        if (found := self._by_key.get(key)) is None or found.has_failed or found.task.cancelling():
            return None
        self.joined_count += 1
        found.joined_count += 1
        return found

    def begin(self, outgoing: Outgoing, key: bytes | None) -> Flight:
        """key: of those that may join; None: nobody may. Raises UnavailableError where too many are under way."""
        if len(self._all) >= FLIGHTS_MAX:
            raise UnavailableError(f"{len(self._all)} requests are under way at upstreams, which is the most")
        flight = Flight(self, outgoing)
        self._all.add(flight)
        if key is not None:
            self._by_key[key] = flight
            flight.key = key
        return flight

    @property
    def held_bytes(self) -> int:
        """Of streams under way, and of those that are over and yet to be read."""
        return self._held_bytes

    def hold(self, size: int) -> None:
        """Less than nothing: no longer. Raises UnavailableError where all answers together are too large."""
        self._held_bytes += size
        if size > 0 and self._held_bytes > HELD_BYTES_MAX:
            raise UnavailableError(f"answers under way have more than {HELD_BYTES_MAX} bytes together")

    def over(self, flight: Flight) -> None:
        self._all.discard(flight)

    async def close(self) -> None:
        """Gives up all."""
        tasks = [flight.task for flight in self._all]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, flight: Flight) -> None:
        """Nobody joins it any more: its answer is remembered, or it failed."""
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]


def _is_events(begun: Begun) -> bool:
    return begun.headers.get("content-type", "").startswith("text/event-stream")


def _whole(begun: Begun) -> Landed:
    if begun.status != 200:
        return Landed(begun.status, begun.upstream.error_without_secrets(begun.first), None, begun.headers)
    body = begun.upstream.answer_without_key(begun.first)
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UpstreamError(f"upstream `{begun.upstream.name}`: its answer is no JSON", kind="malformed") from error
    return Landed(200, body, answer, begun.headers)


def event_of(error: Exception) -> bytes:
    """What a stream ends with that has begun and fails."""
    message = str(error) if isinstance(error, LittoralError) else "internal error"
    told = {"error": {"message": message, "type": "server_error", "param": None, "code": "upstream_error"}}
    return event(msgspec.json.encode(told))


def streamed(landed: Landed, *, has_usage: bool) -> bytes:
    """A whole answer as the bytes of a stream."""
    return b"".join(event(payload) for payload in payloads_of(landed.answer or {}, has_usage=has_usage))
