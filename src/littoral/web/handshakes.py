"""TLS handshakes that are under way: bounded in number, of all and of each address, and each in time.

Who is the longest at it has to go: who goes on is through in milliseconds, who only holds a place is not.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable

from littoral.web.addresses import network_of
from littoral.web.limits import Limits

__all__ = ["Handshakes", "accepting"]

ACCEPT_AGAIN_S = 0.1
LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Of descriptors or memory: the next caller waits in the kernel meanwhile."""

_log = logging.getLogger("littoral.web")


class Handshakes:
    """dropped: how many were, by reason: `handshake_address`, `handshake_all`, `handshake_failed`."""

    def __init__(self, limits: Callable[[], Limits], dropped: Counter[str]) -> None:
        self._limits = limits
        self._dropped = dropped
        self._open: dict[str, dict[socket.socket, None]] = {}
        self._count = 0

    def begin(self, caller: socket.socket, address: str) -> None:
        """One more. Where there are too many, the oldest of this address goes, or of the one that has most."""
        network = network_of(address)
        if len(self._open.get(network, ())) >= self._limits().handshake_address_count_max:
            self._drop(network, "handshake_address")
        elif self._count >= self._limits().handshake_count_max:
            self._drop(max(self._open, key=lambda one: len(self._open[one])), "handshake_all")
        self._open.setdefault(network, {})[caller] = None
        self._count += 1

    def end(self, caller: socket.socket, address: str, *, is_ok: bool) -> None:
        """Of one that began; nothing more where it was dropped."""
        if self._remove(network_of(address), caller) and not is_ok:
            self._dropped["handshake_failed"] += 1

    def _drop(self, network: str, reason: str) -> None:
        oldest = next(iter(self._open[network]))
        self._remove(network, oldest)
        self._dropped[reason] += 1
        with contextlib.suppress(OSError):  # gone by itself
            oldest.shutdown(socket.SHUT_RDWR)

    def _remove(self, network: str, caller: socket.socket) -> bool:
        of_address = self._open.get(network, {})
        if caller not in of_address:
            return False
        del of_address[caller]
        if not of_address:
            del self._open[network]
        self._count -= 1
        return True


@contextlib.asynccontextmanager
async def accepting(
    listener: socket.socket,
    context: ssl.SSLContext,
    factory: Callable[[], asyncio.Protocol],
    limits: Callable[[], Limits],
    dropped: Counter[str],
) -> AsyncIterator[None]:
    """Callers of this socket become protocols once their handshake is done; ends with the block, the listener too."""
    handshakes = Handshakes(limits, dropped)
    under_way: set[asyncio.Task[None]] = set()

    async def shake(caller: socket.socket, address: str) -> None:
        is_ok = False
        try:
            await loop.connect_accepted_socket(factory, caller, ssl=context, ssl_handshake_timeout=limits().handshake_s)
            is_ok = True
        except (OSError, asyncio.CancelledError) as error:
            _log.debug("TLS: %s: %s", address, error)
        finally:
            handshakes.end(caller, address, is_ok=is_ok)

    async def accept() -> None:
        while True:
            try:
                caller, address = await loop.sock_accept(listener)
            except OSError as error:
                is_lacking = error.errno in LACKING
                if is_lacking:
                    _log.error("no connection can be taken: %s", error.strerror)
                await asyncio.sleep(ACCEPT_AGAIN_S if is_lacking else 0)
                continue
            handshakes.begin(caller, str(address[0]))
            task = loop.create_task(shake(caller, str(address[0])))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    loop = asyncio.get_running_loop()
    taking = loop.create_task(accept(), name="littoral-tls")
    try:
        yield
    finally:
        taking.cancel()
        for task in list(under_way):
            task.cancel()
        await asyncio.gather(taking, *under_way, return_exceptions=True)
        listener.close()
