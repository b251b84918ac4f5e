"""Spans: what was done for a request, from when to when. Kept in bounded memory until somebody exports them.

A request is recorded or not from its first moment on (head sampling): what its caller says goes before the ratio. For a
request that is not recorded, everything here is one look at a context variable.
"""

import secrets
import threading
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple, Self

from littoral.clock import SYSTEM, Clock
from littoral.telemetry.trace_context import _TRACE, Trace, tracing

__all__ = [
    "NOTHING",
    "Kind",
    "Recording",
    "Span",
    "SpanCounts",
    "Spans",
    "record_span",
    "recorded_trace",
    "root_span",
    "span",
]

QUEUE_MAX = 8192
SPANS_OF_A_REQUEST_MAX = 512
RATIO_BITS = 64
JUMP_S = 0.005
"""The wall clock is read again where it is this far from where it should be."""

SAMPLED = 1

Value = str | int | float | bool


class Kind(IntEnum):
    """Numbers as OTLP has them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """One that has ended. began_s, ended_s: Unix time. failure: what went wrong, or ''."""

    trace: str
    span: str
    parent: str
    name: str
    kind: Kind
    began_s: float
    ended_s: float
    attributes: Mapping[str, Value]
    failure: str
    state: str


class SpanCounts(NamedTuple):
    """Since the start. dropped: for want of room."""

    recorded: int
    dropped: int
    waiting: int


class Spans:
    """ratio: of the requests that come without a caller's word, those that are recorded. Threads may share it."""

    def __init__(self, ratio: float = 1.0, *, queue_max: int = QUEUE_MAX, clock: Clock = SYSTEM) -> None:
        self.ratio = ratio
        self._queue: deque[Span] = deque()
        self._queue_max = queue_max
        self._lock = threading.Lock()
        self._clock = clock
        self._offset_s = clock.wall() - clock.monotonic()
        self._recorded = self._dropped = 0
        self.has_many = threading.Event()
        """Set when half of the room is taken."""

    @property
    def ratio(self) -> float:
        """May be changed at any time."""
        return self._below / (1 << RATIO_BITS)

    @ratio.setter
    def ratio(self, ratio: float) -> None:
        self._below = round(ratio * (1 << RATIO_BITS))

    def incoming(self, trace: Trace) -> Trace:
        """The same request, recorded if its caller or the ratio says so."""
        if trace.trace:
            return trace._replace(recording=Recording(self)) if int(trace.flags, 16) & SAMPLED else trace
        if int(trace.span, 16) >= self._below:
            return trace
        return trace._replace(trace=secrets.token_hex(16), flags="01", recording=Recording(self))

    def now_s(self) -> float:
        """Monotonic, as all times of `Recording.add`."""
        now = self._clock.monotonic()
        offset_s = self._clock.wall() - now
        if abs(offset_s - self._offset_s) > JUMP_S:
            self._offset_s = offset_s
        return now

    def put(self, span: Span) -> None:
        """One whose times are monotonic. Dropped and counted where there is no room."""
        with self._lock:
            if len(self._queue) >= self._queue_max:
                self._dropped += 1
                return
            offset_s = self._offset_s
            self._recorded += 1
            self._queue.append(span._replace(began_s=span.began_s + offset_s, ended_s=span.ended_s + offset_s))
            is_half_full = 2 * len(self._queue) >= self._queue_max
        if is_half_full:
            self.has_many.set()

    def take(self, count_max: int) -> list[Span]:
        """The oldest, which are then no longer here."""
        with self._lock:
            taken = [self._queue.popleft() for _ in range(min(count_max, len(self._queue)))]
            if 2 * len(self._queue) < self._queue_max:
                self.has_many.clear()
        return taken

    def counts(self) -> SpanCounts:
        with self._lock:
            return SpanCounts(self._recorded, self._dropped, len(self._queue))


class Recording:
    """What is recorded of one request on this node: so many spans, since what it has set going may go on for ever."""

    __slots__ = ("_left", "_spans")

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._left = SPANS_OF_A_REQUEST_MAX

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def now_s(self) -> float:
        return self._spans.now_s()

    def add(
        self,
        trace: Trace,
        name: str,
        kind: Kind,
        began_s: float,
        ended_s: float,
        attributes: Mapping[str, Value],
        failure: str = "",
    ) -> None:
        """One that has ended; `trace.span` is its id."""
        if self._left > 0:
            self._left -= 1
            self._spans.put(
                Span(
                    trace.trace,
                    trace.span,
                    trace.parent,
                    name,
                    kind,
                    began_s,
                    ended_s,
                    attributes,
                    failure,
                    trace.state,
                )
            )


def recorded_trace() -> Trace | None:
    """The running request if it is recorded."""
    trace = _TRACE.get()
    return None if trace is None or trace.recording is None or trace.recording.is_over else trace


class _Nothing:
    """A span of a request that is not recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def note(self, _key: str, _value: Value) -> None:
        pass


class _Open:
    __slots__ = ("_attributes", "_began_s", "_kind", "_name", "_own", "_recording", "_token")

    def __init__(self, own: Trace, recording: Recording, name: str, kind: Kind, attributes: dict[str, Value]) -> None:
        self._own = own
        self._recording = recording
        self._name = name
        self._kind = kind
        self._attributes = attributes

    def __enter__(self) -> Self:
        self._token = _TRACE.set(self._own)
        self._began_s = self._recording.now_s()
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _at: object) -> None:
        _TRACE.reset(self._token)
        ended_s, failure = self._recording.now_s(), "" if error is None else type(error).__name__
        self._recording.add(self._own, self._name, self._kind, self._began_s, ended_s, self._attributes, failure)

    def note(self, key: str, value: Value) -> None:
        """Something that is known only now."""
        self._attributes[key] = value


NOTHING = _Nothing()


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None) -> _Open | _Nothing:
    """Around a part of a request; what is done inside has it as its parent.

    A failure is told by the name of its class: messages may hold what a caller sent.
    """
    trace = recorded_trace()
    if trace is None or trace.recording is None:
        return NOTHING
    return _Open(child(trace), trace.recording, name, kind, dict(attributes or {}))


def root_span(
    trace: Trace, name: str, kind: Kind = Kind.SERVER, attributes: Mapping[str, Value] | None = None
) -> "_Open | tracing":
    """Around a request as a whole, recorded or not: what is done inside belongs to it."""
    if trace.recording is None:
        return tracing(trace)
    return _Open(trace, trace.recording, name, kind, dict(attributes or {}))


def record_span(
    trace: Trace, name: str, began_s: float, ended_s: float, attributes: Mapping[str, Value] | None = None
) -> None:
    """A part of a recorded request that has ended already: a child of what `trace` says is done. Times: monotonic."""
    if trace.recording is not None:
        trace.recording.add(child(trace), name, Kind.INTERNAL, began_s, ended_s, attributes or {})


def child(trace: Trace) -> Trace:
    """Within the same request, a part of what is done now."""
    return trace._replace(span=secrets.token_hex(8), parent=trace.span)
