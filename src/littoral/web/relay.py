"""A port in front of a server behind a Unix socket: bytes go on as they are, callers are bounded by address.

For servers that bound connections in all only. What they cannot see, where a caller comes from, is told by the name
that its connection has behind here (an abstract one that the kernel gives, which no two have at a time).
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from littoral.web.addresses import network_of
from littoral.web.handshakes import accepting
from littoral.web.limits import Limits
from littoral.web.server import BACKLOG, STOP_S, listener_at
from littoral.web.tls import Certificates

__all__ = ["RELAY_DROPS", "Relay", "RelayLimits", "relaying"]

RELAY_DROPS = ("handshake_address", "handshake_all", "handshake_failed", "address", "all", "silent", "lacking")
PREFACE_BYTES = 24
"""Who has sent less than HTTP/2's preface when the server hangs up has said nothing."""

_log = logging.getLogger("littoral.web")


class RelayLimits(NamedTuple):
    """Connections that are open, of all and of one address (of IPv6: one network of 64 bits)."""

    connection_count_max: int = 256
    address_count_max: int = 64


class Relay:
    """Of one port. address: `host:port`, with the port that was taken. dropped: connections that were, by reason."""

    def __init__(self, address: str, behind: str, limits: RelayLimits, dropped: Counter[str]) -> None:
        self.address = address
        self.behind = behind
        self.limits = limits
        self._dropped = dropped
        self._open: defaultdict[str, dict[_Caller, None]] = defaultdict(dict)
        self._named: dict[str, _Caller] = {}
        self.sides: set[_Side] = set()
        self.has_none = asyncio.Event()
        """No end is open; true only after there was one."""

    @property
    def dropped(self) -> Mapping[str, int]:
        return self._dropped

    @property
    def names(self) -> Iterable[str]:
        """Of connections that reached the server."""
        return self._named.keys()

    def address_of(self, name: str) -> str:
        """Where the connection with this name comes from; '' for one that is gone or not from here."""
        caller = self._named.get(name)
        return "" if caller is None else caller.address

    def vouch(self, name: str) -> None:
        """Who is behind this name may be here: others go before it."""
        if (caller := self._named.get(name)) is not None:
            caller.is_known = True

    def take(self, caller: "_Caller") -> None:
        """One more. Where there are too many, one goes: of this address, or of those that have most."""
        if len(self._open.get(caller.network, ())) >= self.limits.address_count_max:
            self._drop(self._open[caller.network], "address")
        elif sum(map(len, self._open.values())) >= self.limits.connection_count_max:
            most = max(map(len, self._open.values()))
            self._drop([one for held in self._open.values() if len(held) == most for one in held], "all")
        self._open[caller.network][caller] = None

    def name(self, caller: "_Caller", name: str) -> None:
        self._named[name] = caller
        caller.name = name

    def forget(self, caller: "_Caller") -> None:
        """Of one that was taken; nothing where that was told before."""
        self._named.pop(caller.name, None)
        if caller in (held := self._open.get(caller.network, {})):
            del held[caller]
            if not held:
                del self._open[caller.network]

    def count(self, reason: str) -> None:
        self._dropped[reason] += 1

    async def end(self) -> None:
        """Hangs up on all."""
        if self.sides:
            self.has_none.clear()
            for side in list(self.sides):
                side.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.has_none.wait(), STOP_S)

    def _drop(self, among: "Iterable[_Caller]", reason: str) -> None:
        """Strangers before those who are known, then who said nothing the longest."""
        going = min(among, key=lambda one: (one.is_known, one.heard_s))
        self.count(reason)
        going.abort()


class _Side(asyncio.Protocol):
    """One end: what it reads goes to the other, no faster than that takes it."""

    transport: asyncio.Transport | None = None
    other: "_Side | None" = None

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # what uvloop gives is none by name
        self._relay.sides.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._relay.sides.discard(self)
        if not self._relay.sides:
            self._relay.has_none.set()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class _Caller(_Side):
    """The end outside. heard_s: when it last said something, by the loop's clock."""

    address = network = name = ""
    is_known = False
    is_over = False
    heard_s = 0.0
    heard_bytes = 0

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._early = bytearray()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self.network = network_of(self.address)
        self.heard_s = self._loop.time()
        self._relay.take(self)
        self._reaching = self._loop.create_task(self._reach(), name="littoral-relay")

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._loop.time()
        self.heard_bytes += len(data)
        if self.other is None and self.transport is not None:
            self._early += data
            self.transport.pause_reading()
        else:
            super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.is_over = True
        self._relay.forget(self)
        self._reaching.cancel()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def reached(self, behind: "_Behind") -> None:
        """From now on bytes go there, at first those that came before."""
        if self.is_over or self.transport is None or behind.transport is None:
            behind.abort()
            return
        self.other = behind
        behind.transport.write(bytes(self._early))
        self._early.clear()
        self.transport.resume_reading()

    def abort(self) -> None:
        self._relay.forget(self)
        super().abort()

    def hung_up_on(self) -> None:
        """By the server: what it sent before still goes out."""
        if self.transport is None or self.is_over:
            return
        if self.heard_bytes < PREFACE_BYTES:
            self._relay.count("silent")
        self.transport.close()

    async def _reach(self) -> None:
        behind = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            behind.bind("")
            await self._loop.sock_connect(behind, self._relay.behind)
            self._relay.name(self, behind.getsockname()[1:].decode())
            await self._loop.create_unix_connection(lambda: _Behind(self._relay, self), sock=behind)
        except OSError as error:
            behind.close()
            _log.error("no connection can be handed on: %s", error.strerror)
            self._relay.count("lacking")
            self.abort()
        except asyncio.CancelledError:
            behind.close()
            raise


class _Behind(_Side):
    """The end at the server."""

    def __init__(self, relay: Relay, caller: _Caller) -> None:
        super().__init__(relay)
        self.other = self._caller = caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._caller.reached(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._caller.hung_up_on()


@contextlib.asynccontextmanager
async def relaying(
    host: str,
    port: int,
    behind: Path | str,
    *,
    limits: RelayLimits | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[Relay]:
    """From this port to the Unix socket `behind`, until the block ends.

    port: 0 = any that is free. certificates: TLS ends here, its handshakes bounded as those of HTTP. Raises
    SettingError where the address cannot be had.
    """
    listener = listener_at(host, port)
    bound, dropped = listener.getsockname(), Counter[str]()
    address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
    relay = Relay(address, str(behind), limits or RelayLimits(), dropped)
    try:
        async with contextlib.AsyncExitStack() as held:
            if certificates is None:
                loop = asyncio.get_running_loop()
                server = await loop.create_server(lambda: _Caller(relay), sock=listener, backlog=BACKLOG)
                held.callback(server.close)
            else:
                shaking = accepting(listener, certificates.context, lambda: _Caller(relay), Limits, dropped)
                await held.enter_async_context(shaking)
            yield relay
    finally:
        await relay.end()
