"""Compressed bodies, in and out: gzip and deflate (which HTTP means as zlib's format), within the bounds of a body."""

import zlib

from littoral.errors import InputError, NotOfferedError, TooLargeError
from littoral.web.messages import Headers

__all__ = ["compressed", "decompressed", "encoding_of", "wanted_encoding"]

WINDOW_BITS = {"gzip": 31, "deflate": 15}
LEVEL = 1  # tensors compress little: what time there is goes to the model


def encoding_of(headers: Headers) -> str:
    """How the body is compressed, '' if it is not. Raises NotOfferedError for anything but gzip and deflate."""
    encoding = str(headers.get("content-encoding", "")).strip().lower()
    if encoding in ("", "identity"):
        return ""
    if encoding not in WINDOW_BITS:
        raise NotOfferedError(f"body is encoded as `{encoding[:40]}`", hint="send it as gzip, deflate or as it is")
    return encoding


def wanted_encoding(headers: Headers) -> str:
    """The one encoding that a caller asks for by name, else ''.

    Who lists several takes any answer, which is what HTTP libraries do by themselves: such an answer stays as it is.
    """
    wanted = str(headers.get("accept-encoding", "")).strip().lower()
    return wanted if wanted in WINDOW_BITS else ""


def decompressed(data: bytes, encoding: str, bytes_max: int) -> bytes:
    """Raises InputError for what is not compressed so or is cut off, TooLargeError as soon as it is over the bound."""
    found = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        whole = found.decompress(data, bytes_max + 1)
    except zlib.error as error:
        raise InputError(f"body is no {encoding}: {error}") from error
    if len(whole) > bytes_max:
        raise TooLargeError(f"body has more than {bytes_max} bytes when it is decompressed, at most {bytes_max}")
    if not found.eof or found.unused_data:
        what = "is cut off" if not found.eof else f"has {len(found.unused_data)} bytes behind its end"
        raise InputError(f"body: {encoding} {what}")
    return whole


def compressed(data: bytes, encoding: str) -> bytes:
    """The same bytes for the same data."""
    found = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[encoding])
    return found.compress(data) + found.flush()
