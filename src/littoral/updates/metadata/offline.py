"""Signatures that are made where the keys are, on another machine than what is signed."""

from typing import Any

from securesystemslib.signer import Signature, Signer
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from littoral.errors import InputError

__all__ = ["made_elsewhere", "signed_draft"]


def signed_draft(draft: bytes, signer: Signer) -> tuple[str, str]:
    """Id of the key and signature, in hexadecimal, of a draft of root or targets. Raises InputError."""
    try:
        found: Metadata[Any] = Metadata.from_bytes(draft)
    except DeserializationError as error:
        raise InputError(f"what is to be signed is no metadata: {error.__cause__ or error}") from error
    if not isinstance(found.signed, Root | Targets):
        raise InputError(f"metadata of {found.signed.type}, which people do not sign")
    made = signer.sign(found.signed_bytes)
    return made.keyid, made.signature


def made_elsewhere(key_id: str, signature: str) -> Signature:
    """As `ImageRepository.attach` takes it."""
    return Signature(key_id, signature)
