"""A node as seen by the command line and the demo: blocking HTTP, bounded in bytes, time and tries. Thread-safe."""

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from littoral import settings
from littoral.errors import (
    ConflictError,
    DeadlineError,
    ForbiddenError,
    InputError,
    LittoralError,
    NodeError,
    NotFoundError,
    NotOfferedError,
    PeerError,
    SettingError,
    TooLargeError,
    TrustError,
    UnauthorizedError,
    UnavailableError,
)

__all__ = ["DEFAULT_URL", "NodeClient", "PipelineAnswer"]

DEFAULT_URL = "http://127.0.0.1:8642"
ANSWER_BYTES_MAX = 64 << 20
TIMEOUT_S = 30.0
TRY_COUNT_MAX = 6
BACK_OFF_S = 0.1
BACK_OFF_MAX_S = 2.0
BINARY = "application/octet-stream"
JSON = "application/json"
MODEL_HEADER = "littoral-model"

_ERRORS: dict[int, type[LittoralError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    501: NotOfferedError,
    503: UnavailableError,
}


class PipelineAnswer(NamedTuple):
    """result: hits, or `{"outputs": …}`. stages_ms: by step, as the node measured it. model: whose embeddings these
    are, as the header `littoral-model` says it; '' where none is told."""

    result: Any
    stages_ms: dict[str, float]
    how: dict[str, Any]
    model: str = ""


class NodeClient:
    """url: `http://host:port`, or `https`. One connection a thread, kept open. Raises InputError for anything else.

    A token is shown where `LITTORAL_TOKEN` has one; certificates are checked against the machine's authorities, and
    those in the file that `LITTORAL_CA` names.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, timeout_s: float = TIMEOUT_S, try_count_max: int = TRY_COUNT_MAX
    ) -> None:
        refused = InputError(f"address of a node is `{url}`, must be like {DEFAULT_URL}")
        try:
            parts = urlsplit(url)
            self._port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise refused from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise refused
        self.url = url.rstrip("/")
        self._host = parts.hostname
        self._timeout_s = timeout_s
        self._try_count_max = try_count_max
        self._own = threading.local()
        self._pause = threading.Event()
        self._token = settings.text("LITTORAL_TOKEN").strip()
        self._context = _trusting(settings.text("LITTORAL_CA")) if parts.scheme == "https" else None

    def run_pipeline(self, name: str, data: bytes, *, media_type: str = BINARY) -> PipelineAnswer:
        """The pipeline's answer to these bytes. Raises as `call`."""
        said, model = self._said("POST", f"/pipelines/{quote(name, safe='')}", data, media_type, "")
        return PipelineAnswer(said["result"], said["how"]["stages"], said["how"], model)

    def collection(self, method: str, name: str, rest: str = "", body: object = None, *, model: str = "") -> Any:
        """`result` of a call to Qdrant's REST API. model: that made the vectors of the body. Raises as `call`."""
        path = f"/collections/{quote(name, safe='')}{rest}"
        data = None if body is None else json.dumps(body).encode()
        return self._said(method, path, data, JSON, model)[0]["result"]

    def call(self, method: str, path: str, body: bytes | None = None, *, media_type: str = JSON) -> Any:
        """The JSON of the answer. A node that is busy or restarting is asked again, at most six times.

        Raises what the status stands for: InputError, NotFoundError, ConflictError, TooLargeError, NotOfferedError,
        DeadlineError, UnavailableError, NodeError; PeerError for an answer that is no JSON or too large.
        """
        return self._said(method, path, body, media_type, "")[0]

    def text(self, path: str) -> str:
        """The text of an answer. Raises as `call`; not asked again."""
        status, data, _ = self._ask("GET", path, None, "", "")
        if status != 200:
            self._read(status, data)
        return data.decode(errors="replace")

    @contextlib.contextmanager
    def download(self, path: str) -> Iterator[Callable[[int], bytes]]:
        """Reads the body of an answer, of any size, piece by piece: so many bytes at most, none at its end.

        Raises as `call`, reading does too; nothing is asked again. It takes the connection with it.
        """
        response = self._response("GET", path, None, {})

        def read(count: int) -> bytes:
            with self._errors():
                return response.read(count)

        try:
            if response.status != 200:
                self._read(response.status, read(ANSWER_BYTES_MAX))
            yield read
        finally:
            self.close()

    def _said(self, method: str, path: str, body: bytes | None, media_type: str, model: str) -> tuple[Any, str]:
        """The JSON of the answer, and its header `littoral-model`."""
        pause_s = BACK_OFF_S
        for left in range(self._try_count_max - 1, -1, -1):
            try:
                status, data, told = self._ask(method, path, body, media_type, model)
                return self._read(status, data), told
            except UnavailableError:
                if not left:
                    raise
                self._pause.wait(pause_s)
                pause_s = min(2 * pause_s, BACK_OFF_MAX_S)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends this thread's connection."""
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            del self._own.connection

    def _ask(self, method: str, path: str, body: bytes | None, media_type: str, model: str) -> tuple[int, bytes, str]:
        headers = {} if body is None else {"Content-Type": media_type}
        if model:
            headers[MODEL_HEADER] = model
        with self._errors():
            response = self._response(method, path, body, headers)
            data = response.read(ANSWER_BYTES_MAX + 1)
        if len(data) > ANSWER_BYTES_MAX:
            self.close()
            raise PeerError(f"node at {self.url}: its answer has more than {ANSWER_BYTES_MAX} bytes")
        return response.status, data, response.getheader(MODEL_HEADER, "")

    def _response(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        with self._errors():
            connection = self._connection()
            connection.request(method, path, body, headers)
            return connection.getresponse()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            self.close()
            raise DeadlineError(f"node at {self.url}: no answer in {self._timeout_s:g} s") from error
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise TrustError(
                f"node at {self.url}: its certificate is not trusted: {error.verify_message}",
                hint="`LITTORAL_CA` names a file of PEM with the authority that issued it",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnavailableError(
                f"node at {self.url} cannot be reached: {error}", hint="start one with `littoral up site.toml`"
            ) from error

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            if self._context is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            else:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_s, context=self._context
                )
            self._own.connection = connection
        return connection

    def _read(self, status: int, data: bytes) -> Any:
        try:
            said = json.loads(data)
        except ValueError as error:
            raise PeerError(f"node at {self.url}: status {status}, and its answer is no JSON") from error
        if status < 400:
            return said
        fallback = InputError if status < 500 else NodeError
        if status == 504:
            fallback = DeadlineError
        message = _message(said) or f"node at {self.url}: status {status}"
        if status == 401:
            raise UnauthorizedError(
                message.partition(" · hint")[0], hint=f"set `LITTORAL_TOKEN` to a token of {self.url}"
            )
        raise _ERRORS.get(status, fallback)(message)


def _trusting(file: str) -> ssl.SSLContext:
    """Raises SettingError for a file of authorities that is none."""
    context = ssl.create_default_context()
    if file:
        try:
            context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise SettingError(f"environment variable `LITTORAL_CA`: `{file}`: {error}") from error
    return context


def _message(said: Any) -> str:
    """`error` of the node's own envelope, or of Qdrant's."""
    if not isinstance(said, dict):
        return ""
    status = said.get("status")
    found = status.get("error") if isinstance(status, dict) else said.get("error")
    return found if isinstance(found, str) else ""
