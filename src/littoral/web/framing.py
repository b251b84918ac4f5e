"""Frames out of a body that goes on and on: each behind its length, or as parts of a multipart body, as cameras send.

Bounded: a frame by `bytes_max`, the head of a part by `HEAD_BYTES_MAX`. Bytes in, frames out; nothing is read here.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from littoral.errors import InputError, TooLargeError

__all__ = ["LENGTHS_TYPE", "Frame", "Framing", "Lengths", "Parts", "framing_of"]

LENGTHS_TYPE = "application/x-littoral-frames"
MULTIPART = "multipart/"
HEAD_BYTES_MAX = 16 << 10
BOUNDARY_CHARACTERS_MAX = 70
_LENGTH = struct.Struct("<I")
_BOUNDARY = re.compile(r'boundary=(?:"([^"]*)"|([^;\s]+))', re.IGNORECASE)


class Frame(NamedTuple):
    """id, media_type: what stands in its part's head, or ''."""

    data: bytes
    id: str = ""
    media_type: str = ""


class Framing(Protocol):
    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete. Raises InputError, TooLargeError."""
        ...

    def end(self) -> None:
        """Raises InputError if the body ended within a frame."""
        ...


def framing_of(content_type: str, bytes_max: int) -> Framing:
    """For a body of this Content-Type. Raises InputError for another than those two."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == LENGTHS_TYPE:
        return Lengths(bytes_max)
    found = _BOUNDARY.search(content_type)
    boundary = (found[1] or found[2] or "") if found else ""
    if media_type.startswith(MULTIPART) and 0 < len(boundary) <= BOUNDARY_CHARACTERS_MAX and boundary.isascii():
        return Parts(boundary, bytes_max)
    raise InputError(
        f"content type is `{content_type[:80]}`, must be `{LENGTHS_TYPE}` or `multipart/mixed; boundary=…`"
    )


class Lengths:
    """Each frame behind its length, 4 bytes, little-endian."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._unread = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._unread += data
        while len(self._unread) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._unread)
            if size > self._bytes_max:
                raise _too_large(size, self._bytes_max)
            end = _LENGTH.size + size
            if len(self._unread) < end:
                return
            frame = bytes(memoryview(self._unread)[_LENGTH.size : end])
            del self._unread[:end]
            yield Frame(frame)

    def end(self) -> None:
        if self._unread:
            raise InputError(f"body ended within a frame, after {len(self._unread)} bytes of it")


class Parts:
    """Parts of a multipart body. A part with a Content-Length is taken by it, any other up to the next boundary."""

    def __init__(self, boundary: str, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._mark = b"--" + boundary.encode()
        self._unread = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        if self._is_over:
            return
        self._unread += data
        while not self._is_over:
            if self._head is None and not self._read_head():
                return
            if self._head is not None:
                if (frame := self._read_data(self._head)) is None:
                    return
                self._head = None
                yield frame

    def end(self) -> None:
        if not self._is_over and (self._head is not None or bytes(self._unread).strip()):
            raise InputError("body ended within a part")

    def _read_head(self) -> bool:
        """Whether there is anything to go on with: the head of a part, or the mark of the end."""
        start = self._unread.find(self._mark)
        end = self._unread.find(b"\r\n\r\n", max(start, 0))
        after = start + len(self._mark)
        if start >= 0 and self._unread[after : after + 2] == b"--":
            self._is_over = True
            return True
        if start < 0 or end < 0:
            if len(self._unread) > HEAD_BYTES_MAX:
                raise InputError(f"part: no head within {HEAD_BYTES_MAX} bytes")
            return False
        if bytes(self._unread[:start]).strip():
            raise InputError("multipart body does not begin with its boundary")
        self._head = _read_head(bytes(self._unread[after:end]), self._bytes_max)
        del self._unread[: end + 4]
        self._searched = 0
        return True

    def _read_data(self, head: "_Head") -> Frame | None:
        if head.size is not None:
            if len(self._unread) < head.size:
                return None
            return self._taken(head, head.size, head.size)
        mark = b"\r\n" + self._mark
        found = self._unread.find(mark, self._searched)
        if found > self._bytes_max or (found < 0 and len(self._unread) - len(mark) > self._bytes_max):
            raise _too_large(len(self._unread), self._bytes_max)
        if found < 0:
            self._searched = max(0, len(self._unread) - len(mark))
            return None
        return self._taken(head, found, found + 2)

    def _taken(self, head: "_Head", size: int, until: int) -> Frame:
        frame = Frame(bytes(memoryview(self._unread)[:size]), head.id, head.media_type)
        del self._unread[:until]
        return frame


class _Head(NamedTuple):
    size: int | None
    id: str
    media_type: str


def _read_head(data: bytes, bytes_max: int) -> _Head:
    found: dict[str, str] = {}
    for line in data.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    size: int | None = None
    if (text := found.get("content-length")) is not None:
        if not (text.isascii() and text.isdecimal() and len(text) < 12):
            raise InputError(f"part: content-length is `{text[:40]}`")
        if (size := int(text)) > bytes_max:
            raise _too_large(size, bytes_max)
    media_type = found.get("content-type", "").partition(";")[0].strip().lower()
    return _Head(size, found.get("littoral-id", "")[:1024], media_type)


def _too_large(size: int, bytes_max: int) -> TooLargeError:
    return TooLargeError(f"frame has {size} bytes or more, at most {bytes_max}")
