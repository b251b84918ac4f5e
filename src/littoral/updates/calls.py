"""What a node says to its orchestrator, over HTTP. The node always calls; every answer is bounded. Blocks."""

import http.client
import json
import ssl
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from littoral.errors import PeerError, SettingError, UnauthorizedError
from littoral.updates.wire import Answered, CheckedIn, CheckIn, Enrol, Enrolled, Report

__all__ = ["Calls"]

TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 1 << 20
BASE = "/fleet/v1"

_T = TypeVar("_T")


class Calls:
    """url: `https://HOST[:PORT]`. ca: PEM beside the machine's authorities. token: of the node; '' before enrolment.

    Every call opens a connection of its own, so that several threads may call. All raise PeerError, and
    UnauthorizedError for a token or a claim that is not taken.
    """

    def __init__(self, url: str, ca: str | None = None, token: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise SettingError(f"address of the orchestrator is `{url[:200]}`: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError(f"address of the orchestrator is `{url[:200]}`, must be like https://fleet.example")
        self.url = url.rstrip("/")
        self._host = parts.hostname
        self._prefix = parts.path.rstrip("/") + BASE
        self._context = ssl.create_default_context(cadata=ca or None) if parts.scheme == "https" else None
        if self._context is not None and ca:
            self._context.load_default_certs()
        self.token = token
        self._timeout_s = timeout_s

    def enrol(self, enrol: Enrol) -> Enrolled:
        return self._asked("POST", "/enrol", enrol, Enrolled)

    def check_in(self, told: CheckIn) -> CheckedIn:
        return self._asked("POST", "/checkin", told, CheckedIn)

    def signal(self, after: int, wait_s: float) -> int | None:
        """The newest deployment, as soon as it is later than `after`; None where none came in time."""
        data = self._ask("GET", f"/signal?after={after}&wait_s={wait_s:g}", None, wait_s + self._timeout_s)
        if not data:
            return None
        return int(_decoded(data, dict[str, int], self.url).get("deployment", 0))

    def report(self, reports: list[Report]) -> None:
        self._ask("POST", "/reports", msgspec.json.encode(reports), self._timeout_s)

    def answer(self, ask: str, answered: Answered) -> None:
        self._ask("POST", f"/asks/{ask}", msgspec.json.encode(answered), self._timeout_s)

    def _asked(self, method: str, path: str, body: msgspec.Struct, kind: type[_T]) -> _T:
        return _decoded(self._ask(method, path, msgspec.json.encode(body), self._timeout_s), kind, self.url)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> bytes:
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._context)
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, self._prefix + path, body, headers)
            answer = connection.getresponse()
            data = answer.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PeerError(f"orchestrator at {self.url}: {error}") from error
        finally:
            connection.close()
        if len(data) > ANSWER_BYTES_MAX:
            raise PeerError(f"orchestrator at {self.url}: its answer has more than {ANSWER_BYTES_MAX} bytes")
        if 200 <= answer.status < 300:
            return data
        told = _told(data)
        if answer.status in (401, 403):
            raise UnauthorizedError(
                f"orchestrator at {self.url}: {told or 'this node is not known to it'}",
                hint="a new claim enrols the node again: `updates.claim`, and remove `token` in its folder",
            )
        raise PeerError(f"orchestrator at {self.url}: {answer.status} {told}".rstrip())


def _decoded(data: bytes, kind: type[_T], url: str) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"orchestrator at {url}: its answer cannot be read: {error}") from error


def _told(data: bytes) -> str:
    """The text of an error, in whatever shape it comes."""
    try:
        found: Any = json.loads(data)
    except ValueError:
        return data[:200].decode(errors="replace").strip()
    while isinstance(found, dict) and found:
        found = found.get("message") or found.get("error") or found.get("detail") or ""
    return str(found)[:300]
