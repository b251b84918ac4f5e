"""A node's HTTP side for the page's tests: the real assets under the real headers, answers from pictures in memory.

Its embedding is a picture's 8 × 8 thumbnail, so that the most similar pictures are found, and bytes that are no picture
are refused.
"""

import io
import json
import queue
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from littoral.clock import SYSTEM

ASSETS = Path(str(resources.files("littoral.web") / "assets"))
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
MODEL = json.loads((Path(__file__).parent / "page_model.json").read_text())
LABELS = (resources.files("littoral.demo") / "imagenet_labels.txt").read_text().splitlines()
BODY_BYTES_MAX = 16 << 20
HEARTBEAT_S = 5.0
SIDE = 8
SEARCHED = {"asked": 1, "answered": 1, "missing": [], "certified": True, "expected_recall": 1.0}

STEPS = {
    "decode": {"kind": "agent", "takes": "bytes", "gives": "`image` float32[1, 3, 224, 224]"},
    "embedder": {"kind": "model", "takes": "`image` float32[1, 3, 224, 224]", "gives": "`embedding` float32[1, 1280]"},
    "normalize": {"kind": "step", "takes": "`embedding` float32[1, 1280]", "gives": "`embedding` float32[1, 1280]"},
    "search": {"kind": "search", "uses": "frames", "takes": "`embedding` float32[1, 1280]", "gives": "hits"},
    "softmax": {"kind": "step", "takes": "`logits` float32[1, 1000]", "gives": "`logits` float32[1, 1000]"},
    "top_k": {
        "kind": "step",
        "takes": "`logits` float32[1, 1000]",
        "gives": "`scores` float32[1, 5], `indices` int64[1, 5]",
    },
}
PIPELINES = {
    "similar": ("decode", "embedder", "normalize", "search"),
    "classify": ("decode", "embedder", "softmax", "top_k"),
}


class Shown(NamedTuple):
    """One picture of the collection."""

    source: str
    seconds: float
    data: bytes


class RefusedError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageNode:
    """What a node would answer. pictures: those in its collection. pipelines: those it offers."""

    def __init__(self, pictures: Sequence[Shown], pipelines: Sequence[str]) -> None:
        self._payloads = [_payload(picture) for picture in pictures]
        self._vectors = np.array([embedding(picture.data) for picture in pictures])
        self._pipelines = pipelines
        self._times_ms: dict[str, list[dict[str, float]]] = {name: [] for name in pipelines}
        self._failures = dict.fromkeys(pipelines, 0)
        self._started_at = SYSTEM.wall()
        self._listeners: list[queue.SimpleQueue[bytes | None]] = []
        self._lock = threading.Lock()

    def get(self, path: str) -> Any:
        if path == f"/api/models/{MODEL['name']}":
            return self._model() | {"layers": MODEL["layers"], "labels": LABELS}
        answers = {
            "/api/node": self._node,
            "/api/pipelines": lambda: [self._pipeline(name) for name in self._pipelines],
            "/api/models": lambda: [self._model()] if self._pipelines else [],
            "/api/collections": lambda: [self._collection()] if self._payloads else [],
        }
        if (found := answers.get(path)) is None:
            raise RefusedError(404, f"nothing at `{path}`")
        return found()

    def post(self, path: str, body: bytes) -> Any:
        if match := re.fullmatch(r"/pipelines/(\w+)", path):
            return self._run(match[1], body)
        if path == "/collections/frames/points/scroll":
            return _enveloped({"points": self._points(range(len(self._payloads)), body), "next_page_offset": None})
        if path == "/collections/frames/points":
            return _enveloped(self._points(json.loads(body)["ids"], body))
        raise RefusedError(404, f"nothing at `{path}`")

    @contextmanager
    def events(self) -> Iterator["queue.SimpleQueue[bytes | None]"]:
        """Server-sent events as they come; None at the end."""
        listener: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._lock:
            self._listeners.append(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def tell(self, event: bytes | None) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.put(event)

    def _run(self, name: str, body: bytes) -> Any:
        if name not in self._pipelines:
            raise RefusedError(404, f"pipeline `{name}` is unknown, known: {', '.join(self._pipelines)}")
        began, stages = SYSTEM.monotonic(), {}
        try:
            result = self._result(name, body, stages)
        except RefusedError:
            self._failures[name] += 1
            self._announce(name, began, stages, is_ok=False)
            raise
        time_s = self._announce(name, began, stages, is_ok=True)
        how = {"node": "store-12", "stages": stages, "cache": None, "search": SEARCHED}
        return {"status": "ok", "time": time_s, "result": result, "how": how}

    def _announce(self, name: str, began: float, stages: dict[str, float], *, is_ok: bool) -> float:
        time_s = SYSTEM.monotonic() - began
        if is_ok:
            self._times_ms[name].append(stages | {"": time_s * 1000})
        event = {"pipeline": name, "at": SYSTEM.wall(), "total_ms": time_s * 1000, "stages": stages, "ok": is_ok}
        self.tell(f"event: request\ndata: {json.dumps(event)}\n\n".encode())
        return time_s

    def _result(self, name: str, body: bytes, stages: dict[str, float]) -> Any:
        value: Any = body
        for step in PIPELINES[name]:
            began = SYSTEM.monotonic()
            value = self._step(step, value)
            stages[step] = (SYSTEM.monotonic() - began) * 1000
        return value

    def _step(self, step: str, value: Any) -> Any:
        if step == "decode":
            return embedding(value)
        if step == "search":
            scores = self._vectors @ value
            best = np.argsort(-scores, kind="stable")[:5].tolist()
            return [{"id": i, "score": float(scores[i]), "payload": self._payloads[i]} for i in best]
        if step == "top_k":
            likely = (np.abs(value[:5]) * 997).astype(int) % len(LABELS)
            scores = {"dtype": "float32", "shape": [1, 5], "data": [[0.61, 0.14, 0.052, 0.018, 0.007]]}
            return {
                "outputs": {"scores": scores, "indices": {"dtype": "int64", "shape": [1, 5], "data": [likely.tolist()]}}
            }
        return value

    def _points(self, ids: Sequence[int], body: bytes) -> list[dict[str, Any]]:
        wanted = json.loads(body)["with_payload"]
        keys = wanted if isinstance(wanted, list) else ("source", "seconds", "thumbnail")
        return [{"id": i, "payload": {key: self._payloads[i][key] for key in keys}} for i in ids]

    def _node(self) -> dict[str, Any]:
        uptime_s = SYSTEM.wall() - self._started_at
        told = {"name": "store-12", "version": "0.1.0", "started_at": self._started_at, "uptime_s": uptime_s}
        return told | {"ready": True, "listen": "127.0.0.1:8642"}

    def _model(self) -> dict[str, Any]:
        runs = sum(map(len, self._times_ms.values()))
        rest = {"layer_count": len(MODEL["layers"]), "macs": sum(layer["macs"] for layer in MODEL["layers"])}
        told = {key: value for key, value in MODEL.items() if key != "layers"} | rest
        return told | {"instances": {"min": 1, "max": 2, "busy": 0}, "runs": runs}

    def _collection(self) -> dict[str, Any]:
        count = len(self._payloads)
        told = {"name": "frames", "points_count": count, "indexed_vectors_count": count, "size": 1280}
        return told | {"distance": "Cosine", "status": "ok", "epoch": count}

    def _pipeline(self, name: str) -> dict[str, Any]:
        steps = [{"name": step, **STEPS[step]} for step in PIPELINES[name]]
        told = {"name": name, "takes": steps[0]["takes"], "gives": steps[-1]["gives"], "steps": steps}
        rows = self._times_ms[name]
        counts = {"requests": len(rows) + self._failures[name], "failures": self._failures[name]}
        stages = {step: _quantiles([row[step] for row in rows]) for step in PIPELINES[name] if rows}
        return told | counts | _quantiles([row[""] for row in rows]) | {"stages": stages}


def embedding(data: bytes) -> np.ndarray[Any, Any]:
    """A vector of length 1. Raises RefusedError for bytes that are no picture."""
    try:
        small = Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    except (UnidentifiedImageError, OSError) as error:
        raise RefusedError(422, "agent `decode`: neither JPEG nor PNG · hint: save it as one of these") from error
    vector = np.asarray(small, np.float64).ravel()
    vector = vector - vector.mean() + 1e-6
    return vector / np.linalg.norm(vector)


def _payload(picture: Shown) -> dict[str, Any]:
    import base64

    small = Image.open(io.BytesIO(picture.data)).convert("RGB")
    small.thumbnail((160, 160))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    url = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"source": picture.source, "seconds": picture.seconds, "thumbnail": url}


