"""Shapes of what is told of builds and of files that were examined, for descriptions of an API."""

from typing import Any

from littoral.web.openapi.shapes import Either, Map, Shape, Words

__all__ = ["BUILD", "EXAMINED", "PROBLEM"]

Names = list[str]
Text = str | None

PROBLEM: Shape = {"message": str, "hint": Text}
EXAMINED: Shape = {
    "kind": str,
    "file_bytes": int,
    "sha256": str,
    "is_usable": bool,
    "problems": [PROBLEM],
    "is_a?": str,
    "name?": str,
    "version?": str,
    "compiler?": str,
    "target?": str,
    "threads?": int,
    "producer?": str,
    "opset?": int,
    "nodes?": int,
    "inputs?": Names,
    "outputs?": Names,
    "variants?": list[dict[str, int]],
    "weights_bytes?": int,
    "memory_bytes?": int,
    "macs?": int,
    "deadline_ms?": float,
    "grants?": Names,
    "signed_by?": Names,
    "imports?": Names,
    "exports?": Names,
    "tried_with?": Map(list[int]),
    "operators?": [{"name": str, "count": int, "is_known": bool}],
}
BUILD: Shape = {
    "id": str,
    "file": str,
    "kind": Words(("onnx", "wasm")),
    "state": Words(("new", "building", "made", "failed", "cancelled")),
    "bytes": int,
    "feeds": int,
    "examined": EXAMINED,
    "progress": Either({"stage": str, "done": int, "total": int}, None),
    "problem": Either(PROBLEM, None),
    "report": dict[str, Any] | None,
    "loaded": Text,
    "is_kept": bool,
}
