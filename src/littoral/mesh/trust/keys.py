"""The door to keys: Ed25519 signs for a site, P-256 proves a node's name and opens what is sealed to it.

A node's key is P-256, because every TLS library takes it. What a key signs begins with what it is for, so that a
signature made for one purpose is none for another, nor for a certificate, which begins with 0x30.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from littoral.errors import TrustError

__all__ = [
    "IssuingKey",
    "IssuingPublicKey",
    "NodeKey",
    "NodePublicKey",
    "issuing_key_of",
    "issuing_keys_of",
    "new_issuing_key",
    "new_node_key",
    "node_key_of",
    "pem_of",
    "public_digest",
    "seal",
    "sign",
    "unseal",
    "verify",
]

IssuingKey = ed25519.Ed25519PrivateKey
IssuingPublicKey = ed25519.Ed25519PublicKey
NodeKey = ec.EllipticCurvePrivateKey
NodePublicKey = ec.EllipticCurvePublicKey

PEM_BYTES_MAX = 8192
PEM_BEGIN = b"-----BEGIN "
"""Of a block; files of keys hold nothing else."""
POINT_BYTES = 65
_SEAL = b"littoral seal 1\n"
# The key of each seal is used once, so its nonce may be constant.
_NONCE = bytes(12)
_ECDSA = ec.ECDSA(hashes.SHA256())


def new_issuing_key() -> IssuingKey:
    """Of a root or an issuer."""
    return ed25519.Ed25519PrivateKey.generate()


def new_node_key() -> NodeKey:
    """Of a node."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: IssuingKey | NodeKey) -> bytes:
    """PKCS #8, not encrypted: for a file that only its owner may read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def issuing_key_of(pem: bytes) -> IssuingKey:
    """Raises TrustError for anything else."""
    key = _key_of(pem)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TrustError("not an issuing key: it is not Ed25519")
    return key


def issuing_keys_of(pem: bytes) -> list[IssuingKey]:
    """As many as there are, one after another. Raises TrustError for anything else, and for none."""
    blocks = pem[:PEM_BYTES_MAX].split(PEM_BEGIN)[1:]
    if not blocks:
        raise TrustError("not a private key in PEM")
    return [issuing_key_of(PEM_BEGIN + block) for block in blocks]


def node_key_of(pem: bytes) -> NodeKey:
    """Raises TrustError for anything else."""
    key = _key_of(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TrustError("not a node's key: it is not P-256")
    return key


def public_digest(key: NodePublicKey | IssuingPublicKey) -> str:
    """SHA-256 of the public key as X.509 writes it, in hexadecimal."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def sign(key: IssuingKey | NodeKey, purpose: str, data: bytes) -> bytes:
    """purpose: one line."""
    signed = _for_purpose(purpose, data)
    return key.sign(signed) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(signed, _ECDSA)


def verify(key: IssuingPublicKey | NodePublicKey, purpose: str, data: bytes, signature: bytes) -> None:
    """Raises TrustError unless the key signed the data for this purpose."""
    signed = _for_purpose(purpose, data)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, _ECDSA)
    except InvalidSignature:
        raise TrustError(f"the signature for `{purpose}` does not match") from None


def seal(recipient: NodePublicKey, data: bytes) -> bytes:
    """That only the holder of the recipient's key can read: ECDH with a key of its own, HKDF-SHA256, AES-256-GCM."""
    once = new_node_key()
    point = _point(once.public_key())
    key = _sealing_key(once.exchange(ec.ECDH(), recipient), point, recipient)
    return point + AESGCM(key).encrypt(_NONCE, data, _SEAL)


def unseal(key: NodeKey, sealed: bytes) -> bytes:
    """Raises TrustError for what was not sealed to this key, or was changed."""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[:POINT_BYTES])
        shared = _sealing_key(key.exchange(ec.ECDH(), point), sealed[:POINT_BYTES], key.public_key())
        return AESGCM(shared).decrypt(_NONCE, sealed[POINT_BYTES:], _SEAL)
    except (InvalidTag, ValueError) as error:
        raise TrustError("the seal was not made for this node's key, or was changed") from error


def _key_of(pem: bytes) -> object:
    try:
        return serialization.load_pem_private_key(pem[:PEM_BYTES_MAX], password=None)
    except (ValueError, TypeError) as error:
        raise TrustError("not a private key in PEM") from error


def _for_purpose(purpose: str, data: bytes) -> bytes:
    return b"littoral " + purpose.encode() + b"\n" + data


def _point(key: NodePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _sealing_key(shared: bytes, point: bytes, recipient: NodePublicKey) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=_SEAL + point + _point(recipient)).derive(shared)