def _enveloped(result: Any) -> dict[str, Any]:
    return {"result": result, "status": "ok", "time": 0.001}


def _quantiles(times_ms: list[float]) -> dict[str, float | None]:
    return {f"p{share}_ms": float(np.percentile(times_ms, share)) if times_ms else None for share in (50, 95)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: PageNode

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/events":
            self._stream()
        elif path == "/" or path.startswith("/assets/"):
            self._asset("index.html" if path == "/" else path.removeprefix("/assets/"))
        else:
            self._answer(lambda: self.node.get(path))

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            self._json(413, {"status": {"error": f"body has {length} bytes, at most {BODY_BYTES_MAX}"}, "time": 0})
            return
        body = self.rfile.read(length)
        self._answer(lambda: self.node.post(self.path, body))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, work: Any) -> None:
        try:
            self._json(200, work())
        except RefusedError as error:
            is_api = self.path.startswith("/api/")
            self._json(error.status, {"error": str(error)} if is_api else {"status": {"error": str(error)}, "time": 0})

    def _asset(self, name: str) -> None:
        path = (ASSETS / name).resolve()
        if not path.is_relative_to(ASSETS) or not path.is_file():
            self._send(404, "text/plain", b"")
            return
        self._send(200, MEDIA_TYPES.get(path.suffix, "text/plain"), path.read_bytes())

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": media_type, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.close_connection = True
        with self.node.events() as events:
            self.wfile.write(b": connected\n\n")
            while (event := _next(events)) is not None:
                try:
                    self.wfile.write(event)
                except OSError:
                    return


def _next(events: "queue.SimpleQueue[bytes | None]") -> bytes | None:
    try:
        return events.get(timeout=HEARTBEAT_S)
    except queue.Empty:
        return b": still here\n\n"


class _Server(ThreadingHTTPServer):
    """Closing it closes the connections that browsers keep, too."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers drop connections when they leave."""


@contextmanager
def serve_page(pictures: Sequence[Shown], pipelines: Sequence[str] = tuple(PIPELINES), port: int = 0) -> Iterator[str]:
    """The address of a server that lives as long as the `with` block."""
    node = PageNode(pictures, pipelines)
    handler = type("Handler", (_Handler,), {"node": node})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            node.tell(None)
