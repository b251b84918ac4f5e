"""Heads of answers as bytes. Whatever a header's value is made of, it stays one line."""

from functools import lru_cache
from http import HTTPStatus

__all__ = ["CONTINUE", "LAST_CHUNK", "chunk", "head_of"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
SECURITY = (
    "server: littoral\r\n"
    "x-content-type-options: nosniff\r\n"
    "referrer-policy: no-referrer\r\n"
    "cross-origin-resource-policy: same-origin\r\n"
)
DEFAULTS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
KNOWN_MAX = 256


def head_of(
    status: int,
    media_type: str,
    headers: tuple[tuple[str, str], ...],
    *,
    date: str,
    length: int | None,
    is_chunked: bool = False,
    closes: bool = False,
) -> bytes:
    """length: of the body, None if it is not known. closes: the connection ends after this answer."""
    lines = [_begin(status, media_type, tuple(name for name, _ in headers if name in DEFAULTS)), date]
    for name, value in headers:
        if closes and name == "connection":
            continue
        lines.append(f"{name}: {value if value.isprintable() else _printable(value)}\r\n")
    if length is not None:
        lines.append(f"content-length: {length}\r\n")
    if is_chunked:
        lines.append("transfer-encoding: chunked\r\n")
    if closes:
        lines.append("connection: close\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(KNOWN_MAX)
def _begin(status: int, media_type: str, given: tuple[str, ...]) -> str:
    defaults = "".join(f"{name}: {value}\r\n" for name, value in DEFAULTS.items() if name not in given)
    kind = f"content-type: {_printable(media_type)}\r\n" if media_type else ""
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{kind}{SECURITY}{defaults}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _printable(value: str) -> str:
    return "".join(c if c.isprintable() else " " for c in value)
