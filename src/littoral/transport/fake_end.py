"""One node's end of the network in one process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, Self

from littoral.errors import LittoralError, PeerError, TooLargeError
from littoral.telemetry import traceparent
from littoral.transport.desk import Desk, Rights
from littoral.transport.fan_out import replies
from littoral.transport.interface import Handler, OnLiveness, OnMessage, Reply
from littoral.transport.names import checked_name, checked_topic
from littoral.transport.told_errors import heard_error, told_error
from littoral.transport.traffic import Traffic

__all__ = ["FakeTransport"]

ERROR_BYTES = 256

_log = logging.getLogger(__name__)


class _Network(Protocol):
    def end_of(self, name: str) -> "FakeTransport | None": ...

    def sees(self, name: str, other: str) -> bool: ...

    def seen_by(self, name: str) -> frozenset[str]: ...

    def send(self, origin: str, target: str, body_bytes: int, deliver: Callable[[], None]) -> None: ...

    def send_all(self, origin: str, body_bytes: int, deliver: Callable[[str], None]) -> None: ...

    def leave(self, end: "FakeTransport") -> None: ...


@dataclass(slots=True)
class _Asked:
    """parent: the caller's `traceparent`, or ''. taken_by: whom it reached first; outcome: what that one answered."""

    caller: str
    service: str
    body: bytes
    deadline_at_s: float
    parent: str
    taken_by: "FakeTransport | None" = None
    outcome: bytes | LittoralError | None = None


class _Waiting(NamedTuple):
    peer: str
    asked: _Asked


class FakeTransport:
    """See `Transport`. Made by `Network.join`."""

    def __init__(self, network: _Network, name: str, body_bytes_max: int, rights: Rights | None) -> None:
        self.name = name
        self.body_bytes_max = body_bytes_max
        self.traffic = Traffic()
        self._network = network
        self._desk = Desk(name, self.traffic, body_bytes_max=body_bytes_max, rights=rights)
        self._listeners: dict[str, list[OnMessage]] = {}
        self._watchers: list[OnLiveness] = []
        self._waiting: dict[asyncio.Future[bytes], _Waiting] = {}
        self._serving: dict[asyncio.Task[None], None] = {}
        self._context = copy_context()
        self._is_open = True

    async def serve(self, service: str, handler: Handler) -> None:
        self._desk.offer(service, handler)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        self._check(body)
        checked_name("service", service)
        self.traffic.asked += 1
        if not self._network.sees(self.name, checked_name("node", peer)):
            self.traffic.unanswered += 1
            raise PeerError(f"peer `{peer}`: is not here")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        asked = _Asked(self.name, service, body, loop.time() + deadline_s, traceparent())
        self._waiting[answer] = _Waiting(peer, asked)
        self._network.send(self.name, peer, len(body), lambda: self._reach(peer, asked, answer))
        late = loop.call_at(asked.deadline_at_s, self._expire, answer, peer, deadline_s)
        try:
            return await answer
        finally:
            late.cancel()
            self._waiting.pop(answer, None)

    def _expire(self, answer: asyncio.Future[bytes], peer: str, deadline_s: float) -> None:
        if not answer.done():
            self.traffic.unanswered += 1
            answer.set_exception(PeerError(f"peer `{peer}`: no answer in {deadline_s:.3g} s"))

    def fan_out(self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float) -> AsyncIterator[Reply]:
        return replies(peers, lambda peer: self.request(peer, service, body, deadline_s=deadline_s))

    async def publish(self, topic: str, body: bytes) -> None:
        self._check(body)
        checked_topic(topic)
        self.traffic.published += 1
        self._network.send_all(self.name, len(body), partial(self._deliver, topic, body))

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        self._listeners.setdefault(checked_topic(topic), []).append(on_message)

    def alive(self) -> frozenset[str]:
        return self._network.seen_by(self.name)

    def watch(self, on_liveness: OnLiveness) -> None:
        self._watchers.append(on_liveness)
        for name in sorted(self.alive() - {self.name}):
            on_liveness(name, True)

    async def close(self) -> None:
        if self._is_open:
            self.end()
            self._network.leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def end(self) -> None:
        """Nothing goes in or out any more; what waits ends with PeerError."""
        self._is_open = False
        for task in list(self._serving):
            task.cancel()
        for answer in list(self._waiting):
            _settle(answer, PeerError(f"node `{self.name}`: its end of the mesh is closed"))

    def ask_again(self, is_meant: Callable[[str], bool]) -> None:
        """What waits for such peers: it, or its answer, may have been lost on a way that is open again."""
        for answer, (peer, asked) in list(self._waiting.items()):
            if is_meant(peer):
                self._network.send(self.name, peer, len(asked.body), partial(self._reach, peer, asked, answer))

    def notice(self, name: str, is_here: bool) -> None:
        """Of another node: it came, or went."""
        if not is_here:
            for answer, waiting in list(self._waiting.items()):
                if waiting.peer == name:
                    _settle(answer, PeerError(f"peer `{name}`: went before it answered"))
        if self._watchers:
            self._context.copy().run(self._tell_watchers, name, is_here)

    def _tell_watchers(self, name: str, is_here: bool) -> None:
        for on_liveness in self._watchers:
            on_liveness(name, is_here)

    def _check(self, body: bytes) -> None:
        if not self._is_open:
            raise PeerError(f"node `{self.name}`: its end of the mesh is closed")
        if len(body) > self.body_bytes_max:
            raise TooLargeError(f"body has {len(body)} bytes, at most: {self.body_bytes_max}")

    def _reach(self, peer: str, asked: "_Asked", answer: asyncio.Future[bytes]) -> None:
        if (end := self._network.end_of(peer)) is None:
            return

        def respond(outcome: bytes | LittoralError) -> None:
            told = told_error(outcome) if isinstance(outcome, LittoralError) else outcome
            is_error = isinstance(outcome, LittoralError)
            self._network.send(
                peer, self.name, len(told), lambda: _settle(answer, heard_error(peer, told) if is_error else told)
            )

        end.take(asked, respond)

    def take(self, asked: "_Asked", respond: Callable[[bytes | LittoralError], None]) -> None:
        """A request arrived here, for the first time or again."""
        if asked.taken_by is self:
            if asked.outcome is not None:
                respond(asked.outcome)
            return
        asked.taken_by = self

        async def answer() -> None:
            try:
                left_s = asked.deadline_at_s - asyncio.get_running_loop().time()
                outcome: bytes | LittoralError = await self._desk.answer(
                    asked.caller, asked.service, asked.body, deadline_s=left_s, parent=asked.parent
                )
            except LittoralError as error:
                outcome = error
            asked.outcome = outcome
            if self._is_open:
                respond(outcome)

        task = asyncio.get_running_loop().create_task(answer(), context=self._context.copy())
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    def _deliver(self, topic: str, body: bytes, name: str) -> None:
        if (end := self._network.end_of(name)) is not None:
            end.hear(self.name, topic, body)

    def hear(self, sender: str, topic: str, body: bytes) -> None:
        """A message arrived here."""
        if self._listeners.get(topic):
            self._context.copy().run(self._hear, sender, topic, body)

    def _hear(self, sender: str, topic: str, body: bytes) -> None:
        for on_message in self._listeners.get(topic, ()):
            self.traffic.received += 1
            try:
                on_message(sender, topic, body)
            except Exception:  # noqa: BLE001
                self.traffic.dropped["failed"] += 1
                _log.exception("who listens to `%s` failed", topic)


def _settle(answer: asyncio.Future[bytes], outcome: bytes | LittoralError) -> None:
    if answer.done():
        return
    if isinstance(outcome, LittoralError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
