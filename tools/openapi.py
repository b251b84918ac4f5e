"""Writes `docs/reference/openapi.json`: what a node answers over HTTP, as `GET /api/openapi.json` tells it."""

from pathlib import Path

import msgspec

from littoral.node.openapi import document

FILE = Path(__file__).resolve().parent.parent / "docs/reference/openapi.json"


def text() -> bytes:
    return msgspec.json.format(msgspec.json.encode(document()), indent=1) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(text())
