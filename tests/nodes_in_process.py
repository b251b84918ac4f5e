"""Nodes of one process that speak to each other, and can be made to die, to freeze, to be slow or to be cut off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from littoral.errors import ConflictError, LittoralError, PeerError
from littoral.transport import Handler, OnLiveness, OnMessage, Reply
from littoral.transport.traffic import Traffic


class Wires:
    """Between the ends of one process. dead: nobody hears of them. frozen: seem to be here, and do not answer.

    slow_s: by name, how long an answer takes. waits_s: by service, how long each request would wait. on_request: told
    of each request (caller, peer, service) before it is sent, may raise. on_answer: gives what comes of an answer
    (peer, service, body).
    """

    def __init__(self) -> None:
        self.ends: dict[str, End] = {}
        self.dead: set[str] = set()
        self.frozen: set[str] = set()
        self.slow_s: dict[str, float] = {}
        self.waits_s: dict[str, list[float]] = {}
        self.on_request: Callable[[str, str, str], None] = lambda *_: None
        self.on_answer: Callable[[str, str, bytes], bytes] = lambda _peer, _service, body: body
        self._cut: set[frozenset[str]] = set()

    def end(self, name: str) -> "End":
        self.ends[name] = end = End(name, self)
        for other in list(self.ends.values()):
            other.tell(name, True)
        return end

    def reaches(self, a: str, b: str) -> bool:
        return a == b or not ({a, b} & self.dead or frozenset((a, b)) in self._cut)

    def kill(self, name: str) -> None:
        self.dead.add(name)
        for other in self.ends.values():
            other.tell(name, False)

    def cut(self, a: str, b: str) -> None:
        """They do not hear each other any more, and have noticed."""
        self._cut.add(frozenset((a, b)))
        self.ends[a].tell(b, False)
        self.ends[b].tell(a, False)

    def heal(self) -> None:
        """All hear each other again, and have noticed."""
        cut, self._cut = self._cut, set()
        for a, b in map(sorted, cut):
            self.ends[a].tell(b, True)
            self.ends[b].tell(a, True)

    def revive(self, name: str) -> None:
        self.dead.discard(name)
        for other in self.ends.values():
            other.tell(name, True)


class End:
    """One node's `Transport`."""

    body_bytes_max = 16 << 20

    def __init__(self, name: str, wires: Wires) -> None:
        self.name = name
        self.traffic = Traffic()
        self.request_count = 0
        self._wires = wires
        self._handlers: dict[str, Handler] = {}
        self._listeners: dict[str, list[OnMessage]] = {}
        self._watchers: list[OnLiveness] = []

    async def serve(self, service: str, handler: Handler) -> None:
        if service in self._handlers:
            raise ConflictError(f"service `{service}` is there already")
        self._handlers[service] = handler

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        self.request_count += 1
        self._wires.waits_s.setdefault(service, []).append(deadline_s)
        self._wires.on_request(self.name, peer, service)
        end = self._wires.ends.get(peer)
        if end is None or not self._wires.reaches(self.name, peer):
            raise PeerError(f"peer `{peer}`: no route")
        try:
            async with asyncio.timeout(deadline_s):
                if peer in self._wires.frozen:
                    await asyncio.Event().wait()
                await asyncio.sleep(self._wires.slow_s.get(peer, 0.0))
                answer = await end.handler(service)(self.name, bytes(body))
                return self._wires.on_answer(peer, service, answer)
        except TimeoutError as error:
            raise PeerError(f"peer `{peer}`: no answer in {deadline_s:g} s") from error

    def handler(self, service: str) -> Handler:
        if service not in self._handlers:
            raise PeerError(f"peer `{self.name}`: no service `{service}`")
        return self._handlers[service]

    async def fan_out(
        self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float
    ) -> AsyncIterator[Reply]:
        for peer in peers:
            try:
                yield Reply(peer, await self.request(peer, service, body, deadline_s=deadline_s), None)
            except LittoralError as error:
                yield Reply(peer, None, error)

    async def publish(self, topic: str, body: bytes) -> None:
        for name, end in self._wires.ends.items():
            if name != self.name and self._wires.reaches(self.name, name):
                end.hear(self.name, topic, bytes(body))

    def hear(self, sender: str, topic: str, body: bytes) -> None:
        for listener in self._listeners.get(topic, ()):
            listener(sender, topic, body)

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        self._listeners.setdefault(topic, []).append(on_message)

    def alive(self) -> frozenset[str]:
        return frozenset(name for name in self._wires.ends if self._wires.reaches(self.name, name))

    def watch(self, on_liveness: OnLiveness) -> None:
        self._watchers.append(on_liveness)
        for name in self.alive():
            on_liveness(name, True)

    def tell(self, name: str, is_here: bool) -> None:
        for watcher in self._watchers:
            watcher(name, is_here)

    async def close(self) -> None:
        with contextlib.suppress(KeyError):
            del self._wires.ends[self.name]


def site_text(name: str, peers: Iterable[str], collection: str = "", **spread: Any) -> str:
    """A site file of a node of this process; addresses are not used."""
    others = ", ".join(f'{peer} = "127.0.0.1:1"' for peer in peers if peer != name)
    told = ", ".join(f"{key} = {value!r}".replace("'", '"') for key, value in spread.items())
    return f"""
[node]
name = "{name}"
listen = "127.0.0.1:0"
[mesh]
site = "shop"
peers = {{ {others} }}
{collection.replace("SPREAD", f"{{ {told} }}")}
"""
