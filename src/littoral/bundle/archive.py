"""A bundle as one file: a tar archive whose bytes depend on nothing but the files in it.

Entries stand in the order of their names, as regular files of nobody, of the year 1970, readable by all. `.tar.gz` is
the same packed: those bytes depend on the version of zlib, too, the archive within does not.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from littoral.errors import InputError

__all__ = ["ARCHIVE_BYTES_MAX", "SUFFIXES", "packed", "unpacked"]

SUFFIXES = (".tar", ".tar.gz")
ARCHIVE_BYTES_MAX = 512 << 20
FILES_MAX = 256
GZIP = b"\x1f\x8b"


def packed(files: Mapping[str, bytes], *, with_gzip: bool) -> bytes:
    """The archive. Names have at most 100 bytes, so that an entry is one header and its data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    found = buffer.getvalue()
    return gzip.compress(found, 9, mtime=0) if with_gzip else found


def unpacked(data: bytes) -> dict[str, bytes]:
    """Files by name. Raises InputError for an archive that is damaged, over a bound, or has more than plain files."""
    try:
        plain = _plain(data) if data.startswith(GZIP) else data
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            return _files(archive)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"archive is damaged: {error}") from error


def _plain(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        plain = stream.read(ARCHIVE_BYTES_MAX + 1)
    if len(plain) > ARCHIVE_BYTES_MAX:
        raise InputError(f"archive has more than {ARCHIVE_BYTES_MAX} bytes when unpacked")
    return plain


def _files(archive: tarfile.TarFile) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in archive:
        stream = archive.extractfile(entry) if entry.isreg() else None
        if stream is None or entry.sparse is not None or not _is_inside(entry.name):
            raise InputError(f"archive has the entry `{entry.name[:80]}`, expected plain files below one folder")
        if entry.name in found or len(found) >= FILES_MAX:
            raise InputError(f"archive has `{entry.name[:80]}` twice, or more than {FILES_MAX} files")
        found[entry.name] = stream.read()
    return found


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and ".." not in path.parts
