"""Spans to whoever collects them, by OTLP over HTTP, in a thread of its own: a request never waits for it.

What cannot be sent waits in the bounded queue of `Spans`, and what has no room there is dropped and counted.
"""

import http.client
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from littoral.errors import SettingError
from littoral.telemetry.metrics import Reading
from littoral.telemetry.spans import Span, Spans

__all__ = ["Endpoint", "Exporter", "parse_endpoint"]

BATCH_MAX = 512
PERIOD_S = 2.0
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0
ANSWER_BYTES_MAX = 1 << 16
END_S = 0.5
MEDIA_TYPE = "application/x-protobuf"
TRACES = "/v1/traces"
AGAIN = (429, 502, 503, 504)
"""The answers of the OTLP specification after which the same may be sent again."""

_log = logging.getLogger("littoral.traces")


class Endpoint(NamedTuple):
    """Where spans go. ca: file of certificates that are trusted; None: the machine's."""

    is_secured: bool
    host: str
    port: int
    path: str
    ca: str | None = None

    def __str__(self) -> str:
        return f"{'https' if self.is_secured else 'http'}://{self.host}:{self.port}{self.path}"

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """Raises OSError where the certificates cannot be read."""
        if not self.is_secured:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        trusted = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=trusted)


def parse_endpoint(url: str, ca: str | None = None) -> Endpoint:
    """`http://HOST:4318`, with a path of its own if it has one. Raises SettingError; a password in it is not told."""
    refused = SettingError("endpoint of traces must be like `http://HOST:4318`, without user and password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise refused
    path = parts.path if parts.path.strip("/") else TRACES
    return Endpoint(parts.scheme == "https", parts.hostname, port or 4318, path, ca)


class Exporter:
    """encode: gives the body. headers: may hold secrets, which are told nowhere."""

    def __init__(
        self,
        spans: Spans,
        endpoint: Endpoint,
        encode: Callable[[Sequence[Span]], bytes],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
        period_s: float = PERIOD_S,
        pause_first_s: float = PAUSE_FIRST_S,
    ) -> None:
        self._spans = spans
        self._endpoint = endpoint
        self._encode = encode
        self._headers = {"content-type": MEDIA_TYPE} | dict(headers or {})
        self._timeout_s = timeout_s
        self._period_s = period_s
        self._pause_first_s = pause_first_s
        self._stopped = threading.Event()
        self._exported = self._lost = self._failures = 0
        self._is_failing = False
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, name="littoral-traces", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends once more what waits, if that goes within half a second."""
        self._stopped.set()
        self._spans.has_many.set()
        self._thread.join(END_S)

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        counts = self._spans.counts()
        yield Reading("littoral_trace_spans_total", (), counts.recorded)
        yield Reading("littoral_trace_spans_exported_total", (), self._exported)
        yield Reading("littoral_trace_spans_dropped_total", ("full",), counts.dropped)
        yield Reading("littoral_trace_spans_dropped_total", ("refused",), self._lost)
        yield Reading("littoral_trace_spans_waiting", (), counts.waiting)
        yield Reading("littoral_trace_export_failures_total", (), self._failures)

    def _run(self) -> None:
        pause_s = 0.0
        batch: list[Span] = []
        while not self._stopped.is_set():
            self._wait(pause_s)
            batch = batch or self._spans.take(BATCH_MAX)
            while batch and self._send(batch):
                batch, pause_s = self._spans.take(BATCH_MAX), 0.0
            if batch:
                pause_s = min(PAUSE_MAX_S, 2 * pause_s or self._pause_first_s)
        if batch := batch or self._spans.take(BATCH_MAX):
            self._send(batch)
        self._close()

    def _wait(self, pause_s: float) -> None:
        """After a failure for its pause, however many wait; else until there are many."""
        if pause_s:
            self._stopped.wait(pause_s)
        else:
            self._spans.has_many.wait(self._period_s)

    def _send(self, batch: Sequence[Span]) -> bool:
        """Whether the batch is done with: taken, or refused for good."""
        try:
            status = self._post(self._encode(batch))
        except (OSError, http.client.HTTPException) as error:
            self._close()
            self._failed(type(error).__name__)
            return False
        if status in AGAIN:
            self._failed(f"status {status}")
            return False
        if status >= 300:
            self._lost += len(batch)
            self._failed(f"status {status}, {len(batch)} spans are lost")
            return True
        if self._is_failing:
            self._is_failing = False
            _log.warning("traces go to %s again", self._endpoint)
        self._exported += len(batch)
        return True

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = self._endpoint.connection(self._timeout_s)
        self._connection.request("POST", self._endpoint.path, body, self._headers)
        response = self._connection.getresponse()
        if len(response.read(ANSWER_BYTES_MAX + 1)) > ANSWER_BYTES_MAX:
            self._close()
        return response.status

    def _failed(self, why: str) -> None:
        """The first of a row is told."""
        self._failures += 1
        if not self._is_failing:
            self._is_failing = True
            _log.warning("traces do not get to %s: %s", self._endpoint, why)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
