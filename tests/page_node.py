"""What a node answers, for the page's tests, from pictures in memory.

Its embedding is a picture's 8 × 8 thumbnail, so that the most similar pictures are found, and bytes that are no picture
are refused.
"""

import base64
import io
import json
import queue
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from littoral.clock import SYSTEM

MODEL = json.loads((Path(__file__).parent / "page_model.json").read_text())
LABELS = (resources.files("littoral.demo") / "imagenet_labels.txt").read_text().splitlines()
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
        self.name = "store-12"
        self._payloads = [payload_of(picture) for picture in pictures]
        self._vectors = np.array([embedding(picture.data) for picture in pictures])
        self._pipelines = pipelines
        self._times_ms: dict[str, list[dict[str, float]]] = {name: [] for name in pipelines}
        self._failures = dict.fromkeys(pipelines, 0)
        self._started_at = SYSTEM.wall()
        self.mesh: dict[str, Any] = {"site": None}
        self.searched: dict[str, Any] = SEARCHED
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
            "/api/mesh": lambda: self.mesh,
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
        how = {"node": "store-12", "stages": stages, "cache": None, "search": self.searched}
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
        told = {"name": self.name, "version": "0.1.0", "started_at": self._started_at, "uptime_s": uptime_s}
        return told | {"ready": True, "listen": "127.0.0.1:8642"}

    def _model(self) -> dict[str, Any]:
        runs = sum(map(len, self._times_ms.values()))
        rest = {"layer_count": len(MODEL["layers"]), "macs": sum(layer["macs"] for layer in MODEL["layers"])}
        told = {key: value for key, value in MODEL.items() if key != "layers"} | rest
        return told | {"instances": {"min": 1, "max": 2, "busy": 0}, "runs": runs, "number": 1, "quarantine": None}

    def _collection(self) -> dict[str, Any]:
        count = len(self._payloads)
        told = {"name": "frames", "points_count": count, "indexed_vectors_count": count, "size": 1280}
        vector = {"name": "", "size": 1280, "distance": "Cosine", "is_multi": False, "models": []}
        told |= {"is_spread": False, "vectors": [vector], "migration": None}
        return told | {"distance": "Cosine", "status": "ok", "epoch": count}

    def _pipeline(self, name: str) -> dict[str, Any]:
        names = PIPELINES[name]
        steps = [
            {"name": step, "sources": [names[i - 1] if i else "input"], **STEPS[step]} for i, step in enumerate(names)
        ]
        told = {"name": name, "takes": steps[0]["takes"], "gives": steps[-1]["gives"], "steps": steps}
        rows = self._times_ms[name]
        counts = {"requests": len(rows) + self._failures[name], "failures": self._failures[name], "refused": 0}
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


def payload_of(picture: Shown) -> dict[str, Any]:
    """Source, seconds and a small JPEG as a data URL."""
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
