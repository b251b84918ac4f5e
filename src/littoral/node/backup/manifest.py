"""What one backup is made of: files by name, each a list of blobs. A line with its digest, and JSON."""

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.errors import TrustError
from littoral.node.backup.contents import LeftOut
from littoral.node.backup.sending import Head

__all__ = ["BLOB_BYTES", "HOLE", "File", "Manifest", "blob_count", "check_name", "decoded", "encoded"]

BLOB_BYTES = 1 << 20
HOLE = ""
"""In the place of a blob's name: as many zeros."""

WORD = b"littoral-backup-1 "
FIRST_LINE_BYTES = len(WORD) + 64 + 1
_BLOB = r"^([0-9a-f]{64})?\Z"

_Blob = Annotated[str, Meta(pattern=_BLOB)]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """blobs: of 1 MiB each, the last one may be smaller. sha256: of the whole file."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    mode: Annotated[int, Meta(ge=0, le=0o777)]
    sha256: _Digest
    blobs: list[_Blob]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """key: id of the key that sealed it and its blobs, in hexadecimal digits; '' if nothing is sealed.

    left_out: what the node had, and is not in it, with why.
    """

    head: Head
    key: Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?\Z")]
    files: list[File]
    left_out: list[LeftOut]
    format: Literal[1] = 1

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def blobs(self) -> set[str]:
        """Names of all that it needs."""
        return {blob for file in self.files for blob in file.blobs if blob != HOLE}

    @property
    def collections(self) -> list[str]:
        """In alphabetical order."""
        return sorted({file.name.split("/")[1] for file in self.files if file.name.startswith("collections/")})


def blob_count(size: int) -> int:
    """Of a file of this size."""
    return -(-size // BLOB_BYTES)


def encoded(manifest: Manifest) -> bytes:
    """As it is kept, sealed or not."""
    data = msgspec.json.encode(manifest)
    return WORD + hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def decoded(data: bytes, what: str) -> Manifest:
    """Raises TrustError for one that was changed, cut off, or names what no backup may."""
    first, body = data[:FIRST_LINE_BYTES], data[FIRST_LINE_BYTES:]
    if first != WORD + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise TrustError(f"{what} is not as it was written: its digest is another")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(f"{what} is no manifest of this version: {error}") from error
    for problem in _problems(manifest):
        raise TrustError(f"{what}: {problem}")
    return manifest


def _problems(manifest: Manifest) -> Iterator[str]:
    names = [file.name for file in manifest.files]
    if len(set(names)) != len(names):
        yield "names a file twice"
    for file in manifest.files:
        if not check_name(file.name):
            yield f"`{file.name[:80]}` is no name of a file"
        if len(file.blobs) != blob_count(file.size):
            yield f"`{file.name[:80]}` has {len(file.blobs)} blobs, its size needs {blob_count(file.size)}"


def check_name(name: str) -> bool:
    """Whether it is relative, plain, and stays below where it is put."""
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name and len(name) < 4096
    )
