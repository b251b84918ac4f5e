"""Sealed files, records and values: AES-256-GCM, for files over chunks by STREAM; the one door to the ciphers.

A sealed file: `LITTORAL-SEALED-1\\n`, the key's id (8 bytes), a salt (32 random bytes), then chunks of 65536 bytes,
each with its tag of 16; the last may be shorter, and is empty only in an empty file. A file has a key of its own,
derived from the one that is named by HKDF-SHA256 over salt, head and purpose; so the nonce of a chunk is its number
(11 bytes, big-endian) and whether it is the last one (1 byte), and never comes twice under one key. A chunk that is
changed, missing, added, or stands elsewhere is found, as is a file in another's place: its purpose is another.

Construction: STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance (CRYPTO 2015), with the nonces of age's payloads. Key derivation: RFC 5869.
"""

import hashlib
import hmac
import io
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from littoral.errors import TrustError
from littoral.vault.keys import KEY_ID_BYTES, KeyRing
from littoral.vault.layout import CHUNK_BYTES, HEAD_BYTES, MAGIC, SALT_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES

__all__ = ["TOKEN_BYTES", "Records", "SealedReader", "SealedWriter", "Values", "opened", "sealed"]

NONCE_BYTES = 12
TOKEN_BYTES = 16


def _cipher(key: bytes, head: bytes, purpose: str) -> AESGCM:
    salt = head[-SALT_BYTES:]
    info = b"littoral sealed\0" + head[:-SALT_BYTES] + purpose.encode()
    return AESGCM(HKDF(SHA256(), 32, salt, info).derive(key))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(NONCE_BYTES - 1, "big") + bytes([is_last])


class SealedWriter:
    """Seals what is written into a stream; only `close` makes it whole. The stream stays open.

    purpose: what it is for; who opens it must name the same.
    """

    def __init__(self, stream: BinaryIO, ring: KeyRing, purpose: str) -> None:
        head = MAGIC + ring.current.id + secrets.token_bytes(SALT_BYTES)
        self._cipher = _cipher(ring.current.data, head, purpose)
        self._stream = stream
        self._number = 0
        self._left = bytearray()
        stream.write(head)

    def write(self, data: bytes) -> None:
        """As much as one likes."""
        self._left += data
        while len(self._left) > CHUNK_BYTES:
            self._put(bytes(self._left[:CHUNK_BYTES]), is_last=False)
            del self._left[:CHUNK_BYTES]

    def close(self) -> None:
        """Once, after everything."""
        self._put(bytes(self._left), is_last=True)

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        self._stream.write(self._cipher.encrypt(_nonce(self._number, is_last=is_last), chunk, None))
        self._number += 1


class SealedReader:
    """What is in a sealed file, in chunks or as a whole. what: the file, for messages.

    Raises TrustError for a file that is not as it was sealed, was for another purpose, or whose key is not there;
    nothing of a chunk is given before its tag was right, and at the end the whole file was as it was sealed.
    """

    def __init__(self, stream: BinaryIO, ring: KeyRing, purpose: str, what: str) -> None:
        head = stream.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
            raise TrustError(f"{what} is no sealed file")
        self.key_id = head[len(MAGIC) : len(MAGIC) + KEY_ID_BYTES]
        self._cipher = _cipher(ring.of(self.key_id, what).data, head, purpose)
        self._stream = stream
        self._what = what

    def chunks(self) -> Iterator[bytes]:
        """To the end; once."""
        number, sealed_chunk = 0, self._stream.read(SEALED_CHUNK_BYTES)
        is_last = False
        while not is_last:
            following = self._stream.read(SEALED_CHUNK_BYTES)
            is_last = not following
            chunk = self._opened(number, sealed_chunk, is_last=is_last)
            if is_last and number and not chunk:
                raise TrustError(f"{self._what} ends with an empty chunk, which nobody wrote")
            yield chunk
            number, sealed_chunk = number + 1, following

    def read(self) -> bytes:
        """All of it; for what is small."""
        return b"".join(self.chunks())

    def _opened(self, number: int, chunk: bytes, *, is_last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(number, is_last=is_last), chunk, None)
        except (InvalidTag, ValueError) as error:
            raise TrustError(
                f"{self._what} is not as it was sealed: chunk {number} of {CHUNK_BYTES} bytes",
                hint="it was changed, cut off, or belongs elsewhere: take another copy",
            ) from error


