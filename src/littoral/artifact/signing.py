"""Modules that carry signatures, and who signed them: of all of the module, or it counts for nothing.

The convention lets a signature cover the module up to a delimiter. Bytes after the last delimiter, or of a module
without one, are compared with nothing then. Here only a signed hash of everything is a signature.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from littoral.artifact.ed25519 import PublicKey, SecretKey
from littoral.artifact.sections import HEADER, custom_section_bytes
from littoral.artifact.signatures import (
    ED25519,
    SIGNATURE_SECTION,
    Block,
    Signature,
    canonical,
    hash_of,
    message_of,
    read_signatures,
    split_signature,
    write_signatures,
)
from littoral.errors import InputError, TrustError

__all__ = ["Signers", "key_ids", "signature_for", "signed", "who_signed"]


class Signers(NamedTuple):
    """Whose signatures a module needs. threshold: by how many of the keys.

    accepts_own: what this installation compiled needs none.
    """

    keys: tuple[PublicKey, ...]
    threshold: int = 1
    accepts_own: bool = False

    def check(self, wasm: bytes, detached: bytes | None = None) -> tuple[PublicKey, ...]:
        """Those that signed it. Raises TrustError where they are too few, ArtifactError for what is no module."""
        found = who_signed(wasm, self.keys, detached)
        if len(found) >= self.threshold:
            return found
        carried = ", ".join(key_id.hex() for key_id in key_ids(wasm, detached)) or "none"
        wanted = ", ".join(key.key_id.hex() for key in self.keys)
        raise TrustError(
            f"signed by {len(found)} of the keys {wanted}, needs {self.threshold}; signatures in it: {carried}",
            hint="sign it with `littoral sign`; one that was changed after it was signed counts for nothing",
        )


def signed(wasm: bytes, keys: Sequence[SecretKey]) -> bytes:
    """The module with these signatures beside those it has; its sections' lengths in their shortest form.

    Raises InputError for a signature of other bytes that it carries, ArtifactError for what is no module.
    """
    wasm = canonical(wasm)
    payload, at = split_signature(wasm)
    content = wasm[at:]
    return HEADER + custom_section_bytes(SIGNATURE_SECTION, _with_signatures(payload, content, keys)) + content


def signature_for(wasm: bytes, keys: Sequence[SecretKey], detached: bytes | None = None) -> bytes:
    """For a file beside the module, as it is. detached: the signatures that are there. Raises as `signed`."""
    if split_signature(wasm)[0] is not None:
        raise InputError("it carries a signature already", hint="sign it without `--detached`")
    return _with_signatures(detached, wasm[len(HEADER) :], keys)


def who_signed(wasm: bytes, keys: Sequence[PublicKey], detached: bytes | None = None) -> tuple[PublicKey, ...]:
    """Those of the keys that signed everything in it. detached: what lies beside a module that carries none.

    Raises ArtifactError.
    """
    payload, at = split_signature(wasm)
    payload = detached if payload is None else payload
    if payload is None:
        return ()
    whole = hash_of(memoryview(wasm)[at:])
    covering = [block for block in read_signatures(payload) if whole in block.hashes]
    return tuple(key for key in keys if any(_is_signed_by(key, block) for block in covering))


def key_ids(wasm: bytes, detached: bytes | None = None) -> list[bytes]:
    """Names of keys that its signatures give, whether they are right or not. Raises ArtifactError."""
    payload = split_signature(wasm)[0] or detached
    blocks = [] if payload is None else read_signatures(payload)
    return list(dict.fromkeys(one.key_id for block in blocks for one in block.signatures))


def _with_signatures(payload: bytes | None, content: bytes, keys: Sequence[SecretKey]) -> bytes:
    whole = hash_of(content)
    blocks = [] if payload is None else read_signatures(payload)
    if any(whole not in block.hashes for block in blocks):
        raise InputError(
            "it carries a signature of other bytes: it was changed after it was signed",
            hint="`--replace` signs what is there now",
        )
    own = next((block for block in blocks if block.hashes == (whole,)), Block((whole,), ()))
    added = tuple(_signature(key, own) for key in keys if not _is_signed_by(key.public, own))
    kept = [block for block in blocks if block is not own]
    return write_signatures([*kept, Block(own.hashes, own.signatures + added)])


def _signature(key: SecretKey, block: Block) -> Signature:
    return Signature(key.public.key_id, ED25519, key.sign(message_of(block.hashes)))


def _is_signed_by(key: PublicKey, block: Block) -> bool:
    message = message_of(block.hashes)
    return any(key.has_signed(message, one.value) for one in _of_key(key, block))


def _of_key(key: PublicKey, block: Block) -> Iterator[Signature]:
    """A signature without a name may be anybody's."""
    for one in block.signatures:
        if one.algorithm == ED25519 and one.key_id in (b"", key.key_id):
            yield one
