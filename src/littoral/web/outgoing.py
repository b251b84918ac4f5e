"""Requests to another server over HTTP/1.1: connections are kept, answers are bounded in bytes and time.

A request whose caller goes away takes its connection with it, so that the other side need not go on.
"""

import asyncio
import functools
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from littoral.errors import PeerError, SettingError

__all__ = ["Outgoing", "Replied"]

CONNECTIONS_MAX = 64
IDLE_S = 15.0
HEAD_BYTES_MAX = 1 << 16
WORDS_MAX = 300
FORBIDDEN = frozenset("\r\n\0")


class Replied(NamedTuple):
    """headers: names in lower case, the last of a name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """To one server, for one event loop; `close` it. url: `https://HOST[:PORT][/PATH]`. ca: PEM beside the machine's
    authorities.

    No cookie is kept, no redirection followed, no proxy of the environment asked. Raises SettingError for an address
    that is none, or a PEM that is none.
    """

    def __init__(self, url: str, *, ca: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise SettingError(f"address `{url[:200]}`: {error}") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query:
            raise SettingError(f"address `{url[:200]}`, must be like https://fleet.example")
        self.url = url.rstrip("/")
        self._context = _context(ca) if parts.scheme == "https" else None
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        path: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        deadline_s: float,
        bytes_max: int,
    ) -> Replied:
        """path: behind the address. bytes_max: of the answer's body. Raises PeerError, also where no answer came in
        time; a request may then have been done.
        """
        told = dict(headers or {})
        if any(not text.isascii() or FORBIDDEN & set(text) for pair in told.items() for text in pair):
            raise PeerError(f"{self.url}: a header has characters that HTTP has not")
        self._session = self._session or _session(self._context)
        asking = functools.partial(self._session.request, method, self.url + path, data=body, headers=told)
        try:
            async with asyncio.timeout(deadline_s):
                try:
                    return await self._replied(asking, bytes_max)
                except aiohttp.ServerDisconnectedError:  # one that was kept, and had ended meanwhile
                    return await self._replied(asking, bytes_max)
        except TimeoutError as error:
            raise PeerError(f"{self.url}: no answer in {deadline_s:.3g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PeerError(f"{self.url}: {str(error) or type(error).__name__}"[:WORDS_MAX]) from error

    async def close(self) -> None:
        """Connections that wait for a request end."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _replied(self, asking: Callable[..., Any], bytes_max: int) -> Replied:
        async with asking(allow_redirects=False) as response:
            try:
                self._check(response, bytes_max)
                parts, size = list[bytes](), 0
                async for part in response.content.iter_any():
                    parts.append(part)
                    if (size := size + len(part)) > bytes_max:
                        raise PeerError(f"{self.url}: its answer has more than {bytes_max} bytes")
            except BaseException:  # a release waits until the server has read the request, which it may never do
                response.close()
                raise
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Replied(response.status, headers, b"".join(parts))

    def _check(self, response: aiohttp.ClientResponse, bytes_max: int) -> None:
        """What has no length ends with its connection, and nobody knows whether it ended too soon."""
        if response.status < 200:
            raise PeerError(f"{self.url}: answers {response.status}")
        if not {"Content-Length", "Transfer-Encoding"} & response.headers.keys() and response.status != 204:
            raise PeerError(f"{self.url}: its answer has no length")
        if (response.content_length or 0) > bytes_max:
            raise PeerError(f"{self.url}: its answer has more than {bytes_max} bytes")


def _session(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=context or True, limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
        skip_auto_headers=("content-type", "accept", "accept-encoding", "user-agent"),
        trust_env=False,
    )


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        found = ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise SettingError(f"the authority's certificate: {error}", hint="PEM") from error
    if ca:
        found.load_default_certs()
    return found
