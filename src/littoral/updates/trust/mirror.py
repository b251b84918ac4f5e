"""What a node gives to the others of its site: artifacts that it has, and answers of the orchestrator it can reach.

Nobody believes a mirror: who asks it verifies as if it had asked the orchestrator.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.errors import NotFoundError
from littoral.updates import tree
from littoral.updates.blocks import BlockList
from littoral.updates.trust.bounds import BOUNDS, Bounds
from littoral.updates.trust.transport import Transport, file_chunks

__all__ = ["Mirror", "Mirrored"]

RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})", re.ASCII)
OK, PART, AFTER_END = 200, 206, 416


class Mirrored(NamedTuple):
    """An answer. headers: beside the length, which is `length`."""

    status: int
    headers: dict[str, str]
    length: int
    body: Iterator[bytes]


class Mirror:
    """artifacts: folder of files named by their SHA-256. upstream: asked for what is not an artifact that is here."""

    def __init__(self, artifacts: Path, upstream: Transport | None = None, bounds: Bounds = BOUNDS) -> None:
        self._artifacts = artifacts
        self._upstream = upstream
        self._bounds = bounds

    def answer(self, path: str, asked_range: str | None = None) -> Mirrored:
        """Of a path below `/fleet/v1/`, and the header `Range`. Raises NotFoundError, PeerError of upstream."""
        if not tree.is_public(path):
            raise NotFoundError(f"`{path[:120]}` is no file of a fleet")
        if path.startswith(tree.TARGETS):
            return self._target(path, asked_range)
        return _whole(self._relayed(path, self._bounds.targets_bytes_max))

    def _target(self, path: str, asked_range: str | None) -> Mirrored:
        digest, _, suffix = path.removeprefix(f"{tree.TARGETS}/").partition(".")
        file = self._artifacts / digest
        if not file.is_file():
            raise NotFoundError(f"`{path}` is not here", hint="ask the orchestrator")
        if suffix == tree.BLOCKS_SUFFIX:
            return _whole(BlockList.of(file.read_bytes()).packed)
        size = file.stat().st_size
        first, end = _asked(asked_range, size)
        headers = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if first >= size > 0:
            return Mirrored(AFTER_END, headers | {"Content-Range": f"bytes */{size}"}, 0, iter(()))
        body = file_chunks(file.open("rb"), first, end)
        if (first, end) == (0, size):
            return Mirrored(OK, headers, size, body)
        return Mirrored(PART, headers | {"Content-Range": f"bytes {first}-{end - 1}/{size}"}, end - first, body)

    def _relayed(self, path: str, bytes_max: int) -> bytes:
        if self._upstream is None:
            raise NotFoundError(f"`{path}` is not here", hint="ask the orchestrator")
        data = b""
        for chunk in self._upstream.read(path):
            data += chunk
            if len(data) > bytes_max:
                raise NotFoundError(f"`{path}` has more than {bytes_max} bytes upstream")
        return data


def _whole(data: bytes) -> Mirrored:
    return Mirrored(OK, {}, len(data), iter((data,)))


def _asked(text: str | None, size: int) -> tuple[int, int]:
    """First byte and the end; all of it for what is no single range."""
    if text is None or (found := RANGE.fullmatch(text)) is None:
        return 0, size
    return int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
