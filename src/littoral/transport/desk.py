"""Where requests to a node arrive, over whatever network: services, rights, bounds."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from littoral.errors import (
    ConflictError,
    ForbiddenError,
    LittoralError,
    NotFoundError,
    PeerError,
    TooLargeError,
    UnavailableError,
)
from littoral.telemetry import incoming_trace, tracing
from littoral.transport.answered import AGAIN, Answered, Found
from littoral.transport.interface import Handler
from littoral.transport.names import checked_name
from littoral.transport.traffic import Traffic

__all__ = ["SERVED_BODIES_MAX", "SERVED_COUNT_MAX", "Desk", "Rights"]

SERVED_COUNT_MAX = 256
SERVED_BODIES_MAX = 4
"""Bytes that wait for an answer: so many bodies of the largest size."""

Rights = Callable[[str, str], bool]
"""Whether a caller may ask for a service. Called at each request, so what it says may change."""

_log = logging.getLogger(__name__)


class Desk:
    """Answers requests to the node of this name, with LittoralErrors alone."""

    def __init__(self, name: str, traffic: Traffic, *, body_bytes_max: int, rights: Rights | None = None) -> None:
        self._name = name
        self._traffic = traffic
        self._body_bytes_max = body_bytes_max
        self._rights = rights
        self._handlers: dict[str, Handler] = {}
        self._answered = Answered()

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._handlers)

    def offer(self, service: str, handler: Handler) -> None:
        """Raises ConflictError for a second handler."""
        if checked_name("service", service) in self._handlers or service == AGAIN:
            raise ConflictError(f"service `{service}`: `{self._name}` serves it already")
        self._handlers[service] = handler

    def has_room(self, body_bytes: int) -> bool:
        """Whether one more may be let in; counts a refusal if not. Any one body has room while nothing else waits."""
        traffic = self._traffic
        within = traffic.busy_bytes + body_bytes <= SERVED_BODIES_MAX * self._body_bytes_max
        if traffic.busy < SERVED_COUNT_MAX and within:
            return True
        traffic.refused["busy"] += 1
        return False

    async def answer(
        self, caller: str, service: str, body: bytes, *, deadline_s: float, parent: str = "", mark: str = ""
    ) -> bytes:
        """What the handler answers within the deadline. caller: proven. parent: the caller's `traceparent`, if any.

        mark: the caller's, of this request; of several with one mark one is handled, and all have its answer.
        """
        if parent:
            work = partial(self._traced, caller, service, body, deadline_s, parent)
        else:
            work = partial(self._answer, caller, service, body, deadline_s)
        return await (self._answered.once(caller, mark, work) if mark else work())

    def find(self, caller: str, mark: str) -> Found:
        """What became of a request of this caller's."""
        return self._answered.find(caller, mark)

    async def _traced(self, caller: str, service: str, body: bytes, deadline_s: float, parent: str) -> bytes:
        with tracing(incoming_trace(parent, None, None)):
            return await self._answer(caller, service, body, deadline_s)

    async def _answer(self, caller: str, service: str, body: bytes, deadline_s: float) -> bytes:
        handler = self._admitted(caller, service, body)
        traffic = self._traffic
        traffic.busy += 1
        traffic.busy_bytes += len(body)
        try:
            async with asyncio.timeout(deadline_s):
                answer = await handler(caller, body)
            traffic.served += 1
        except LittoralError:
            traffic.failed += 1
            raise
        except TimeoutError:
            traffic.refused["late"] += 1
            raise PeerError(f"peer `{self._name}`: `{service}` was not answered in {deadline_s:.3g} s") from None
        except Exception as error:
            traffic.failed += 1
            _log.exception("service `%s` failed", service)
            raise PeerError(f"peer `{self._name}`: `{service}` failed: `{type(error).__name__}`") from error
        finally:
            traffic.busy -= 1
            traffic.busy_bytes -= len(body)
        if len(answer) > self._body_bytes_max:
            traffic.refused["large"] += 1
            raise TooLargeError(
                f"peer `{self._name}`: answer of `{service}` has {len(answer)} bytes, at most: {self._body_bytes_max}"
            )
        return answer

    def _admitted(self, caller: str, service: str, body: bytes) -> Handler:
        if self._rights is not None and not self._rights(caller, service):
            self._traffic.refused["rights"] += 1
            raise ForbiddenError(f"peer `{self._name}`: `{caller}` may not ask for `{service}`")
        if (handler := self._handlers.get(service)) is None:
            self._traffic.refused["service"] += 1
            raise NotFoundError(f"peer `{self._name}`: has no service `{service}`")
        if len(body) > self._body_bytes_max:
            self._traffic.refused["large"] += 1
            raise TooLargeError(f"peer `{self._name}`: request has {len(body)} bytes, at most: {self._body_bytes_max}")
        if not self.has_room(len(body)):
            raise UnavailableError(f"peer `{self._name}`: too many requests at once", retry_after_s=0.1)
        return handler
