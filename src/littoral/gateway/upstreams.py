"""Several services as one: which is asked for a model, what is tried again, and who is left in peace."""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from littoral.clock import Clock
from littoral.errors import NotFoundError, UnavailableError, UpstreamError
from littoral.gateway.breaker import Breaker, BreakerOptions
from littoral.gateway.sse import EVENT_BYTES_MAX, Events, error_of
from littoral.gateway.upstream import Ask, Reply, Service, Upstream
from littoral.telemetry import Kind, span

__all__ = ["Begun", "Outgoing", "Retries", "Seat", "Upstreams"]

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
OUR_KEY = frozenset({401, 403, 407})
REST_S_MAX = 120.0
TRIES_MAX = 3
ERROR_BYTES_MAX = 64 << 10
OF_THE_REQUEST = frozenset({"invalid_request_error", "BadRequestError"})
"""Types of errors that no service would answer better."""
ERROR_STATUS = re.compile("[45][0-9][0-9]")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Outgoing(NamedTuple):
    """A request for some upstream. body: its JSON. data: the same as it came, sent as it is where nothing changes."""

    path: str
    body: Mapping[str, Any]
    data: bytes
    model: str
    is_stream: bool
    until_s: float


@dataclass
class Begun:
    """An answer whose first piece is there. first: that piece, of an answer that is not streamed all of it."""

    upstream: Upstream
    status: int
    headers: Mapping[str, str]
    first: bytes
    rest: AsyncIterator[bytes]


class Retries:
    """So many may be tried again as a share of all requests, and a few at once: a service that is down is not asked
    three times as often.
    """

    def __init__(self, share: float = 0.2, most: float = 10.0) -> None:
        self._share = share
        self._most = self._left = most
        self.refused_count = 0

    def asked(self) -> None:
        self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        if self._left < 1.0:
            self.refused_count += 1
            return False
        self._left -= 1.0
        return True


@dataclass
class Seat:
    """An upstream and what is known of it. seconds: of requests that were answered; first_token_s: of streams."""

    upstream: Upstream
    breaker: Breaker
    busy_count: int = 0
    requests: int = 0
    failures: int = 0
    retries: int = 0
    seconds: float = 0.0
    first_token_s: float = 0.0
    streams: int = 0
    failed_by: dict[str, int] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        return self.breaker.allows() and self.busy_count < self.upstream.requests_max


