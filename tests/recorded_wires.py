"""Nodes of one process, and every byte that went from one to another."""

import asyncio
from collections.abc import Iterable

from littoral.errors import LittoralError
from nodes_in_process import End, Wires


class Held:
    """Requests that go no further until they are let go. reached: the first has come."""

    def __init__(self) -> None:
        self.reached, self._let_go = asyncio.Event(), asyncio.Event()

    async def pass_by(self) -> None:
        self.reached.set()
        await self._let_go.wait()

    def release(self) -> None:
        self._let_go.set()


class RecordedWires(Wires):
    """sent: from, to, and what: requests, answers, errors and messages alike."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, bytes]] = []
        self.held: dict[tuple[str, str], Held] = {}

    def hold(self, sender: str, service: str) -> Held:
        """What this node asks of others by that service waits before it leaves."""
        self.held[sender, service] = held = Held()
        return held

    def end(self, name: str) -> "RecordedEnd":
        self.ends[name] = end = RecordedEnd(name, self)
        for other in list(self.ends.values()):
            other.tell(name, True)
        return end

    def between(self, senders: Iterable[str], receivers: Iterable[str]) -> bytes:
        """All that went from some to some others."""
        some, others = set(senders), set(receivers)
        return b"\n".join(body for sender, receiver, body in self.sent if sender in some and receiver in others)


class RecordedEnd(End):
    def __init__(self, name: str, wires: RecordedWires) -> None:
        super().__init__(name, wires)
        self._sent, self._held = wires.sent, wires.held

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        if (held := self._held.get((self.name, service))) is not None:
            await held.pass_by()
        self._sent.append((self.name, peer, bytes(body)))
        try:
            answer = await super().request(peer, service, body, deadline_s=deadline_s)
        except LittoralError as error:
            self._sent.append((peer, self.name, f"{error} {error.hint}".encode()))
            raise
        self._sent.append((peer, self.name, bytes(answer)))
        return answer

    def hear(self, sender: str, topic: str, body: bytes) -> None:
        self._sent.append((sender, self.name, bytes(body)))
        super().hear(sender, topic, body)
