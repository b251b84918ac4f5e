"""Starts a pack; it stands in every pack, and runs before anything of Littoral can be imported.

In a folder: looks at the machine, at the first start also at every byte, and becomes `littoral`. In a file that unpacks
itself: puts the folder in place as a whole first. Standard library only.
"""

from __future__ import annotations  # an older Python must get as far as to say that it is too old

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MANIFEST = "pack.json"
MANIFEST_BYTES_MAX = 1 << 26
FORMAT = 1
PIECE_BYTES = 1 << 20
SPARE_BYTES = 64 << 20
VERIFIED = "verified"
AGAIN = "copy the pack once more"

USAGE, INPUT, MACHINE, TRUST = 2, 4, 5, 7
"""Exit codes, as those of `littoral`."""


class PackError(Exception):
    """code: with which the process ends. hint: what to do, or ''."""

    def __init__(self, code: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def main(arguments: list[str]) -> None:
    """Becomes `littoral`; without arguments, `littoral up` of the site in the pack."""
    source = Path(sys.argv[0]).absolute()
    try:
        if zipfile.is_zipfile(source):
            folder, arguments = unpacked(source, arguments)
        else:
            folder = source.parent
        run(folder, arguments)
    except PackError as error:
        _end(error.code, str(error), error.hint)
    except (OSError, zipfile.BadZipFile) as error:
        _end(MACHINE, str(error))


def _end(code: int, message: str, hint: str = "") -> None:
    sys.stderr.write(f"littoral: {message}\n" + (f"hint: {hint}\n" if hint else ""))
    sys.exit(code)


def run(folder: Path, arguments: list[str]) -> None:
    """In place of this process, with state and caches inside the folder unless the environment names others."""
    data = read(folder / MANIFEST)
    manifest = understood(data)
    check_machine(manifest)
    variables = os.environ  # noqa: TID251 (it is written, for the process that this becomes)
    state = variables.setdefault("LITTORAL_STATE", str(folder / "state"))
    variables.setdefault("LITTORAL_CACHE", str(folder / "cache"))
    first_start(folder, manifest, Path(state), hashlib.sha256(data).hexdigest())
    if not arguments or arguments == ["up"]:
        arguments = ["up", str(folder / manifest["site"])]
    variables.update(PYTHONPATH=str(folder / "packages"), PYTHONNOUSERSITE="1")
    os.execv(sys.executable, [sys.executable, "-P", "-m", "littoral", *arguments])  # noqa: S606


def first_start(folder: Path, manifest: dict[str, Any], state: Path, digest: str) -> None:
    """Every byte is looked at once; then this installation trusts the models that the one that packed has compiled."""
    stamp = state / VERIFIED
    with contextlib.suppress(OSError):
        if read(stamp) == digest.encode():
            return
    for file in manifest["files"]:
        found = digest_of(folder / file["name"])
        if found != file["sha256"]:
            told = f"its SHA-256 is `{found}`, expected `{file['sha256']}`" if found else "it is missing"
            raise PackError(TRUST, f"`{file['name']}` is not what was packed: {told}", AGAIN)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder / "packages"))
    from littoral.artifact.store import Store

    store = Store(state)
    for compiled in manifest["compiled"]:
        store.record(compiled)
    stamp.unlink(missing_ok=True)
    write(stamp, [digest.encode()], 0o600)


def unpacked(source: Path, arguments: list[str]) -> tuple[Path, list[str]]:
    """The folder, beside the file unless `--to FOLDER` is said, and the other arguments."""
    to: Path | None = None
    if arguments[:1] == ["--to"]:
        if len(arguments) < 2:
            raise PackError(USAGE, "`--to` needs a folder")
        to, arguments = Path(arguments[1]).absolute(), arguments[2:]
    with zipfile.ZipFile(source) as archive:
        with archive.open(MANIFEST) as stream:
            data = stream.read(MANIFEST_BYTES_MAX + 1)
        manifest = understood(data)
        check_machine(manifest)
        folder = to or source.parent / manifest["node"]
        if (folder / MANIFEST).exists():
            if read(folder / MANIFEST) != data:
                raise PackError(INPUT, f"`{folder}` holds another pack", "unpack beside it with `--to FOLDER`")
        elif folder.is_dir() and any(folder.iterdir()):
            raise PackError(INPUT, f"`{folder}` is there and not empty", "name another with `--to FOLDER`")
        else:
            unpack(archive, data, manifest, folder)
    return folder, arguments


