"""What this node asks of others over Zenoh: each request once, also where a link that is replaced loses it.

While a peer's new link comes into use, Zenoh 1.10 sends some of what goes to it over the old one, until that is given
up, and drops what comes over the new one out of turn. A request or its answer that is lost so would be waited for until
its deadline. So when a link to a peer comes or goes, and for some leases after it, that peer is asked what became of
the requests that wait for it: one that never arrived is sent again, an answer that was lost is told again, and where
the peer says nothing for a lease the request ends as one that nobody answers.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from functools import partial

from littoral.errors import PeerError
from littoral.mesh.senders import Senders
from littoral.mesh.zenoh_session import Answer, ZenohSession
from littoral.telemetry import traceparent
from littoral.transport.answered import AGAIN, Fate
from littoral.transport.traffic import Traffic

__all__ = ["Asker"]

YOUNG_LEASES = 3
"""So long after a link came or went it may lose something: half a link is mended by then (`half_links`)."""

LOOK_LEASES = 1 / 8
"""Between two questions about one request; the second waits twice as long, and so on."""

LOOK_LEASES_MAX = 1 / 2
LIFE_BYTES = 4
LEFT_S_MIN = 0.001


class _Asked:
    """One request that waits for its answer. send: sends it, and gives what cancels it. is_bulk: other requests go
    before it. is_cut_off: the link that it went over ended. silent_since_s: of the first question about it that
    nobody answered.
    """

    __slots__ = (
        "answer",
        "body",
        "cancels",
        "is_bulk",
        "is_cut_off",
        "is_sent",
        "look",
        "look_in_s",
        "mark",
        "peer",
        "send",
        "silent_since_s",
    )

    def __init__(self, peer: str, mark: str, body: bytes, *, is_bulk: bool) -> None:
        self.peer = peer
        self.mark = mark
        self.body = body
        self.is_bulk = is_bulk
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.send: Callable[[], Callable[[], None]]
        self.is_sent = False
        self.is_cut_off = False
        self.cancels: list[Callable[[], None]] = []
        self.look: asyncio.TimerHandle | None = None
        self.look_in_s = 0.0
        self.silent_since_s: float | None = None


class Asker:
    """One of a transport, for its event loop. lease_s: after which a peer that says nothing is given up."""

    def __init__(self, senders: Senders, traffic: Traffic, *, lease_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._senders = senders
        self._traffic = traffic
        self._lease_s = lease_s
        self._life = secrets.token_hex(LIFE_BYTES)
        self._count = 0
        self._waiting: dict[_Asked, None] = {}
        self._young_until_s: dict[str, float] = {}
        self._sending: dict[asyncio.Task[None], None] = {}

    async def ask(self, session: ZenohSession, peer: str, service: str, body: bytes, *, deadline_s: float) -> Answer:
        """Raises PeerError where no answer comes in time."""
        self._count += 1
        is_bulk = session.is_bulk(service, len(body))
        asked = _Asked(peer, f"{self._life}-{self._count}", body, is_bulk=is_bulk)
        until_s = self._loop.time() + deadline_s
        asked.send = partial(self._sent, asked, session, service, traceparent(), until_s)
        self._waiting[asked] = None
        late = self._loop.call_later(deadline_s, _expire, asked, deadline_s)
        if self._is_young(peer):
            self._look_later(asked, session)
        try:
            await self._send(asked)
            return await asked.answer
        except (asyncio.CancelledError, PeerError):
            for cancel in asked.cancels:
                cancel()
            raise
        finally:
            late.cancel()
            if asked.look is not None:
                asked.look.cancel()
            del self._waiting[asked]

    def link_changed(self, session: ZenohSession, peer: str) -> None:
        """A link to it came or went."""
        self._young_until_s[peer] = self._loop.time() + YOUNG_LEASES * self._lease_s
        for asked in [one for one in self._waiting if one.peer == peer]:
            asked.look_in_s = 0.0
            self._look(asked, session)

    def give_up(self, why: str, peer: str | None = None) -> None:
        """What waits for this peer, or for anybody, ends with PeerError. why: `{}` stands for the peer's name."""
        for asked in self._waiting:
            if peer in (None, asked.peer):
                _settle(asked, PeerError(why.format(asked.peer)))

    def _is_young(self, peer: str) -> bool:
        if (until_s := self._young_until_s.get(peer)) is None:
            return False
        if self._loop.time() < until_s:
            return True
        del self._young_until_s[peer]
        return False

    def _sent(
        self, asked: _Asked, session: ZenohSession, service: str, parent: str, until_s: float
    ) -> Callable[[], None]:
        return session.ask(
            asked.peer,
            service,
            asked.body,
            deadline_s=max(LEFT_S_MIN, until_s - self._loop.time()),
            on_answer=partial(self._in_loop, partial(self._came, asked, session)),
            is_bulk=asked.is_bulk,
            parent=parent,
            mark=asked.mark,
        )

    async def _send(self, asked: _Asked) -> None:
        """On the spot, or behind what waits for that peer; not at all where the answer's time is over before that."""
        if self._senders.takes_now(asked.peer, len(asked.body)):
            asked.cancels.append(asked.send())
            asked.is_sent = True
            return
        sending = asyncio.ensure_future(self._senders.send_behind(asked.peer, asked.send))
        try:
            await asyncio.wait((sending, asked.answer), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                asked.cancels.append(await sending)
                asked.is_sent = True
        finally:
            if not sending.done():
                sending.cancel()

    def _came(self, asked: _Asked, session: ZenohSession, came: Answer) -> None:
        """An answer; or none, where the link that the request went over has ended, or where there was none."""
        is_empty = came.body is None and came.told is None
        if not is_empty or asked.is_cut_off or not self._is_young(asked.peer):
            _settle(asked, came)
        elif not asked.answer.done():
            asked.is_cut_off = True
            self._look(asked, session)

    def _look_later(self, asked: _Asked, session: ZenohSession) -> None:
        shortest_s, longest_s = LOOK_LEASES * self._lease_s, LOOK_LEASES_MAX * self._lease_s
        asked.look_in_s = min(longest_s, max(shortest_s, 2 * asked.look_in_s))
        asked.look = self._loop.call_later(asked.look_in_s, self._look, asked, session)

    def _look(self, asked: _Asked, session: ZenohSession) -> None:
        """Asks what became of it, as long as its link is young, or has ended."""
        if asked.look is not None:
            asked.look.cancel()
            asked.look = None
        if asked.answer.done() or not (asked.is_cut_off or self._is_young(asked.peer)):
            return
        self._look_later(asked, session)
        now_s = self._loop.time()
        if asked.silent_since_s is not None and now_s >= asked.silent_since_s + self._lease_s:
            _settle(asked, PeerError(f"peer `{asked.peer}`: a link to it was replaced, and it says nothing since"))
        elif asked.is_sent and self._senders.takes_now(asked.peer, len(asked.mark)):
            if not asked.is_bulk and asked.silent_since_s is None:
                asked.silent_since_s = now_s
            self._ask_fate(asked, session)

    def _ask_fate(self, asked: _Asked, session: ZenohSession) -> None:
        """Behind the request itself, at its priority: who does not know it then will not get it any more."""
        with contextlib.suppress(PeerError):
            session.ask(
                asked.peer,
                AGAIN,
                asked.mark.encode(),
                deadline_s=self._lease_s,
                on_answer=partial(self._in_loop, partial(self._told, asked)),
                is_bulk=asked.is_bulk,
            )

    def _told(self, asked: _Asked, came: Answer) -> None:
        """What became of it, as the peer says; nothing, where there is no way to it now."""
        if asked.answer.done():
            return
        if came.body is None:
            if came.told is not None:
                self._stop_looking(asked)
            elif asked.is_cut_off:
                _settle(asked, came)
            return
        self._senders.heard(asked.peer)
        asked.silent_since_s = None
        fate, rest = came.body[:1], came.body[1:]
        if fate == Fate.UNKNOWN.value:
            self._send_again(asked)
        elif fate in (Fate.ANSWERED.value, Fate.FAILED.value):
            self._traffic.lost["answer"] += 1
            _settle(asked, Answer(rest, None) if fate == Fate.ANSWERED.value else Answer(None, rest))
        elif fate == Fate.FORGOTTEN.value:
            self._traffic.lost["answer"] += 1
            _settle(asked, PeerError(f"peer `{asked.peer}`: has answered, and the answer was lost with its link"))

    def _stop_looking(self, asked: _Asked) -> None:
        """A peer that is of an earlier version, or does not let this node ask: only the answer can come."""
        if asked.look is not None:
            asked.look.cancel()
        if asked.is_cut_off:
            _settle(asked, Answer(None, None))

    def _send_again(self, asked: _Asked) -> None:
        self._traffic.lost["request"] += 1
        asked.is_sent = asked.is_cut_off = False
        task = self._loop.create_task(self._send_quietly(asked))
        self._sending[task] = None
        task.add_done_callback(self._sending.pop)

    async def _send_quietly(self, asked: _Asked) -> None:
        try:
            await self._send(asked)
        except PeerError as error:
            _settle(asked, error)

    def _in_loop(self, take: Callable[[Answer], None], came: Answer) -> None:
        """In a thread of Zenoh's. A loop that is closed has nobody left who waits."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(take, came)


def _expire(asked: _Asked, deadline_s: float) -> None:
    _settle(asked, PeerError(f"peer `{asked.peer}`: no answer in {deadline_s:.3g} s"))


def _settle(asked: _Asked, came: Answer | PeerError) -> None:
    if asked.answer.done():
        return
    if isinstance(came, PeerError):
        asked.answer.set_exception(came)
    else:
        asked.answer.set_result(came)
