"""What other nodes send to this one: requests to its services, messages to who listens, who came and went."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from littoral.errors import LittoralError
from littoral.mesh.inbox import Inbox
from littoral.mesh.senders import Senders
from littoral.mesh.zenoh_session import Request
from littoral.transport.answered import AGAIN
from littoral.transport.desk import Desk
from littoral.transport.interface import OnLiveness, OnMessage
from littoral.transport.told_errors import told_error
from littoral.transport.traffic import Traffic

__all__ = ["Arrivals"]

INBOX_BODIES_MAX = 2
"""Bytes that wait for the event loop: so many bodies of the largest size."""

_log = logging.getLogger(__name__)


class Arrivals:
    """Told by a Zenoh session, in its threads; tells in the event loop. on_gone: of a node that went, first of all.
    on_link: of a node, a link to which came or went.
    """

    def __init__(
        self,
        desk: Desk,
        traffic: Traffic,
        senders: Senders,
        *,
        body_bytes_max: int,
        on_gone: Callable[[str], None],
        on_link: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self._traffic = traffic
        self._senders = senders
        self._on_gone = on_gone
        self._on_link = on_link
        self._loop = asyncio.get_running_loop()
        bytes_max = INBOX_BODIES_MAX * body_bytes_max
        self._requests: Inbox[Request] = Inbox(self._loop, self._serve, self._refused, bytes_max=bytes_max)
        self._messages: Inbox[tuple[str, str, bytes]] = Inbox(
            self._loop, self._hear, self._dropped, bytes_max=bytes_max
        )
        self._serving: dict[asyncio.Task[None], None] = {}
        self.alive: set[str] = set()
        self._unconfirmed: set[str] = set()
        self._listeners: dict[str, list[OnMessage]] = {}
        self._watchers: list[OnLiveness] = []

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._listeners)

    def listen(self, topic: str, on_message: OnMessage) -> None:
        """Messages that come on `topic` go there too."""
        self._listeners.setdefault(topic, []).append(on_message)

    def watch(self, on_liveness: OnLiveness) -> None:
        """See `Transport.watch`."""
        self._watchers.append(on_liveness)
        for name in sorted(self.alive):
            on_liveness(name, True)

    def on_request(self, request: Request) -> None:
        if not self._requests.put(request, len(request.body)):
            request.close()

    def on_message(self, sender: str, topic: str, body: bytes) -> None:
        self._messages.put((sender, topic, body), len(body))

    def on_liveness(self, name: str, is_here: bool) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.notice, name, is_here)

    def on_link(self, name: str) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_link, name)

    def notice(self, name: str, is_here: bool) -> None:
        """In the loop: a node came, or went."""
        self._unconfirmed.discard(name)
        if is_here == (name in self.alive):
            return
        if is_here:
            self.alive.add(name)
        else:
            self.alive.discard(name)
            self._on_gone(name)
        for on_liveness in self._watchers:
            on_liveness(name, is_here)

    def expect_anew(self, within_s: float) -> None:
        """Links were lost: who is not told to be here again within that time went."""
        self._unconfirmed = set(self.alive)
        self._loop.call_later(within_s, self._forget_unconfirmed)

    def stop(self) -> None:
        """What is being answered is not answered."""
        for task in self._serving:
            task.cancel()

    def _forget_unconfirmed(self) -> None:
        for name in sorted(self._unconfirmed):
            self.notice(name, False)

    def _serve(self, request: Request) -> None:
        self._senders.heard(request.caller)
        task = self._loop.create_task(self._answer(request))
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    async def _answer(self, request: Request) -> None:
        try:
            answer = self._fate(request) if request.service == AGAIN else await self._handled(request)
            if self._senders.takes_now(request.caller, len(answer)):
                request.reply(answer)
            else:
                await self._senders.send_behind(request.caller, lambda: request.reply(answer))
        except LittoralError as error:
            request.fail(told_error(error))
        finally:
            request.close()

    def _fate(self, request: Request) -> bytes:
        found = self._desk.find(request.caller, request.body.decode("latin-1"))
        return found.fate.value + (told_error(found.error) if found.error is not None else found.answer)

    def _handled(self, request: Request) -> Awaitable[bytes]:
        return self._desk.answer(
            request.caller,
            request.service,
            request.body,
            deadline_s=request.deadline_s,
            parent=request.parent,
            mark=request.mark,
        )

    def _hear(self, message: tuple[str, str, bytes]) -> None:
        _, topic, _ = message
        for on_message in self._listeners.get(topic, ()):
            self._traffic.received += 1
            try:
                on_message(*message)
            except Exception:  # noqa: BLE001  one that listens is not the others' business
                self._traffic.dropped["failed"] += 1
                _log.exception("who listens to `%s` failed", topic)

    def _refused(self, count: int) -> None:
        self._traffic.refused["busy"] += count

    def _dropped(self, count: int) -> None:
        self._traffic.dropped["busy"] += count