class Upstreams:
    """For one event loop. rng: which of several is asked."""

    def __init__(
        self,
        service: Service,
        upstreams: Sequence[Upstream],
        *,
        clock: Clock,
        rng: random.Random,
        breaker: BreakerOptions | None = None,
        retries: Retries | None = None,
        answer_bytes_max: int = 16 << 20,
    ) -> None:
        self._service = service
        self._clock = clock
        self._rng = rng
        self.retries = retries or Retries()
        self._answer_bytes_max = answer_bytes_max
        self.seats = [Seat(one, Breaker(breaker or BreakerOptions(), clock)) for one in upstreams]

    def takes(self, model: str) -> bool:
        return any(seat.upstream.takes(model) for seat in self.seats)

    def name_of(self, model: str) -> str:
        """What the first upstream that takes it calls it."""
        return next((seat.upstream.name_of(model) for seat in self.seats if seat.upstream.takes(model)), model)

    def check(self, model: str) -> None:
        """Raises NotFoundError for a model that no upstream is asked for."""
        if not self.takes(model):
            raise NotFoundError(
                f"model `{model[:80]}` is none of this gateway's", hint="`GET /v1/models` lists those that are"
            )

    @contextlib.asynccontextmanager
    async def ask(self, outgoing: Outgoing) -> AsyncIterator[Begun]:
        """Raises UpstreamError of the last one that was asked, UnavailableError where none may be asked now."""
        self.check(outgoing.model)
        self.retries.asked()
        tried: list[Seat] = []
        async with contextlib.AsyncExitStack() as stack:
            while True:
                seat = self._choose(outgoing.model, tried)
                try:
                    begun = await stack.enter_async_context(self._begun(seat, outgoing))
                    break
                except UpstreamError as error:
                    tried.append(seat)
                    if not self._is_tried_again(error, tried, outgoing):
                        raise
                    seat.retries += 1
            yield begun

    def _is_tried_again(self, error: UpstreamError, tried: Sequence[Seat], outgoing: Outgoing) -> bool:
        if error.kind in ("too_large", "key") and not self._others(outgoing.model, tried):
            return False
        has_time = self._clock.monotonic() < outgoing.until_s
        has_other = bool(self._others(outgoing.model, tried)) or tried[-1].is_free
        return has_time and has_other and len(tried) < TRIES_MAX and self.retries.take()

    def _others(self, model: str, tried: Sequence[Seat]) -> list[Seat]:
        return [seat for seat in self._free(model) if seat not in tried]

    def _free(self, model: str) -> list[Seat]:
        return [seat for seat in self.seats if seat.upstream.takes(model) and seat.is_free]

    def _choose(self, model: str, tried: Sequence[Seat]) -> Seat:
        found = self._others(model, tried) or self._free(model)
        if not found:
            waits = [seat.breaker.wait_s for seat in self.seats if seat.upstream.takes(model)]
            raise UnavailableError(
                f"no upstream for model `{model[:80]}` may be asked now: each has failed, is full or wants to be left",
                retry_after_s=max(1.0, min(waits)),
            )
        weighted = [seat for seat in found if seat.upstream.weight > 0]
        if not weighted:
            return found[0]
        return self._rng.choices(weighted, [seat.upstream.weight for seat in weighted])[0]

    @contextlib.asynccontextmanager
    async def _begun(self, seat: Seat, outgoing: Outgoing) -> AsyncIterator[Begun]:
        began_s = self._clock.monotonic()
        seat.requests += 1
        seat.busy_count += 1
        seat.breaker.begin()
        told = {"littoral.upstream": seat.upstream.name, "gen_ai.request.model": outgoing.model[:80]}
        try:
            with span("gateway: upstream", Kind.CLIENT, told) as spanned, self._counted(seat):
                ask = _ask(seat.upstream, outgoing, max(0.001, outgoing.until_s - began_s))
                async with self._service.ask(seat.upstream, ask) as reply:
                    spanned.note("http.response.status_code", reply.status)
                    self._check(seat, reply.status, reply.headers)
                    begun = await self._first(seat.upstream, reply, outgoing)
                    if begun.status != reply.status:
                        self._check(seat, begun.status, reply.headers)
                    seat.breaker.succeeded()
                    if outgoing.is_stream:
                        seat.streams += 1
                        seat.first_token_s += self._clock.monotonic() - began_s
                    yield begun
                    seat.seconds += self._clock.monotonic() - began_s
        finally:
            seat.busy_count -= 1

    @contextlib.contextmanager
    def _counted(self, seat: Seat) -> Iterator[None]:
        try:
            yield
        except UpstreamError as error:
            seat.failures += 1
            seat.failed_by[error.kind] = seat.failed_by.get(error.kind, 0) + 1
            if error.kind == "busy":
                seat.breaker.rest(min(REST_S_MAX, error.retry_after_s or 1.0))
            else:
                seat.breaker.failed()
            raise
        except (asyncio.CancelledError, GeneratorExit):
            seat.breaker.left()
            raise

    def _check(self, seat: Seat, status: int, headers: Mapping[str, str]) -> None:
        """Raises UpstreamError for an answer that somebody else may do better."""
        name = seat.upstream.name
        if 300 <= status < 400:
            raise UpstreamError(f"upstream `{name}`: leads elsewhere, which is not followed", kind="status", status=502)
        if status not in RETRIED and status not in OUR_KEY and status < 500:
            return
        if status in OUR_KEY:
            hint = "look at the key of this upstream in the site file"
            raise UpstreamError(f"upstream `{name}`: refuses this node's key", kind="key", status=status, hint=hint)
        if (wait_s := _retry_after_s(headers, self._clock.wall())) is not None or status == 429:
            said = f"upstream `{name}`: too many requests (status {status})"
            raise UpstreamError(said, kind="busy", status=status, retry_after_s=wait_s or 1.0)
        raise UpstreamError(f"upstream `{name}`: failed with status {status}", kind="status", status=status)

    async def _first(self, upstream: Upstream, reply: Reply, outgoing: Outgoing) -> Begun:
        """An error in place of an answer has its own status, also where the service says 200."""
        is_events = reply.headers.get("content-type", "").startswith("text/event-stream")
        if reply.status != 200 or not (outgoing.is_stream and is_events):
            bytes_max = self._answer_bytes_max if reply.status == 200 else ERROR_BYTES_MAX
            whole = await reply.read(bytes_max)
            status = _error_status(whole) if reply.status == 200 else None
            return Begun(upstream, status or reply.status, reply.headers, whole, _nothing())
        rest = reply.chunks()
        try:
            left_s = min(upstream.first_byte_s, outgoing.until_s - self._clock.monotonic())
            async with asyncio.timeout(max(0.001, left_s)):
                first, payload = await _first_event(rest)
        except TimeoutError as error:
            said = f"upstream `{upstream.name}`: nothing of its stream came in {left_s:.3g} s"
            raise UpstreamError(said, kind="timeout") from error
        if not first:
            raise UpstreamError(f"upstream `{upstream.name}`: its stream ended before it began", kind="cut")
        if (status := _error_status(payload)) is not None:
            return Begun(upstream, status, reply.headers, payload, _nothing())
        return Begun(upstream, reply.status, reply.headers, first, rest)