def sealed(data: bytes, ring: KeyRing, purpose: str) -> bytes:
    """Something small as the bytes of a sealed file."""
    stream = io.BytesIO()
    writer = SealedWriter(stream, ring, purpose)
    writer.write(data)
    writer.close()
    return stream.getvalue()


def opened(data: bytes, ring: KeyRing, purpose: str, what: str) -> bytes:
    """The way back. Raises as `SealedReader`."""
    return SealedReader(io.BytesIO(data), ring, purpose, what).read()


class Records:
    """Seals records of a file that only grows: AES-256-GCM with random nonces, under a key of the file's own.

    head: of the file, key id and salt; none for a new file. Records may be lost or stand in another order: what is
    sealed so must tell by itself what it is.
    Raises TrustError where the head's key is not there.
    """

    EXTRA_BYTES = NONCE_BYTES + TAG_BYTES
    HEAD_BYTES = KEY_ID_BYTES + SALT_BYTES

    def __init__(self, ring: KeyRing, purpose: str, what: str, head: bytes = b"") -> None:
        self.head = head or ring.current.id + secrets.token_bytes(SALT_BYTES)
        key = ring.of(self.head[:KEY_ID_BYTES], what)
        self.is_current = key == ring.current
        self._cipher = _cipher(key.data, self.head, purpose)

    def seal(self, record: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, record, None)

    def open(self, data: bytes) -> bytes | None:
        """None for one that is not as it was sealed."""
        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            return None


class Values:
    """Seals single values, and gives for each a token that is the same for the same value: equality can be looked for.

    A sealed value: the key's id (8 bytes), a random nonce (12), ciphertext and tag of AES-256-GCM, which is bound to
    the place that the caller names. A token: HMAC-SHA256 of the value, the first 16 bytes. Both keys are derived from
    the ring's by HKDF-SHA256 for the purpose, so values of different purposes have nothing in common. With random
    nonces one key is good for 2^32 values of one purpose (NIST SP 800-38D, 8.3).
    """

    EXTRA_BYTES = KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES

    def __init__(self, ring: KeyRing, purpose: str) -> None:
        self._ring = ring
        self._purpose = purpose
        self._ciphers: dict[bytes, AESGCM] = {}
        self._token_keys = [self._derived(key.data, b"token") for key in ring.keys]

    def seal(self, value: bytes, place: bytes) -> bytes:
        """place: what it belongs to; who opens it must name the same."""
        nonce, key = secrets.token_bytes(NONCE_BYTES), self._ring.current
        return key.id + nonce + self._cipher(key.id, "").encrypt(nonce, value, place)

    def open(self, data: bytes, place: bytes, what: str) -> bytes:
        """Raises TrustError for what was changed, belongs elsewhere, or whose key is not there. what: for messages."""
        key_id, nonce = data[:KEY_ID_BYTES], data[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES]
        try:
            return self._cipher(key_id, what).decrypt(nonce, data[KEY_ID_BYTES + NONCE_BYTES :], place)
        except (InvalidTag, ValueError) as error:
            raise TrustError(
                f"{what} is not as it was sealed", hint="it was changed, or belongs to another point or collection"
            ) from error

    def is_current(self, data: bytes) -> bool:
        """Whether the key sealed it that seals now."""
        return data[:KEY_ID_BYTES] == self._ring.current.id

    def tokens(self, value: bytes) -> list[bytes]:
        """One for each key, that of the one that seals first."""
        return [hmac.digest(key, value, hashlib.sha256)[:TOKEN_BYTES] for key in self._token_keys]

    def token(self, value: bytes) -> bytes:
        """What is stored: of the key that seals."""
        return hmac.digest(self._token_keys[0], value, hashlib.sha256)[:TOKEN_BYTES]

    def _cipher(self, key_id: bytes, what: str) -> AESGCM:
        if (cipher := self._ciphers.get(key_id)) is None:
            data = self._ring.of(key_id, what).data
            cipher = self._ciphers[key_id] = AESGCM(self._derived(data, b"value"))
        return cipher

    def _derived(self, key: bytes, use: bytes) -> bytes:
        return HKDF(SHA256(), 32, None, b"littoral " + use + b"\0" + self._purpose.encode()).derive(key)
