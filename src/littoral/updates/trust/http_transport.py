"""Over HTTP or HTTPS, from an orchestrator or from another node: one connection a thread, ranges, no redirects."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from littoral.errors import InputError, NotFoundError, PeerError, SettingError, WrongRangeError
from littoral.updates import tree
from littoral.updates.trust.transport import CHUNK_BYTES

__all__ = ["HttpTransport"]

PREFIX = "/fleet/v1/"
RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(?:\d{1,15}|\*)", re.ASCII)
LEFT_BYTES_MAX = 1 << 16
"""Of an answer nobody wants any more: read to keep the connection, if no more than this."""

OK, PART, NOT_FOUND, GONE, AFTER_END = 200, 206, 404, 410, 416


class HttpTransport:
    """url: without a path. ca: PEM of the authority; without, those of the system. token: bearer of this node.

    silence_s: without a byte before it is given up.
    """

    def __init__(self, url: str, *, ca: str | None = None, token: str | None = None, silence_s: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError(f"orchestrator `{url[:200]}` is no address", hint="as `https://fleet.example:8443`")
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._tls = _context(ca) if parts.scheme == "https" else None
        self._token = token
        self._silence_s = silence_s
        self._local = threading.local()

    def read(self, path: str, *, offset: int = 0, end: int | None = None) -> Iterator[bytes]:
        if not tree.is_public(path):
            raise InputError(f"`{path[:120]}` is no file of a fleet")
        if end is not None and offset >= end:
            return iter(())
        is_ranged = path.startswith(tree.TARGETS) and bool(offset or end is not None)
        answer = self._asked(path, f"bytes={offset}-{'' if end is None else end - 1}" if is_ranged else None)
        try:
            skip = self._check(answer, path, offset)
        except BaseException:
            self._end(answer)
            raise
        return self._chunks(answer, path, skip, None if end is None else end - offset)

    def close(self) -> None:
        """Of this thread."""
        if (connection := getattr(self._local, "connection", None)) is not None:
            connection.close()
            self._local.connection = None

    def _asked(self, path: str, wanted: str | None) -> http.client.HTTPResponse:
        headers = {"Accept-Encoding": "identity"}
        if wanted is not None:
            headers["Range"] = wanted
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        for is_new in (connection is None, True):
            if connection is None:
                connection = self._local.connection = self._connection()
            try:
                connection.request("GET", f"{self._path}{PREFIX}{quote(path)}", headers=headers)
                return connection.getresponse()
            except (http.client.HTTPException, OSError) as error:
                self.close()
                connection = None
                if is_new:
                    raise PeerError(f"`{self.url}`: {_told(error)}", hint="tried again at the next look") from error
        raise AssertionError("the second connection is new")

    def _check(self, answer: http.client.HTTPResponse, path: str, offset: int) -> int:
        """Bytes to skip: of a server that knows no ranges."""
        if answer.status in (NOT_FOUND, GONE):
            raise NotFoundError(f"`{self.url}{PREFIX}{path}` is not there")
        if answer.status == OK:
            return offset
        if answer.status != PART and not (answer.status == AFTER_END and offset):
            raise PeerError(
                f"`{self.url}{PREFIX}{path}`: answered {answer.status} {answer.reason[:80]}",
                hint="401 and 403: the node's token; others: the log of who was asked",
            )
        if answer.status == AFTER_END:
            raise WrongRangeError(
                f"`{self.url}{PREFIX}{path}` has no byte {offset}, though it is signed for",
                hint="a copy that is cut off",
            )
        told = RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != offset:
            raise WrongRangeError(
                f"`{self.url}{PREFIX}{path}`: asked from byte {offset}, answered "
                f"`{answer.headers.get('Content-Range', 'no Content-Range')[:80]}`",
                hint="a proxy, or a server that lies; asked again without ranges",
            )
        return 0

    def _chunks(self, answer: http.client.HTTPResponse, path: str, skip: int, wanted: int | None) -> Iterator[bytes]:
        left = wanted
        is_more_told = answer.status == PART
        try:
            while left is None or left + is_more_told > 0:
                chunk = answer.read1(CHUNK_BYTES if left is None else min(CHUNK_BYTES, skip + left + is_more_told))
                if not chunk:
                    self._check_whole(answer, path)
                    return
                if skip:
                    skip, chunk = max(0, skip - len(chunk)), chunk[skip:]
                if chunk:
                    left = None if left is None else left - len(chunk)
                    yield chunk
        except (http.client.HTTPException, OSError) as error:
            raise PeerError(f"`{self.url}{PREFIX}{path}`: {_told(error)}") from error
        finally:
            self._end(answer)

    def _check_whole(self, answer: http.client.HTTPResponse, path: str) -> None:
        """`read1` tells nothing of a connection that ended early."""
        if answer.length:
            raise PeerError(f"`{self.url}{PREFIX}{path}`: the connection ended {answer.length} bytes early")

    def _end(self, answer: http.client.HTTPResponse) -> None:
        """Of an answer: the connection is kept if what is left of it is little."""
        with contextlib.suppress(http.client.HTTPException, OSError):
            if answer.isclosed() or (answer.length is not None and answer.length <= LEFT_BYTES_MAX):
                answer.read()
                return
        answer.close()
        self.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._silence_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._silence_s, context=self._tls)


def _context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except ssl.SSLError as error:
        raise SettingError(
            f"trust file: `ca` is no certificate: {error}", hint="PEM, as the authority gives it"
        ) from error


def _told(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "nothing came in time"
    return str(error) or type(error).__name__
