"""A collector of traces for tests: OTLP over HTTP, decoded by OpenTelemetry's own messages."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from waiting import until


class Seen(NamedTuple):
    """One span. node: whose resource it came with. Ids in hexadecimal; seconds of Unix time."""

    node: str
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    began_s: float
    ended_s: float
    attributes: dict[str, Any]
    failure: str
    resource: dict[str, Any]


class Receiver:
    """statuses: of the next answers, then 200."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.statuses: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        self.headers.append(headers)
        self.bodies.append(body)
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return status
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = _attributes(resource.resource)
            for scope in resource.scope_spans:
                assert scope.scope.name == "littoral"
                self.spans += [_seen(span, told) for span in scope.spans]
        return 200

    def trace(self, number: str, *names: str) -> list[Seen]:
        """The spans of one trace, as soon as those of these names are there."""

        def found() -> list[Seen]:
            return [span for span in list(self.spans) if span.trace == number]

        until(lambda: set(names) <= {span.name for span in found()})
        return found()


@contextlib.contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Listens until the block ends."""
    taken = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = taken.take(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", port), Handler) as server:
        taken.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield taken
        finally:
            server.shutdown()
            thread.join()


def _seen(span: Any, resource: dict[str, Any]) -> Seen:
    return Seen(
        resource["service.instance.id"],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        _attributes(span),
        span.status.message if span.status.code == 2 else "",
        resource,
    )


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found.attributes}
