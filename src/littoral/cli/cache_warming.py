"""Answers from a file of JSON lines to a gateway, in batches; where it was interrupted it goes on.

How far it came stands beside the file, in `FILE.sent`: the bytes that were taken, and a digest of the file's beginning,
so that another file of that name begins anew. It is written after each batch that the node has made durable.
"""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from littoral.errors import InputError, NotFoundError
from littoral.node.client import NodeClient

__all__ = ["Lines", "Sent", "warm_lines"]

PATH = "/api/gateway/import"
BATCH_LINES = 64
BATCH_BYTES = 4 << 20
LINE_BYTES_MAX = 1 << 20
BEGINNING_BYTES = 4096
SAID_EVERY = 16
"""Batches between two lines of progress."""


class Sent(NamedTuple):
    """lines: that were read. refused: of these, those that are not kept."""

    lines: int
    kept: int
    refused: int


class Batch(NamedTuple):
    """end: in the file, in bytes. first: number of its first line."""

    body: bytes
    line_count: int
    first: int
    end: int


class Lines:
    """The lines of a file, with what the command line says of all of them. Raises NotFoundError, InputError."""

    def __init__(
        self,
        file: Path,
        *,
        tags: tuple[str, ...] = (),
        tier: str | None = None,
        limit: int = 0,
        is_again: bool = False,
    ) -> None:
        if not file.is_file():
            raise NotFoundError(f"`{file}`: is no file")
        self.file = file
        self._mark = file.with_name(file.name + ".sent")
        self._tags, self._tier, self._limit = tags, tier, limit
        self.begin, self.begun_lines = (0, 0) if is_again else self._told()

    @property
    def size_bytes(self) -> int:
        return self.file.stat().st_size

    def batches(self) -> Iterator[Batch]:
        """From where it was interrupted. Raises InputError for a line that is no object, or too long."""
        first, lines, begin, size = self.begun_lines + 1, list[bytes](), self.begin, 0
        for number, line in self._read():
            wanted = self._line(line, number)
            if lines and (len(lines) == BATCH_LINES or size + len(wanted) > BATCH_BYTES):
                yield Batch(b"".join(lines), len(lines), first, begin)
                first, lines, size = number, [], 0
            lines.append(wanted)
            size += len(wanted)
            begin += len(line)
        if lines:
            yield Batch(b"".join(lines), len(lines), first, begin)

    def _read(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are whole: the last one of a log may still be written."""
        last = self.begun_lines + self._limit if self._limit else math.inf
        with self.file.open("rb") as stream:
            stream.seek(self.begin)
            for number in itertools.count(self.begun_lines + 1):
                line = stream.readline(LINE_BYTES_MAX + 1)
                if not line or number > last:
                    return
                if len(line) > LINE_BYTES_MAX:
                    raise InputError(f"`{self.file}`: line {number} has more than {LINE_BYTES_MAX:,} bytes")
                if not line.endswith(b"\n") and not line.rstrip().endswith(b"}"):
                    return
                yield number, line

    def sent(self, batch: Batch) -> None:
        """It needs not be sent again."""
        lines = batch.first + batch.line_count - 1
        told = {"bytes": batch.end, "lines": lines, "beginning": self._beginning(batch.end)}
        fresh = self._mark.with_name(self._mark.name + ".new")
        with fresh.open("w") as stream:
            json.dump(told, stream)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._mark)

    def _line(self, line: bytes, number: int) -> bytes:
        """As the node takes it. A blank line stays one, so that numbers are those of the file."""
        if not line.strip():
            return b"\n"
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"`{self.file}`: line {number} is no JSON: {error}") from error
        if not isinstance(told, dict):
            raise InputError(f"`{self.file}`: line {number} is no object")
        if self._tags:
            own = told.get("tags", [])
            told["tags"] = [*own, *(tag for tag in self._tags if tag not in own)] if isinstance(own, list) else own
        if self._tier is not None:
            told["tier"] = self._tier
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"

    def _told(self) -> tuple[int, int]:
        try:
            told = json.loads(self._mark.read_bytes())
            at, lines = int(told["bytes"]), int(told["lines"])
            is_this = 0 <= at <= self.size_bytes and told["beginning"] == self._beginning(at)
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        return (at, lines) if is_this else (0, 0)

    def _beginning(self, end: int) -> str:
        with self.file.open("rb") as stream:
            return hashlib.sha256(stream.read(min(end, BEGINNING_BYTES))).hexdigest()


def warm_lines(client: NodeClient, lines: Lines, say: Callable[[str], object]) -> Sent:
    """Raises as the client does; what was sent before is kept, and is not sent again."""
    kept = refused = count = 0
    if lines.begun_lines:
        say(f"goes on after line {lines.begun_lines:,}; --again begins anew")
    for number, batch in enumerate(lines.batches(), 1):
        told: Mapping[str, Any] = client.call("POST", PATH, batch.body, media_type="application/x-ndjson")
        kept, refused, count = kept + told["kept"], refused + told["refused"], count + batch.line_count
        if told["line"] is not None:
            say(f"line {batch.first + told['line'] - 1:,} is refused: {told['why']}")
        lines.sent(batch)
        if number % SAID_EVERY == 0:
            say(f"{batch.end / max(1, lines.size_bytes):.0%}, {lines.begun_lines + count:,} lines, {kept:,} kept")
    return Sent(count, kept, refused)
