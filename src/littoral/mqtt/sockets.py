"""A socket to a broker, opened without holding up the event loop: TCP without Nagle's delay, then TLS."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

__all__ = ["open_socket"]


async def open_socket(host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Connected, not blocking. Raises OSError, of which ssl.SSLError is one. Tries each address of the host in turn."""
    loop = asyncio.get_running_loop()
    last: OSError = OSError(f"`{host}` has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(opened, address)
            return opened if tls is None else await _secured(opened, tls, host)
        except OSError as error:
            opened.close()
            last = error
        except BaseException:
            opened.close()
            raise
    raise last


async def _secured(plain: socket.socket, tls: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    secured = tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(secured, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(secured, loop.add_writer, loop.remove_writer)
            else:
                return secured
    except BaseException:
        secured.close()
        raise


async def _ready(
    waited_for: socket.socket, add: Callable[..., object], remove: Callable[[socket.socket], object]
) -> None:
    ready = asyncio.get_running_loop().create_future()

    def tell() -> None:
        with contextlib.suppress(asyncio.InvalidStateError):
            ready.set_result(None)

    add(waited_for, tell)
    try:
        await ready
    finally:
        remove(waited_for)
