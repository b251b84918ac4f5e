"""The door to Ed25519 for what is signed: keys in the forms that tools write them, signatures, and who made them.

Raw keys are those of wasmsign2: `01` and 32 bytes, or `81`, the 32 bytes of the seed and those of the public key. PEM,
DER and OpenSSH's are read too.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from littoral.errors import InputError

__all__ = ["KEY_BYTES_MAX", "PublicKey", "SecretKey", "read_public_key", "read_secret_key"]

KEY_BYTES_MAX = 8192
PUBLIC, SECRET = b"\x01", b"\x81"
SEED_BYTES = PUBLIC_BYTES = 32
KEY_ID_BYTES = 12
HINT = "make one with `littoral keys new`"

_PUBLIC_FORMS: Sequence[Callable[[bytes], object]] = (load_pem_public_key, load_der_public_key, load_ssh_public_key)
_SECRET_FORMS: Sequence[Callable[[bytes, None], object]] = (
    load_pem_private_key,
    load_der_private_key,
    load_ssh_private_key,
)


class PublicKey(NamedTuple):
    """data: 32 bytes."""

    data: bytes

    @property
    def key_id(self) -> bytes:
        """What a signature names its key by: 12 bytes, as wasmsign2 makes them."""
        return hmac.new(self.data, b"key_id", hashlib.sha256).digest()[:KEY_ID_BYTES]

    @property
    def raw(self) -> bytes:
        """As wasmsign2 writes it."""
        return PUBLIC + self.data

    @property
    def pem(self) -> bytes:
        """As OpenSSL writes it."""
        key = Ed25519PublicKey.from_public_bytes(self.data)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, of this message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.data).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class SecretKey(NamedTuple):
    """seed: 32 bytes. Not told by `repr`."""

    seed: bytes

    def __repr__(self) -> str:
        return f"SecretKey(of {self.public.key_id.hex()})"

    @classmethod
    def new(cls) -> "SecretKey":
        """By the system's randomness."""
        return _secret(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """Its other half."""
        return PublicKey(self._key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @property
    def raw(self) -> bytes:
        """As wasmsign2 writes it."""
        return SECRET + self.seed + self.public.data

    @property
    def pem(self) -> bytes:
        """PKCS #8, not encrypted: for a file that only its owner may read."""
        return self._key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key().sign(message)

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def read_public_key(data: bytes) -> PublicKey:
    """Raw, PEM, DER or OpenSSH. Raises InputError for anything else, a secret key among it."""
    if len(data) == 1 + PUBLIC_BYTES and data[:1] == PUBLIC:
        return PublicKey(data[1:])
    for read in _PUBLIC_FORMS:
        if (key := _read(read, data)) is None:
            continue
        if isinstance(key, Ed25519PublicKey):
            return PublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
        raise InputError("a public key of another kind, expected Ed25519", hint=HINT)
    raise InputError("not a public key, expected Ed25519 as PEM, DER, OpenSSH's or wasmsign2's", hint=HINT)


def read_secret_key(data: bytes) -> SecretKey:
    """As `read_public_key`, of a key that is not encrypted."""
    if len(data) == 1 + SEED_BYTES + PUBLIC_BYTES and data[:1] == SECRET:
        key = SecretKey(data[1 : 1 + SEED_BYTES])
        if key.public.data != data[1 + SEED_BYTES :]:
            raise InputError("a secret key whose public half is another's", hint=HINT)
        return key
    for read in _SECRET_FORMS:
        if (found := _read(read, data, None)) is None:
            continue
        if isinstance(found, Ed25519PrivateKey):
            return _secret(found)
        raise InputError("a secret key of another kind, expected Ed25519", hint=HINT)
    raise InputError(
        "not a secret key, expected Ed25519 as PEM, DER, OpenSSH's or wasmsign2's, not encrypted", hint=HINT
    )


def _read(read: Callable[..., object], data: bytes, *more: None) -> object | None:
    try:
        return read(data[:KEY_BYTES_MAX], *more)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _secret(key: Ed25519PrivateKey) -> SecretKey:
    return SecretKey(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
