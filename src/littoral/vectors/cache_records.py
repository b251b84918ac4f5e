"""The two forms of a cache's file: plain, with a checksum for each record, and sealed.

Plain: `LITTORAL-CACHE-1\\n`, then records: length of the value (u32, little-endian), key (32 bytes), value, BLAKE2b of
all of these (16 bytes). Sealed: `LITTORAL-CACHE-2\\n`, id of the key and salt (`vault.sealed.Records`), then records:
length of the value, and the sealed key and value. Order is of no account: a record says itself what it is of.
"""

import hashlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

from littoral.errors import TrustError
from littoral.vault import KeyRing

if TYPE_CHECKING:
    from littoral.vault.sealed import Records

__all__ = ["MAGIC", "VALUE_BYTES_MAX", "Form", "PlainForm", "SealedForm", "form_of", "new_form"]

MAGIC, SEALED_MAGIC = b"LITTORAL-CACHE-1\n", b"LITTORAL-CACHE-2\n"
PURPOSE = "cache of embeddings"
LENGTH_BYTES = 4
KEY_BYTES = 32
SUM_BYTES = 16
VALUE_BYTES_MAX = 1 << 20


class Form(Protocol):
    """Of one file."""

    @property
    def head(self) -> bytes:
        """What the file begins with."""
        ...

    def record(self, key: bytes, value: bytes) -> bytes:
        """As it stands in the file."""
        ...

    def records(self, data: bytes) -> Generator[tuple[bytes, bytes], None, int]:
        """Keys and values in a file that begins with `head`; returns how many of its bytes were good."""
        ...


class PlainForm:
    head = MAGIC

    def record(self, key: bytes, value: bytes) -> bytes:
        told = b"".join((_length(key, value), key, value))
        return told + _sum(told)

    def records(self, data: bytes) -> Generator[tuple[bytes, bytes], None, int]:
        at = len(self.head)
        while at + LENGTH_BYTES <= len(data):
            length = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
            start = at + LENGTH_BYTES + KEY_BYTES
            stop = start + length
            if length > VALUE_BYTES_MAX or stop + SUM_BYTES > len(data):
                break
            if data[stop : stop + SUM_BYTES] != _sum(data[at:stop]):
                break
            yield data[at + LENGTH_BYTES : start], data[start:stop]
            at = stop + SUM_BYTES
        return at


class SealedForm:
    def __init__(self, records: "Records") -> None:
        self._records = records
        self.head = SEALED_MAGIC + records.head

    @property
    def is_current(self) -> bool:
        """Whether it is sealed by the key that seals now."""
        return self._records.is_current

    def record(self, key: bytes, value: bytes) -> bytes:
        return _length(key, value) + self._records.seal(key + value)

    def records(self, data: bytes) -> Generator[tuple[bytes, bytes], None, int]:
        at = len(self.head)
        while at + LENGTH_BYTES <= len(data):
            length = int.from_bytes(data[at : at + LENGTH_BYTES], "little")
            stop = at + LENGTH_BYTES + KEY_BYTES + length + self._records.EXTRA_BYTES
            if length > VALUE_BYTES_MAX or stop > len(data):
                break
            if (told := self._records.open(data[at + LENGTH_BYTES : stop])) is None:
                break
            yield told[:KEY_BYTES], told[KEY_BYTES:]
            at = stop
        return at


def new_form(ring: KeyRing | None) -> Form:
    """Of a file that is begun now."""
    if ring is None:
        return PlainForm()
    from littoral.vault.sealed import Records

    return SealedForm(Records(ring, PURPOSE, "cache"))


def form_of(data: bytes, ring: KeyRing | None) -> Form | None:
    """Of a file that is there; None for one that is none, or cannot be opened by these keys."""
    if data.startswith(MAGIC):
        return PlainForm()
    if ring is None or not data.startswith(SEALED_MAGIC):
        return None
    from littoral.vault.sealed import Records

    head = data[len(SEALED_MAGIC) : len(SEALED_MAGIC) + Records.HEAD_BYTES]
    if len(head) < Records.HEAD_BYTES:
        return None
    try:
        return SealedForm(Records(ring, PURPOSE, "cache", head))
    except TrustError:
        return None


def _length(key: bytes, value: bytes) -> bytes:
    assert len(key) == KEY_BYTES
    assert len(value) <= VALUE_BYTES_MAX
    return len(value).to_bytes(LENGTH_BYTES, "little")


def _sum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=SUM_BYTES).digest()