def unpack(archive: zipfile.ZipFile, data: bytes, manifest: dict[str, Any], folder: Path) -> None:
    """As a whole or not at all: written aside, every digest compared, put in place by one rename."""
    needed = sum(file["size"] for file in manifest["files"]) + SPARE_BYTES
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        told = f"`{folder.parent}`: {free >> 20} MiB are free, the pack needs {needed >> 20}"
        raise PackError(MACHINE, told, "make room, or unpack elsewhere with `--to FOLDER`")
    beginning = f".{folder.name}.unpacking-"
    for left in folder.parent.glob(f"{beginning}*"):
        shutil.rmtree(left, ignore_errors=True)
    staged = folder.parent / f"{beginning}{os.getpid()}"
    staged.mkdir(mode=0o700)
    try:
        for file in manifest["files"]:
            unpack_file(archive, file, staged / file["name"])
        write(staged / MANIFEST, [data], 0o644)
        os.sync()  # once, for thousands of files
        staged.rename(folder)
        os.sync()
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def unpack_file(archive: zipfile.ZipFile, file: dict[str, Any], path: Path) -> None:
    """Reads no more than the manifest says, so that no archive fills a disk."""
    digest = hashlib.sha256()
    size = 0

    def pieces() -> Iterator[bytes]:
        nonlocal size
        with archive.open(file["name"]) as stream:
            for piece in iter(lambda: stream.read(PIECE_BYTES), b""):
                size += len(piece)
                if size > file["size"]:
                    return
                digest.update(piece)
                yield piece

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(path, pieces(), file["mode"])
    except (KeyError, zipfile.BadZipFile, EOFError, zlib_error()) as error:
        raise PackError(TRUST, f"`{file['name']}` cannot be unpacked: {error}", AGAIN) from error
    if size != file["size"] or digest.hexdigest() != file["sha256"]:
        raise PackError(TRUST, f"`{file['name']}` is not what was packed", AGAIN)


def zlib_error() -> type[Exception]:
    """Of damaged bytes; a Python without zlib cannot read the archive anyhow."""
    import zlib

    return zlib.error


def understood(data: bytes) -> dict[str, Any]:
    """The manifest. Raises PackError for one that this code does not know, or that leads out of its folder."""
    try:
        manifest: dict[str, Any] = json.loads(data.decode())
        known = manifest["format"]
        names = [file["name"] for file in manifest["files"]]
        names += [manifest["node"], manifest["site"]]
    except (ValueError, KeyError, TypeError) as error:
        raise PackError(TRUST, f"`{MANIFEST}` is no manifest of a pack", AGAIN) from error
    if known != FORMAT:
        raise PackError(TRUST, f"`{MANIFEST}` has format {known!r}, this is {FORMAT}")
    for name in names:
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name or name == MANIFEST:
            raise PackError(TRUST, f"`{MANIFEST}` names `{name[:80]}`, which no pack holds")
    return manifest


def check_machine(manifest: dict[str, Any]) -> None:
    """Raises PackError where the packages cannot run: they hold machine code."""
    python, machine, glibc = manifest["python"], manifest["machine"], manifest["glibc"]
    if list(sys.version_info[:2]) != python:
        here = ".".join(map(str, sys.version_info[:2]))
        told = f"this pack is for Python {_dotted(python)}, this is {here}"
        raise PackError(MACHINE, told, "name the interpreter in `PYTHON`, or pack with the one that the machine has")
    if platform.machine() != machine:
        told = f"this pack is for {machine}, this machine is {platform.machine()}"
        raise PackError(MACHINE, told, "pack on a machine like this one")
    name, version = platform.libc_ver()
    if name != "glibc" or [int(part) for part in version.split(".")[:2]] < glibc:
        told = f"this pack needs glibc {_dotted(glibc)} or newer, this is {name or 'another libc'} {version}".rstrip()
        raise PackError(MACHINE, told, "take a newer system, or pack on one like this")


def _dotted(version: list[int]) -> str:
    return ".".join(map(str, version))


def digest_of(path: Path) -> str:
    """'' where there is no such file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for piece in iter(lambda: stream.read(PIECE_BYTES), b""):
                digest.update(piece)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MANIFEST_BYTES_MAX + 1)


def write(path: Path, pieces: Iterable[bytes], mode: int) -> None:
    """A new file, not synced."""
    with path.open("xb") as stream:
        for piece in pieces:
            stream.write(piece)
        os.fchmod(stream.fileno(), mode)


if __name__ == "__main__":
    main(sys.argv[1:])
