"""Which request a piece of work belongs to: W3C Trace Context taken over from the caller, and an id of the request.

Source: W3C Trace Context, level 1. What is malformed counts as absent, as the specification wants it.
"""

import re
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from littoral.telemetry.spans import Recording

__all__ = ["Trace", "current_trace", "incoming_trace", "traceparent", "tracing"]

STATE_CHARACTERS_MAX = 512
STATE_MEMBERS_MAX = 32
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*")
_NOTHING = {"0" * 32, "0" * 16}


class Trace(NamedTuple):
    """One request. span: of what is done now. trace: empty where the caller sent none, and nothing is recorded.

    parent: the caller's span. recording: of what is done for it; None for a request that is not recorded.
    """

    request: str
    span: str
    trace: str = ""
    flags: str = "00"
    state: str = ""
    parent: str = ""
    recording: "Recording | None" = None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """For the answer, and for whatever is asked on the request's behalf."""
        found: tuple[tuple[str, str], ...] = (("littoral-request-id", self.request),)
        if not self.trace:
            return found
        found = (*found, ("traceparent", f"00-{self.trace}-{self.span}-{self.flags}"))
        return (*found, ("tracestate", self.state)) if self.state else found


_TRACE: ContextVar[Trace | None] = ContextVar("littoral_trace", default=None)


def current_trace() -> Trace | None:
    """The request that the running task, or guest, works for."""
    return _TRACE.get()


def traceparent() -> str:
    """What another node is told of the running request; empty where there is nothing to tell."""
    trace = _TRACE.get()
    if trace is None or not trace.trace:
        return ""
    is_over = trace.recording is not None and trace.recording.is_over
    return f"00-{trace.trace}-{trace.span}-{'00' if is_over else trace.flags}"


class tracing:  # noqa: N801  used as a function is; a generator would take as long as all else here
    """Inside the block, and in tasks and guests started there, work belongs to this request."""

    __slots__ = ("_token", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def __enter__(self) -> None:
        self._token = _TRACE.set(self._trace)

    def __exit__(self, *exception: object) -> None:
        _TRACE.reset(self._token)


def incoming_trace(parent: str | None, state: str | None, request: str | None) -> Trace:
    """Of the headers `traceparent`, `tracestate` and `x-request-id`. A request without an id gets one."""
    span = secrets.token_hex(8)
    known = request if request is not None and REQUEST_ID.fullmatch(request) else span
    if not parent:
        return Trace(known, span)
    found = _PARENT.fullmatch(parent)
    if found is None or found[2] in _NOTHING or found[3] in _NOTHING or (found[1] == "00" and found[5]):
        return Trace(known, span)
    told = state if state is not None and _is_state(state) else ""
    return Trace(known, span, found[2], found[4], told, found[3])


def _is_state(text: str) -> bool:
    is_small = len(text) <= STATE_CHARACTERS_MAX and text.count(",") < STATE_MEMBERS_MAX
    return is_small and _STATE.fullmatch(text) is not None
