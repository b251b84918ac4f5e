"""Metadata that travels to where the keys are, on another machine, and signatures that come back."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from securesystemslib.signer import Signature, Signer
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from littoral.errors import InputError
from littoral.updates.metadata.roles import packed
from littoral.updates.targets import FIELD, IMAGE

__all__ = ["SignedFile", "made_elsewhere", "read_signed", "signature_of", "signed_file", "targets_named"]


class SignedFile(NamedTuple):
    """repository: `image` or `director`. role: `root` or `targets`."""

    repository: str
    role: str
    version: int
    signatures: tuple[Signature, ...]


def read_signed(data: bytes) -> SignedFile:
    """Raises InputError for what people do not sign."""
    metadata = _read(data)
    signed = metadata.signed
    repository = signed.unrecognized_fields.get(FIELD, IMAGE) if isinstance(signed, Root) else IMAGE
    return SignedFile(str(repository), signed.type, signed.version, tuple(metadata.signatures.values()))


def signed_file(data: bytes, signer: Signer) -> bytes:
    """With one signature more. Raises InputError as `read_signed`, TrustError of the signer."""
    metadata = _read(data)
    signature = signer.sign(metadata.signed_bytes)
    metadata.signatures[signature.keyid] = signature
    return packed(metadata)


def signature_of(data: bytes, signer: Signer) -> tuple[str, str]:
    """Id of the key, and its signature in hexadecimal. Raises as `signed_file`."""
    made = signer.sign(_read(data).signed_bytes)
    return made.keyid, made.signature


def made_elsewhere(key_id: str, signature: str) -> Signature:
    """As `ImageRepository.attach` takes it."""
    return Signature(key_id, signature)


def targets_named(data: bytes) -> Iterator[str]:
    """What targets list, for who is about to sign them."""
    signed = _read(data).signed
    if isinstance(signed, Targets):
        yield from (f"{name}  {target.hashes.get('sha256')}" for name, target in sorted(signed.targets.items()))


def _read(data: bytes) -> Metadata[Any]:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise InputError(f"no metadata: {error.__cause__ or error}") from error
    if isinstance(metadata.signed, Root | Targets):
        return metadata
    raise InputError(
        f"metadata of `{metadata.signed.type}`, which is signed online", hint="people sign root and targets"
    )