async def _first_event(chunks: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """All until its first event is whole, and what that says: comments alone are no answer yet. Nothing where the
    stream ends before. Raises UpstreamError: more than `EVENT_BYTES_MAX` bytes.
    """
    events, read = Events(), bytearray()
    async for data in chunks:
        read += data
        if len(read) > EVENT_BYTES_MAX + len(data):
            raise UpstreamError(f"upstream: no event in {EVENT_BYTES_MAX} bytes of its stream", kind="too_large")
        if payloads := events.feed(data):
            return bytes(read), payloads[0]
    payloads = events.rest()
    return (bytes(read), payloads[0]) if payloads else (b"", b"")


def _error_status(body: bytes) -> int | None:
    """Of an error that came with status 200; None where this is an answer. Where it names no status, 400 for what is
    said to be wrong in the request, else 502.
    """
    if len(body) > ERROR_BYTES_MAX or b'"error"' not in body:
        return None
    try:
        told = _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if (error := error_of(told)) is None:
        return None
    code, kind = (str(error.get(name)) if isinstance(error, dict) else "" for name in ("code", "type"))
    if ERROR_STATUS.fullmatch(code):
        return int(code)
    return 400 if kind in OF_THE_REQUEST else 502


async def _nothing() -> AsyncIterator[bytes]:
    for data in list[bytes]():
        yield data


def _ask(upstream: Upstream, outgoing: Outgoing, whole_s: float) -> Ask:
    changed: dict[str, Any] = {}
    if (name := upstream.name_of(outgoing.model)) != outgoing.model:
        changed["model"] = name
    if outgoing.is_stream and upstream.asks_usage:
        options = outgoing.body.get("stream_options") or {}
        if not options.get("include_usage"):
            changed["stream_options"] = {**options, "include_usage": True}
    data = msgspec.json.encode({**outgoing.body, **changed})  # as it was read: a field may stand there twice
    return Ask(outgoing.path, data, whole_s, outgoing.is_stream)


def _retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """In seconds, also of a date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "")
        if text and text.replace(".", "", 1).isdigit():
            return float(text[:12]) / unit
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
