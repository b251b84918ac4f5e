"""The one door to HTTP/1.1: a server on this process' event loop (ADR 0024)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import formatdate
from typing import NamedTuple

from littoral.clock import SYSTEM, Clock
from littoral.errors import SettingError
from littoral.web.connection import Connection
from littoral.web.handshakes import accepting
from littoral.web.limits import Limits
from littoral.web.messages import Handler
from littoral.web.shared import Shared
from littoral.web.tls import Certificates

__all__ = ["BACKLOG", "STOP_S", "Limits", "Server", "listener_at", "serving"]

BACKLOG = 256
GRACE_S = 1.0
STOP_S = 0.6
CHECK_S_MAX = 0.5
CHECKS = 5
"""In the shortest time that is bounded."""


class Server(NamedTuple):
    """address: `host:port`, with the port that was really taken. limit: other limits, for connections that come.
    dropped: connections that were, by reason.
    """

    address: str
    limit: Callable[[Limits], None]
    is_secure: bool = False
    dropped: Mapping[str, int] = {}

    @property
    def url(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.address}"


@contextlib.asynccontextmanager
async def serving(
    handler: Handler,
    *,
    host: str,
    port: int,
    limits: Limits | None = None,
    grace_s: float = GRACE_S,
    clock: Clock = SYSTEM,
    certificates: Certificates | None = None,
) -> AsyncIterator[Server]:
    """Serves until the block ends; then new connections are refused, and what runs has `grace_s` to end.

    port: 0 = any that is free. certificates: over TLS. Raises SettingError where the address cannot be had.
    """
    listener = listener_at(host, port)
    bound = listener.getsockname()
    shared = Shared(handler, limits or Limits())
    checking = asyncio.create_task(_check(shared, clock), name="littoral-http")
    try:
        async with _taking(listener, shared, certificates):
            address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
            yield Server(address, shared.limit, certificates is not None, shared.dropped)
    finally:
        await _end(shared, grace_s)
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)


@contextlib.asynccontextmanager
async def _taking(listener: socket.socket, shared: Shared, certificates: Certificates | None) -> AsyncIterator[None]:
    """Callers become connections until the block ends."""

    def connection() -> Connection:
        return Connection(shared)

    if certificates is not None:
        async with accepting(listener, certificates.context, connection, lambda: shared.limits, shared.dropped):
            yield
        return
    server = await asyncio.get_running_loop().create_server(connection, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()


def listener_at(host: str, port: int) -> socket.socket:
    """A socket for TCP that listens there. Raises SettingError where it cannot."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise SettingError(
            f"address `{host}:{port}` cannot be listened at: {getattr(error, 'strerror', None) or error}",
            hint="end what uses it, or listen at another port",
        ) from error
    listener.setblocking(False)
    return listener


async def _check(shared: Shared, clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    pause_s = min(CHECK_S_MAX, min(shared.limits.header_s, shared.limits.body_s, shared.limits.stalled_s) / CHECKS)
    while True:
        shared.date = f"date: {formatdate(clock.wall(), usegmt=True)}\r\n"
        now = loop.time()
        for connection in list(shared.connections):
            connection.check(now)
        await asyncio.sleep(pause_s)


async def _end(shared: Shared, grace_s: float) -> None:
    """Streams end at once, requests after `grace_s`."""
    shared.is_ending = True
    for task in shared.streams:
        task.cancel()
    for connection in list(shared.connections):
        connection.end()
    if shared.running:
        await asyncio.wait(shared.running, timeout=grace_s)
    late = set(shared.running)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STOP_S)
    if shared.connections:  # last answers are on their way; a caller that takes no bytes is not waited for
        shared.has_none.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(shared.has_none.wait(), STOP_S)
    for connection in list(shared.connections):
        connection.abort()
