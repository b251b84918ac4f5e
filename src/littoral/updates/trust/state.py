"""What a node remembers of versions: files named by their content, and one small file that says which of them count.

That one is replaced in one step, so a power cut leaves the state before or the state after. What is damaged is told:
to begin again in silence would let somebody replay what the node has left behind.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from littoral.artifact.model import write_atomically
from littoral.errors import TrustStateError

__all__ = ["FolderFiles", "Kept", "StateFiles", "TrustState", "begin_again", "keep", "kept"]

STATE = "state.json"
FILES = "files"
STATE_BYTES_MAX = 1 << 20
FOLDER_MODE, FILE_MODE = 0o700, 0o600
RECOVER = "`littoral update begin-again` takes the trust file anew: do it where nobody else can answer for the fleet"


class StateFiles(Protocol):
    """Below a folder; paths with slashes. All raise OSError."""

    def read(self, path: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """On the disk when it returns, and whole whatever happens."""
        ...

    def remove(self, path: str) -> None: ...

    def names(self) -> list[str]:
        """Of files that metadata lies in."""
        ...


class FolderFiles:
    """On a disk, for the owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def replace(self, path: str, data: bytes) -> None:
        target = self._folder / path
        _make(target.parent)
        write_atomically(target, data, FILE_MODE)

    def remove(self, path: str) -> None:
        (self._folder / path).unlink(missing_ok=True)

    def names(self) -> list[str]:
        folder = self._folder / FILES
        return sorted(f"{FILES}/{entry.name}" for entry in folder.iterdir()) if folder.is_dir() else []


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one repository. bootstrap_sha256: of the root in the trust file by which it was begun. roles: SHA-256 by role,
    `root` among it. floor_keys: ids of the keys that may sign what holds `deployment`.
    """

    bootstrap_sha256: str
    roles: dict[str, str] = {}


class TrustState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """deployment: the newest that was told, by the keys `deployment_keys`. seen_s: Unix time at which something was
    last found to be valid.
    """

    format: Literal[1] = 1
    image: Kept | None = None
    director: Kept | None = None
    deployment: int = 0
    deployment_keys: tuple[str, ...] = ()
    seen_s: float = 0.0

    @classmethod
    def read(cls, files: StateFiles) -> "TrustState":
        """A new one where there is nothing at all. Raises TrustStateError for what is damaged, or gone in part."""
        data = files.read(STATE)
        if data is None:
            if files.names():
                raise TrustStateError(
                    f"`{STATE}` is gone, metadata that it spoke of is there: versions seen are not known", hint=RECOVER
                )
            return cls()
        head, _, body = data[:STATE_BYTES_MAX].partition(b"\n")
        if sha256(body).hexdigest().encode() != head:
            raise TrustStateError(f"`{STATE}` is damaged: its digest is another", hint=RECOVER)
        try:
            return msgspec.json.decode(body, type=cls)
        except msgspec.DecodeError as error:
            raise TrustStateError(f"`{STATE}`: {error}", hint=RECOVER) from error

    def write(self, files: StateFiles) -> None:
        """In one step, then takes away what it does not speak of."""
        body = msgspec.json.encode(self)
        files.replace(STATE, sha256(body).hexdigest().encode() + b"\n" + body)
        counted = {_file(digest) for kept in (self.image, self.director) if kept for digest in kept.roles.values()}
        for name in files.names():
            if name not in counted:
                files.remove(name)


def keep(files: StateFiles, roles: dict[str, bytes]) -> dict[str, str]:
    """Writes what is not there; SHA-256 by role."""
    digests = {role: sha256(data).hexdigest() for role, data in roles.items()}
    there = set(files.names())
    for role, digest in digests.items():
        if _file(digest) not in there:
            files.replace(_file(digest), roles[role])
    return digests


def kept(files: StateFiles, what: Kept, where: str) -> dict[str, bytes]:
    """Metadata by role. Raises TrustStateError for a file that is gone or changed."""
    return {role: _whole(files, role, digest, where) for role, digest in what.roles.items()}


def begin_again(folder: Path) -> Path | None:
    """Puts a state aside, for somebody who has made sure of the trust file. Where it lies now; None for none.

    What remains of its versions is gone: the caller's own number of the deployment that runs is the floor from then on.
    """
    if not folder.exists():
        return None
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside-{number}")).exists():
        number += 1
    folder.rename(aside)
    _sync(folder.parent)
    return aside


def _whole(files: StateFiles, role: str, digest: str, where: str) -> bytes:
    data = files.read(_file(digest))
    if data is None:
        raise TrustStateError(f"{where}: `{role}` that was trusted is gone: `{_file(digest)}`", hint=RECOVER)
    if sha256(data).hexdigest() != digest:
        raise TrustStateError(f"{where}: `{role}` that was trusted is damaged: `{_file(digest)}`", hint=RECOVER)
    return data


def _file(digest: str) -> str:
    return f"{FILES}/{digest}.json"


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
