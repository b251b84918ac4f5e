"""The section `signature`: what is signed of a module, and by whom (WebAssembly tool conventions, Signatures).

A block lists hashes of the module up to each delimiter, the last one of all of it, and signatures of that list. The
convention and wasmsign2 write blocks differently: the latter puts the length in bytes before each block and each
signature. Both are read, the latter is written.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from littoral.artifact.sections import HEADER, leb_u32, read_u32, sections
from littoral.errors import ArtifactError

__all__ = [
    "SIGNATURE_SECTION",
    "Block",
    "Signature",
    "canonical",
    "hash_of",
    "message_of",
    "read_signatures",
    "split_signature",
    "write_signatures",
]

SIGNATURE_SECTION = "signature"
PREFIX = b"\x01\x01\x01"
"""Version of the form, content: WebAssembly, hash: SHA-256."""

PURPOSE = b"wasmsig"
HASH_BYTES = 32
ED25519 = 1
HASHES_MAX, SIGNATURES_MAX = 64, 256
KEY_ID_BYTES_MAX, VALUE_BYTES_MAX, PART_BYTES_MAX = 64, 1024, 1 << 20

_T = TypeVar("_T")


class Signature(NamedTuple):
    """key_id: empty where it names none. value: of the algorithm, Ed25519 = 64 bytes."""

    key_id: bytes
    algorithm: int
    value: bytes


class Block(NamedTuple):
    """Hashes that are signed together."""

    hashes: tuple[bytes, ...]
    signatures: tuple[Signature, ...]


def message_of(hashes: Sequence[bytes]) -> bytes:
    """What is signed."""
    return PURPOSE + PREFIX + b"".join(hashes)


def hash_of(content: bytes | memoryview) -> bytes:
    """SHA-256 of what follows the signature's section: of all of it, whatever delimiters say."""
    return hashlib.sha256(content).digest()


def split_signature(wasm: bytes) -> tuple[bytes | None, int]:
    """The payload of the section, and where what it signs begins. None where it is not the module's first section.

    Raises ArtifactError for what is no module.
    """
    first = next(sections(wasm), None)
    if first is None or first.id != 0 or first.name != SIGNATURE_SECTION:
        return None, len(HEADER)
    return wasm[first.start : first.stop], first.stop


def canonical(wasm: bytes) -> bytes:
    """The module with the length of each section in its shortest form, as tools write them that read it section by
    section. Raises ArtifactError."""
    parts, at = [HEADER], len(HEADER)
    for section in sections(wasm):
        _, start = read_u32(wasm, at + 1, len(wasm))
        parts += (wasm[at : at + 1], leb_u32(section.stop - start), wasm[start : section.stop])
        at = section.stop
    return b"".join(parts)


def write_signatures(blocks: Sequence[Block]) -> bytes:
    """The payload, with wasmsign2's lengths."""
    return PREFIX + leb_u32(len(blocks)) + b"".join(_sized(_block_bytes(block)) for block in blocks)


def read_signatures(payload: bytes) -> list[Block]:
    """Raises ArtifactError for what neither form explains, or what is over a bound; kinds of signature that are not
    known are read, and match no key."""
    if payload[: len(PREFIX)] != PREFIX:
        raise ArtifactError(f"signature of form `{payload[: len(PREFIX)].hex()}`, expected `{PREFIX.hex()}`")
    body = payload[len(PREFIX) :]
    try:
        return _blocks(_Cursor(body), is_sized=True)
    except ArtifactError as error:
        try:
            return _blocks(_Cursor(body), is_sized=False)
        except ArtifactError:
            raise error from None


def _block_bytes(block: Block) -> bytes:
    signatures = (_sized(_signature_bytes(one)) for one in block.signatures)
    counts = leb_u32(len(block.hashes)), leb_u32(len(block.signatures))
    return counts[0] + b"".join(block.hashes) + counts[1] + b"".join(signatures)


def _signature_bytes(signature: Signature) -> bytes:
    return _sized(signature.key_id) + bytes([signature.algorithm]) + _sized(signature.value)


def _sized(data: bytes) -> bytes:
    return leb_u32(len(data)) + data


class _Cursor:
    """Goes through bytes. All raise ArtifactError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        at, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise ArtifactError(f"signature cut off: {self._at} bytes wanted, {len(self._data)} there")
        return self._data[at : self._at]

    def count(self, what: str, most: int) -> int:
        value, self._at = read_u32(self._data, self._at, len(self._data))
        if value > most:
            raise ArtifactError(f"signature with {value} {what}, at most {most}")
        return value

    def end(self) -> None:
        if self._at != len(self._data):
            raise ArtifactError(f"signature with {len(self._data) - self._at} bytes after its end")


def _blocks(cursor: _Cursor, *, is_sized: bool) -> list[Block]:
    found = [_part(cursor, is_sized, _block) for _ in range(cursor.count("blocks", SIGNATURES_MAX))]
    cursor.end()
    return found


def _block(cursor: _Cursor, is_sized: bool) -> Block:
    hashes = tuple(cursor.take(HASH_BYTES) for _ in range(cursor.count("hashes", HASHES_MAX)))
    count = cursor.count("signatures", SIGNATURES_MAX)
    return Block(hashes, tuple(_part(cursor, is_sized, _signature) for _ in range(count)))


def _signature(cursor: _Cursor, is_sized: bool) -> Signature:  # noqa: ARG001 (as `_block`)
    key_id = cursor.take(cursor.count("bytes of a key's name", KEY_ID_BYTES_MAX))
    (algorithm,) = cursor.take(1)
    return Signature(key_id, algorithm, cursor.take(cursor.count("bytes of a signature", VALUE_BYTES_MAX)))


def _part(cursor: _Cursor, is_sized: bool, read: Callable[[_Cursor, bool], _T]) -> _T:
    """A block or a signature, after its length where that is written."""
    if not is_sized:
        return read(cursor, is_sized)
    part = _Cursor(cursor.take(cursor.count("bytes in a part", PART_BYTES_MAX)))
    found = read(part, is_sized)
    part.end()
    return found
