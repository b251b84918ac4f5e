"""`Transport` over Zenoh, with bounds: what it asks of other nodes. What they ask of it is in `arrivals`."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from littoral.errors import NodeError, PeerError, TooLargeError
from littoral.mesh.arrivals import Arrivals
from littoral.mesh.asker import Asker
from littoral.mesh.half_links import HalfLinks
from littoral.mesh.senders import Senders
from littoral.mesh.zenoh_log import MISNAMED, ZenohLog
from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_session import SMALL_BYTES_MAX, ZenohSession
from littoral.telemetry import Endured
from littoral.transport import Handler, OnLiveness, OnMessage, Reply
from littoral.transport.desk import Desk, Rights
from littoral.transport.fan_out import replies
from littoral.transport.names import checked_name, checked_topic
from littoral.transport.told_errors import heard_error
from littoral.transport.traffic import Refused, Traffic

__all__ = ["ZenohTransport"]

CLOSE_S = 3.0
REOPEN_ATTEMPTS = 500
REOPEN_PAUSE_S = 0.02
LOOK_LEASES = 0.5

_log = logging.getLogger(__name__)


class ZenohTransport:
    """See `Transport`. Made by `open`."""

    def __init__(self, options: ZenohOptions, rights: Rights | None) -> None:
        self.name = options.name
        self.body_bytes_max = options.body_bytes_max
        self.traffic = Traffic()
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._senders = Senders()
        self._desk = Desk(self.name, self.traffic, body_bytes_max=self.body_bytes_max, rights=rights)
        self._asker = Asker(self._senders, self.traffic, lease_s=options.lease_ms / 1000)
        self._arrivals = Arrivals(
            self._desk,
            self.traffic,
            self._senders,
            body_bytes_max=self.body_bytes_max,
            on_gone=partial(self._asker.give_up, "peer `{}`: went before it answered"),
            on_link=self._link_changed,
        )
        self._session: ZenohSession | None = None
        self._change = asyncio.Lock()
        self._half_links = HalfLinks(options.lease_ms / 1000, self._loop.time())
        self._mending: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, options: ZenohOptions, *, rights: Rights | None = None) -> Self:
        """Listens, and goes on connecting to the peers until it is closed. Raises NodeError where it cannot listen."""
        self = cls(options, rights)
        try:
            self._session = await self._senders.run(ZenohSession, options, self._arrivals)
        except BaseException:
            self._senders.stop()
            raise
        ZenohLog.listeners.append(self._count_refused)
        self._mending = asyncio.create_task(self._mend(), name="littoral-half-links")
        return self

    async def serve(self, service: str, handler: Handler) -> None:
        self._desk.offer(service, handler)

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        checked_name("node", peer)
        checked_name("service", service)
        session = await self._opened(body)
        self.traffic.asked += 1
        try:
            answer = await self._asker.ask(session, peer, service, body, deadline_s=deadline_s)
        except PeerError:
            self.traffic.unanswered += 1
            raise
        if answer.body is not None:
            self._senders.heard(peer)
            return answer.body
        if answer.told is not None:
            raise heard_error(peer, answer.told)
        self.traffic.unanswered += 1
        raise PeerError(f"peer `{peer}`: no way to it", hint="it is away, or one of the two does not let the other in")

    def fan_out(self, peers: Iterable[str], service: str, body: bytes, *, deadline_s: float) -> AsyncIterator[Reply]:
        return replies(peers, lambda peer: self.request(peer, service, body, deadline_s=deadline_s))

    async def publish(self, topic: str, body: bytes) -> None:
        checked_topic(topic)
        session = await self._opened(body)
        self.traffic.published += 1
        if len(body) <= SMALL_BYTES_MAX:
            session.publish(topic, body)
        else:
            await self._senders.run(session.publish, topic, body)

    async def subscribe(self, topic: str, on_message: OnMessage) -> None:
        is_new = checked_topic(topic) not in self._arrivals.topics
        session = await self._opened(b"")
        self._arrivals.listen(topic, on_message)
        if is_new:
            await self._senders.run(session.listen, topic)

    def alive(self) -> frozenset[str]:
        return frozenset(self._arrivals.alive | {self.name})

    def watch(self, on_liveness: OnLiveness) -> None:
        self._arrivals.watch(on_liveness)

    def _link_changed(self, name: str) -> None:
        if self._session is not None:
            self._asker.link_changed(self._session, name)

    def _count_refused(self, reason: str) -> None:
        with contextlib.suppress(RuntimeError):
            counted: Refused = "name" if reason == MISNAMED else "certificate"
            self._loop.call_soon_threadsafe(self.traffic.count_refused, counted)

    def links(self) -> list[tuple[str, str]]:
        """Name by certificate, and address, of who is linked."""
        return self._session.links() if self._session is not None else []

    async def admit(self, peers: Mapping[str, str | None], generations: Mapping[str, int] | None = None) -> None:
        """From now on these are the peers, and no others. generations: as in `ZenohOptions`.

        Links are made anew, and what waits for an answer over them ends with PeerError; what is asked meanwhile waits.
        """
        options = replace(self._options, peers=dict(peers), generations=dict(generations or {}))
        if options != self._options:
            await self._open_anew(options)

    async def renew(self, certificate: Path, key: Path) -> None:
        """From now on these are shown; links are made anew, as by `admit`."""
        await self._open_anew(replace(self._options, certificate=certificate, key=key))

    async def _mend(self) -> None:
        """Links are made anew where nothing less helps (`half_links`)."""
        endured = Endured()
        while True:
            await asyncio.sleep(LOOK_LEASES * self._options.lease_ms / 1000)
            session, peers = self._session, self._options.peers.keys()
            if session is None or self._change.locked() or not self._half_links.suspects(self.alive() & peers):
                continue
            with endured.round("mesh: half links"):
                linked = {name for name, _ in await self._senders.run(session.links)} & peers
                if self._half_links.is_broken(linked, self.alive(), self._loop.time()):
                    self.traffic.relinked += 1
                    _log.warning("links are made anew: %s linked, not here", ", ".join(sorted(linked - self.alive())))
                    await self._open_anew(self._options)

    async def _open_anew(self, options: ZenohOptions) -> None:
        async with self._change:
            if self._session is None:
                return
            self._options = options
            self._half_links.begin()
            await self._senders.run(self._session.close)
            self._asker.give_up("peer `{}`: the link was made anew before it answered")
            self._arrivals.expect_anew(options.lease_ms / 1000)
            self._session = await self._reopened()
            for topic in self._arrivals.topics:
                await self._senders.run(self._session.listen, topic)
            for name in sorted(self._arrivals.alive - options.peers.keys()):
                self._arrivals.notice(name, False)

    async def close(self) -> None:
        async with self._change:
            session, self._session = self._session, None
        if session is None:
            return
        if self._mending is not None:
            self._mending.cancel()
        ZenohLog.listeners.remove(self._count_refused)
        self._arrivals.stop()
        self._asker.give_up(f"node `{self.name}`: its end of the mesh is closed")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._senders.run(session.close), CLOSE_S)
        self._senders.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _reopened(self) -> ZenohSession:
        """The system gives a port back a moment after it was closed."""
        for _ in range(REOPEN_ATTEMPTS):
            try:
                return await self._senders.run(ZenohSession, self._options, self._arrivals)
            except NodeError:
                await asyncio.sleep(REOPEN_PAUSE_S)
        return await self._senders.run(ZenohSession, self._options, self._arrivals)

    async def _opened(self, body: bytes) -> ZenohSession:
        if len(body) > self.body_bytes_max:
            raise TooLargeError(f"body has {len(body)} bytes, at most: {self.body_bytes_max}")
        if self._change.locked():
            async with self._change:
                pass
        if self._session is None:
            raise PeerError(f"node `{self.name}`: its end of the mesh is closed")
        return self._session
