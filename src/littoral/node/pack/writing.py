"""Writes a pack, as a folder or as one file that unpacks itself. The same content gives the same bytes."""

import hashlib
import os
import platform
import secrets
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

import littoral
from littoral.artifact import Store
from littoral.errors import ConflictError, TooLargeError
from littoral.node.backup.contents import LeftOut
from littoral.node.pack import start
from littoral.node.pack.contents import Wanted, check_site_fits, left_out, site_files
from littoral.node.pack.packages import Package, extras_of, fit_of, packages
from littoral.node.site import Site
from littoral.vectors.layout import sync_folder

__all__ = ["Manifest", "Packed", "check_free", "pack"]

SITE, PACKAGES = "site", "packages"
LAUNCHER, START, MAIN = "littoral", "start.py", "__main__.py"
BYTES_MAX = 8 << 30
PIECE_BYTES = 1 << 20
LEVEL = 3
"""Of the compression: 8 % larger than the usual 6, in less than half the time."""

BEGAN = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive: the first time that a zip can tell."""

SHELL = """#!/bin/sh
# {what} Needs Python {python} on {machine} with glibc {glibc} or newer; PYTHON names another interpreter.
here=$(readlink -f -- "$0") || exit 5
for python in "$PYTHON" python{python} python3 /usr/bin/python{python} /usr/local/bin/python{python}; do
  [ -n "$python" ] && python=$(command -v "$python" 2>/dev/null) || continue
  is=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
  [ "$is" = "{python}" ] && exec "$python" -I "{start}" "$@"
  found="$found $python is ${{is:-none}};"
done
echo "littoral: this pack needs Python {python}, which is not here:${{found:- there is none}}" >&2
echo "hint: install Python {python}, name it in PYTHON, or pack with the Python that this machine has" >&2
exit 5
"""


class File(msgspec.Struct, frozen=True):
    """name: in the pack's folder."""

    name: str
    size: int
    sha256: str
    mode: int


class Manifest(msgspec.Struct, frozen=True):
    """compiled: digests of modules that the installation that packed has compiled itself. node: the folder's name."""

    node: str
    site: str
    python: tuple[int, int]
    machine: str
    glibc: tuple[int, int]
    packages: dict[str, str]
    compiled: list[str]
    left_out: list[LeftOut]
    files: list[File]
    littoral: str = littoral.__version__
    format: int = start.FORMAT


class Packed(NamedTuple):
    """path: folder or file. sha256: of the manifest, which has the digests of all the rest."""

    path: Path
    manifest: Manifest
    sha256: str


class _Source(NamedTuple):
    name: str
    content: Path | bytes
    mode: int


def pack(site: Site, to: Path, *, wanted: Wanted, extras: list[str], is_file: bool) -> Packed:
    """to: not there yet. extras: beside those that the site needs. is_file: one file instead of a folder.

    Raises ConflictError, what `site_files` and `packages` raise, TooLargeError, OSError.
    """
    check_site_fits(site)
    check_free(to)
    chosen = packages({*extras_of(site), *extras})
    python, glibc = (sys.version_info[0], sys.version_info[1]), fit_of(chosen).glibc
    sources = sorted(_sources(site, chosen, wanted, python, glibc))
    files = [_measured(source) for source in sources]
    if (total := sum(file.size for file in files)) > BYTES_MAX:
        raise TooLargeError(f"the pack would take {total >> 20} MiB, at most {BYTES_MAX >> 20}")
    store = Store()
    manifest = Manifest(
        site.node.name,
        f"{SITE}/{site.file.name}",
        python,
        platform.machine(),
        glibc,
        {package.name: package.version for package in chosen},
        sorted({file.sha256 for file in files if file.name.startswith(f"{SITE}/") and store.holds(file.sha256)}),
        list(left_out(site, wanted)),
        files,
    )
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    if is_file:
        head = _shell(_told(data), "$here", python, glibc)
        _in_place(to, lambda staged: _write_file(staged, sources, head, data))
    else:
        _in_place(to, lambda staged: _write_folder(staged, sources, data))
    return Packed(to, manifest, hashlib.sha256(data).hexdigest())


def check_free(to: Path) -> None:
    """Raises ConflictError where something is there."""
    if to.exists():
        raise ConflictError(f"`{to}` is there", hint="name another place, or remove it")


def _sources(
    site: Site, chosen: list[Package], wanted: Wanted, python: tuple[int, int], glibc: tuple[int, int]
) -> Iterator[_Source]:
    for file in site_files(site, wanted):
        yield _Source(f"{SITE}/{file.name}", file.path, file.path.stat().st_mode & 0o700 | 0o600)
    for package in chosen:
        for part in package.files:
            yield _Source(f"{PACKAGES}/{part.name}", part.path, part.path.stat().st_mode & 0o111 | 0o644)
    yield _Source(LAUNCHER, _shell("Littoral, from this folder.", f"${{here%/*}}/{START}", python, glibc), 0o755)
    yield _Source(START, Path(start.__file__), 0o644)


def _shell(what: str, begins: str, python: tuple[int, int], glibc: tuple[int, int]) -> bytes:
    told = {"python": f"{python[0]}.{python[1]}", "glibc": f"{glibc[0]}.{glibc[1]}", "machine": platform.machine()}
    return SHELL.format(what=what, start=begins, **told).encode()


def _measured(source: _Source) -> File:
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(source):
        digest.update(piece)
        size += len(piece)
    return File(source.name, size, digest.hexdigest(), source.mode)


def _pieces(source: _Source) -> Iterator[bytes]:
    if isinstance(source.content, bytes):
        yield source.content
        return
    with source.content.open("rb") as stream:
        yield from iter(lambda: stream.read(PIECE_BYTES), b"")


def _in_place(to: Path, write: Callable[[Path], None]) -> None:
    """Written beside, put in place by one rename."""
    to.absolute().parent.mkdir(parents=True, exist_ok=True)
    staged = to.absolute().parent / f".{to.name}.packing-{secrets.token_hex(4)}"
    try:
        write(staged)
        staged.rename(to)
        sync_folder(to.absolute().parent)
    except BaseException:
        if staged.is_dir():
            shutil.rmtree(staged, ignore_errors=True)
        else:
            staged.unlink(missing_ok=True)
        raise


def _write_folder(folder: Path, sources: list[_Source], data: bytes) -> None:
    folder.mkdir(mode=0o700)
    for source in sources:
        path = folder / source.name
        path.parent.mkdir(parents=True, exist_ok=True)
        start.write(path, _pieces(source), source.mode)
    start.write(folder / start.MANIFEST, [data], 0o644)


def _told(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"A Littoral node in one file: unpacks itself beside it, and starts. Manifest {digest}."


def _write_file(path: Path, sources: list[_Source], head: bytes, data: bytes) -> None:
    main = Path(start.__file__).read_bytes()
    with path.open("xb") as stream:
        stream.write(head)
        with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for source in (_Source(MAIN, main, 0o644), _Source(start.MANIFEST, data, 0o644), *sources):
                entry = zipfile.ZipInfo(source.name, BEGAN)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o100000 | source.mode) << 16
                with archive.open(entry, "w", force_zip64=True) as inside:
                    for piece in _pieces(source):
                        inside.write(piece)
        stream.flush()
        os.fchmod(stream.fileno(), 0o755)
        os.fsync(stream.fileno())
