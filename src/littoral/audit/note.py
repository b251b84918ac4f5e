"""C2SP signed notes with Ed25519: a text, and below it a line for each signature; cosignatures of witnesses too.

Keys are told as Go's `note` tells them: `NAME+HASH+KEY`, the hash of eight hex digits.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from littoral.artifact.ed25519 import PublicKey, SecretKey
from littoral.errors import InputError, TrustError

__all__ = [
    "COSIGNATURE_V1",
    "NOTE_BYTES_MAX",
    "TIME_BYTES",
    "Note",
    "Signature",
    "Verifier",
    "cosign",
    "parse_note",
    "sign",
]

NOTE_BYTES_MAX = 1 << 16
SIGNATURES_MAX = 64
NAME_CHARACTERS_MAX = 255
DASH = "\N{EM DASH}"
ED25519, COSIGNATURE_V1 = 1, 4
KEY_BYTES = 32
ID_BYTES, TIME_BYTES, SIGNATURE_BYTES = 4, 8, 64
_LINE = re.compile(rf"{DASH} ([^\s+]{{1,{NAME_CHARACTERS_MAX}}}) ([A-Za-z0-9+/]+={{0,2}})")


class Verifier(NamedTuple):
    """Who signs, by name and public key. kind: ED25519 for logs, COSIGNATURE_V1 for witnesses."""

    name: str
    key: PublicKey
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """4 bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key.data).digest()[:ID_BYTES]

    def __str__(self) -> str:
        data = base64.b64encode(bytes([self.kind]) + self.key.data).decode()
        return f"{self.name}+{self.key_id.hex()}+{data}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """What `str` gave. Raises InputError."""
        name, _, rest = text.strip().partition("+")
        key_hash, _, data = rest.partition("+")
        key = _decoded(data)
        if key is not None and len(key) == 1 + KEY_BYTES and key[0] in (ED25519, COSIGNATURE_V1):
            found = cls(checked_signer(name), PublicKey(key[1:]), key[0])
            if found.key_id.hex() == key_hash:
                return found
        raise InputError(f"key `{text.strip()[:80]}`: is no NAME+HASH+KEY of Ed25519")


class Signature(NamedTuple):
    """blob: what follows the key's id."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{DASH} {self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"


class Note(NamedTuple):
    """text: with its last newline."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    def check(self, verifier: Verifier) -> int:
        """Unix seconds of a cosignature, 0 of a log's signature. Raises TrustError unless it is there, and right."""
        found = [one for one in self.signatures if (one.name, one.key_id) == (verifier.name, verifier.key_id)]
        if len(found) != 1:
            raise TrustError(f"note: has {len(found)} signatures of `{verifier.name}` with key {verifier.key_id.hex()}")
        blob, is_cosignature = found[0].blob, verifier.kind == COSIGNATURE_V1
        at_s = int.from_bytes(blob[:TIME_BYTES], "big") if is_cosignature else 0
        message = _cosigned_text(self.text, at_s) if is_cosignature else self.text
        signed = blob[TIME_BYTES:] if is_cosignature else blob
        if len(signed) != SIGNATURE_BYTES or not verifier.key.has_signed(message.encode(), signed):
            raise TrustError(f"note: the signature of `{verifier.name}` is not of this text")
        return at_s

    def has(self, verifier: Verifier) -> bool:
        """Whether `check` finds nothing wrong."""
        try:
            self.check(verifier)
        except TrustError:
            return False
        return True

    def with_signatures(self, more: Sequence[Signature]) -> "Note":
        """Each once."""
        return self._replace(signatures=tuple(dict.fromkeys((*self.signatures, *more))))


def sign(text: str, name: str, key: SecretKey) -> Signature:
    """Of a log, over a text that ends in a newline."""
    return Signature(checked_signer(name), Verifier(name, key.public).key_id, key.sign(text.encode()))


def cosign(text: str, name: str, key: SecretKey, at_s: int) -> Signature:
    """Of a witness: cosignature/v1."""
    blob = at_s.to_bytes(TIME_BYTES, "big") + key.sign(_cosigned_text(text, at_s).encode())
    return Signature(checked_signer(name), Verifier(name, key.public, COSIGNATURE_V1).key_id, blob)


def parse_note(data: bytes, what: str) -> Note:
    """what: for messages. Raises TrustError for what is no signed note."""
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        whole = ""
    text, blank, below = whole.rpartition("\n\n")
    lines = below.split("\n")
    has_form = blank and len(data) <= NOTE_BYTES_MAX and not lines[-1] and len(lines) <= SIGNATURES_MAX + 1
    if has_form and not any(ord(c) < 0x20 and c != "\n" for c in whole):
        signatures = [_signature(line) for line in lines[:-1]]
        if signatures and None not in signatures:
            return Note(f"{text}\n", tuple(one for one in signatures if one is not None))
    raise TrustError(f"`{what}`: is no signed note")


def _signature(line: str) -> Signature | None:
    if (found := _LINE.fullmatch(line)) is None or (data := _decoded(found[2])) is None or len(data) <= ID_BYTES:
        return None
    return Signature(found[1], data[:ID_BYTES], data[ID_BYTES:])


def checked_signer(name: str) -> str:
    """The name itself. Raises InputError for one that no line of a signature has room for."""
    if _LINE.fullmatch(f"{DASH} {name} AAAA"):
        return name
    raise InputError(f"name of a signer `{name[:80]}`: must be 1 to {NAME_CHARACTERS_MAX} characters, no space, no +")


def _cosigned_text(text: str, at_s: int) -> str:
    return f"cosignature/v1\ntime {at_s}\n{text}"


def _decoded(text: str) -> bytes | None:
    """Of one way to write it only: bits that say nothing must be zero."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None
