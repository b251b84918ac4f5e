"""The door to `aiohttp` for streams: requests to services of language models, bounded in time and bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Self

import aiohttp

from littoral.errors import UpstreamError
from littoral.gateway.upstream import Ask, Reply, Upstream

__all__ = ["HttpService"]

CONNECTIONS_MAX = 512
KEPT_S = 45.0
LINE_BYTES_MAX = 16 << 10
READ_BYTES = 64 << 10
AGENT = "littoral"


class HttpService:
    """One pool of connections for all upstreams. No cookie is kept, no redirection followed, no proxy of the
    environment asked: what a caller sends goes to the address of the site file, or nowhere.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=KEPT_S, ttl_dns_cache=60)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": AGENT},
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            read_bufsize=READ_BYTES,
            skip_auto_headers=("content-type", "accept"),
            auto_decompress=True,
            trust_env=False,
        )
        async with session:
            yield cls(session)

    @contextlib.asynccontextmanager
    async def ask(self, upstream: Upstream, ask: Ask) -> AsyncIterator[Reply]:
        """Raises UpstreamError where no answer begins in time."""
        whole_s = min(upstream.whole_s, ask.whole_s)
        timeout = aiohttp.ClientTimeout(total=whole_s, sock_connect=upstream.connect_s, sock_read=upstream.idle_s)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(min(upstream.first_byte_s, whole_s)):
                    asking = self._session.request(
                        ask.method,
                        upstream.url.rstrip("/") + ask.path,
                        data=ask.body or None,
                        headers=_headers(upstream, ask),
                        timeout=timeout,
                        allow_redirects=False,
                    )
                    response = await stack.enter_async_context(asking)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise _failed(upstream, error, begin_s=min(upstream.first_byte_s, whole_s)) from None
            yield _Reply(upstream, response)


class _Reply:
    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse) -> None:
        self._upstream = upstream
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    async def read(self, bytes_max: int) -> bytes:
        parts, size = [], 0
        async for part in self.chunks():
            parts.append(part)
            if (size := size + len(part)) > bytes_max:
                self._response.close()
                name = self._upstream.name
                raise UpstreamError(f"upstream `{name}`: answer has more than {bytes_max} bytes", kind="too_large")
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        with self._told():
            async for data in self._response.content.iter_any():
                yield data

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._response.close()
            raise _failed(self._upstream, error, is_begun=True) from None


def _headers(upstream: Upstream, ask: Ask) -> dict[str, str]:
    told = {"accept": "text/event-stream" if ask.is_stream else "application/json", **upstream.headers}
    if ask.body:
        told["content-type"] = "application/json"
    if upstream.key is not None:
        told["authorization"] = f"Bearer {upstream.key.shown()}"
    return told


def _failed(upstream: Upstream, error: Exception, *, is_begun: bool = False, begin_s: float = 0.0) -> UpstreamError:
    """Without the library's words: they may hold addresses with names and passwords, or heads with keys."""
    name = f"upstream `{upstream.name}`"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamError(f"{name}: no connection in {upstream.connect_s:g} s", kind="timeout")
    if isinstance(error, TimeoutError):
        what = "did not end in time" if is_begun else f"did not begin in {begin_s:.3g} s"
        return UpstreamError(f"{name}: answer {what}", kind="timeout")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return UpstreamError(f"{name}: its certificate is not to be trusted", kind="connect")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamError(f"{name}: no connection: {error.os_error.strerror or 'unknown address'}", kind="connect")
    if is_begun or isinstance(error, aiohttp.ClientPayloadError):
        return UpstreamError(f"{name}: answer was cut off", kind="cut")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | OSError):
        return UpstreamError(f"{name}: hung up before it answered", kind="connect")
    return UpstreamError(f"{name}: its answer is no HTTP ({type(error).__name__})", kind="malformed")
