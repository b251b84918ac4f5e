"""From the stream that a node sends to blobs and a manifest. Nothing of it is unpacked."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

import msgspec

from littoral.errors import NodeError, PeerError, SettingError
from littoral.node.backup.blobs import Blobs
from littoral.node.backup.manifest import BLOB_BYTES, HOLE, File, Manifest, check_name
from littoral.node.backup.sending import COLLECTION, END, ERROR, HEAD, SNAPSHOT, WAIT, End, Head
from littoral.vault import KeyRing

__all__ = ["received"]

FILE_COUNT_MAX = 1 << 20
READ_BYTES = 1 << 18
SMALL_BYTES_MAX = 1 << 20
ZEROS = bytes(BLOB_BYTES)

_T = TypeVar("_T")


class _Stream:
    """What `tarfile` reads a stream by."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def received(
    read: Callable[[int], bytes], blobs: Blobs, ring: KeyRing | None, *, may_be_plain: bool = False
) -> Manifest:
    """read: so many bytes at most, none at the end. Raises PeerError for a stream that is no backup or ends early,
    NodeError with what the node says, SettingError where it seals what it writes and `ring` is None.
    """
    head: Head | None = None
    end: End | None = None
    files: list[File] = []
    count = 0
    try:
        with tarfile.open(fileobj=_Stream(read), mode="r|", bufsize=READ_BYTES) as archive:  # type: ignore[call-overload]
            for entry in archive:
                if end is not None:
                    raise PeerError("backup: the stream goes on after its end")
                if entry.name == HEAD and head is None:
                    head = _decoded(archive, entry, Head)
                    if not may_be_plain:
                        _check_sealed(head, ring)
                elif entry.name == WAIT:
                    continue
                elif entry.name == ERROR:
                    raise NodeError(f"backup: the node says: {_decoded(archive, entry, dict[str, str])['error']}")
                elif head is None:
                    raise PeerError(f"backup: the stream begins with `{entry.name[:80]}`, expected `{HEAD}`")
                elif entry.name == END:
                    end = _decoded(archive, entry, End)
                else:
                    files += _files(archive, entry, blobs)
                count += entry.name not in (WAIT, END)
                if len(files) > FILE_COUNT_MAX:
                    raise PeerError(f"backup: more than {FILE_COUNT_MAX} files")
    except (tarfile.TarError, EOFError) as error:
        raise PeerError(f"backup: the stream is no tar: {error}") from error
    if head is None or end is None or end.entries != count:
        raise PeerError("backup: the stream ended before its end", hint="make it again; what arrived is not lost")
    return Manifest(head, "" if ring is None else ring.current.id.hex(), files, end.left_out)


def _check_sealed(head: Head, ring: KeyRing | None) -> None:
    if head.is_sealed and ring is None:
        raise SettingError(
            f"node `{head.node}` seals what it writes for later, and this backup would be plain",
            hint="`--keys FILE` names the keys that seal it, or say `--plain`",
        )


def _files(archive: tarfile.TarFile, entry: tarfile.TarInfo, blobs: Blobs) -> Iterator[File]:
    """One, or those of a collection's snapshot."""
    stream = _body(archive, entry)
    if not entry.name.startswith(COLLECTION):
        yield _kept(entry.name, entry, stream, blobs)
        return
    name = entry.name.removesuffix(SNAPSHOT)
    with tarfile.open(fileobj=stream, mode="r|", bufsize=READ_BYTES) as snapshot:
        for inner in snapshot:
            yield _kept(f"{name}/{inner.name}", inner, _body(snapshot, inner), blobs)


def _body(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(entry) if entry.isreg() and check_name(entry.name) else None
    if stream is None:
        raise PeerError(f"backup: `{entry.name[:80]}` is no plain file below it")
    return stream


def _kept(name: str, entry: tarfile.TarInfo, stream: IO[bytes], blobs: Blobs) -> File:
    digest = hashlib.sha256()
    names: list[str] = []
    left = entry.size
    while left:
        content = stream.read(min(left, BLOB_BYTES))
        if len(content) < min(left, BLOB_BYTES):
            raise PeerError(f"backup: the stream ended in `{name[:80]}`")
        left -= len(content)
        digest.update(content)
        names.append(HOLE if ZEROS.startswith(content) else blobs.put(content))
    return File(name, entry.size, entry.mode & 0o777, digest.hexdigest(), names)


def _decoded(archive: tarfile.TarFile, entry: tarfile.TarInfo, kind: type[_T]) -> _T:
    data: Any = _body(archive, entry).read(SMALL_BYTES_MAX)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"backup: `{entry.name}` is not as this version writes it: {error}") from error
