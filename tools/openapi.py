"""Writes what node and orchestrator answer over HTTP, as `GET /api/openapi.json` of each tells it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from littoral.node import openapi as of_node
from littoral.orchestrator import openapi as of_orchestrator

FOLDER = Path(__file__).resolve().parent.parent / "docs/reference"
FILES: Mapping[Path, Callable[[], Mapping[str, Any]]] = {
    FOLDER / "openapi.json": of_node.document,
    FOLDER / "fleet-openapi.json": of_orchestrator.document,
}


def text(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


if __name__ == "__main__":
    for file, document in FILES.items():
        file.write_bytes(text(document()))
