"""A written bundle held against its own manifest: what a registry does before it publishes one, and who fetches it."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.artifact import digest
from littoral.bundle.archive import ARCHIVE_BYTES_MAX, unpacked
from littoral.bundle.writing import FORMAT, MANIFEST
from littoral.errors import InputError, NotFoundError, TrustError

__all__ = ["BundleManifest", "FileEntry", "Limit", "Verified", "verified"]


class FileEntry(msgspec.Struct, frozen=True):
    """One file of a bundle."""

    bytes: int
    sha256: str


class Limit(msgspec.Struct, frozen=True):
    """One figure beside its limit. bound: over it nothing is written."""

    what: str
    value: int
    most: int
    unit: str
    bound: bool


class BundleManifest(msgspec.Struct, frozen=True):
    """`bundle.json`, as far as a registry reads it."""

    format: int
    name: str
    target: str
    version: str
    files: dict[str, FileEntry]
    limits: list[Limit]


class Verified(NamedTuple):
    """sha256: of the manifest, which has those of all files: what names this bundle and no other."""

    manifest: BundleManifest
    sha256: str


def verified(path: Path, sha256: str | None = None) -> Verified:
    """A folder or an archive whose every file is as its manifest says, and that has no other.

    sha256: what the manifest must have. Raises NotFoundError, InputError for what is no bundle, TrustError for files
    that differ, naming them.
    """
    files = _read(path)
    if (told := files.pop(MANIFEST, None)) is None:
        raise InputError(f"`{path}` has no `{MANIFEST}`", hint="`littoral bundle` writes one")
    if sha256 is not None and digest(told) != sha256.lower():
        raise TrustError(f"`{path}`: SHA-256 of `{MANIFEST}` is `{digest(told)}`, expected `{sha256.lower()}`")
    try:
        manifest = msgspec.json.decode(told, type=BundleManifest)
    except msgspec.DecodeError as error:
        raise InputError(f"`{path}`: `{MANIFEST}`: {error}") from error
    if manifest.format != FORMAT:
        raise InputError(f"`{path}`: `{MANIFEST}`: `format` is {manifest.format}, expected {FORMAT}")
    if wrong := [f"`{name}` {why}" for name, why in _differences(manifest, files).items()]:
        raise TrustError(f"`{path}`: {', '.join(wrong)}")
    if over := next((limit for limit in manifest.limits if limit.bound and limit.value > limit.most), None):
        raise InputError(f"`{path}`: `{over.what}` is {over.value} {over.unit}, at most {over.most}")
    return Verified(manifest, digest(told))


def _differences(manifest: BundleManifest, files: dict[str, bytes]) -> dict[str, str]:
    found = dict.fromkeys(files.keys() - manifest.files.keys(), "is not in its manifest")
    found |= dict.fromkeys(manifest.files.keys() - files.keys(), "is missing")
    for name, entry in manifest.files.items():
        if name in files and digest(files[name]) != entry.sha256:
            found[name] = f"has SHA-256 `{digest(files[name])}`, expected `{entry.sha256}`"
    return dict(sorted(found.items()))


def _read(path: Path) -> dict[str, bytes]:
    try:
        if path.is_dir():
            return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        with path.open("rb") as stream:
            data = stream.read(ARCHIVE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFoundError(f"`{path}`: {error.strerror}") from error
    if len(data) > ARCHIVE_BYTES_MAX:
        raise InputError(f"`{path}` has more than {ARCHIVE_BYTES_MAX} bytes")
    return unpacked(data)
