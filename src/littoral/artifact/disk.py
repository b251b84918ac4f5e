"""Where files lie that outlive the power: written ones may be lost until `sync`, replaced ones are old or new."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

__all__ = ["Disk", "FolderDisk"]

MODE, FOLDER_MODE = 0o600, 0o700
BESIDE = ".new"


class Disk(Protocol):
    """Paths are relative, with slashes. All but `read` raise OSError."""

    def read(self, path: str) -> bytes | None:
        """None where there is no such file."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Lost, or torn, if the power goes before `sync`."""
        ...

    def sync(self) -> None:
        """Everything written so far is on the disk, under its name."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """On the disk when it returns. Whatever happens, what was there before or this is there, whole."""
        ...

    def remove(self, path: str) -> None:
        """Nothing where there is no such file. May come back if the power goes."""
        ...

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Path and bytes of each file below, in no order."""
        ...


class FolderDisk:
    """Files below a folder, for their owner alone. For one thread at a time, but for `read`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[int] = []
        self._folders: dict[Path, None] = {}

    def read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, data: bytes) -> None:
        target = self._folder / path
        try:
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        except FileNotFoundError:
            self._make(target.parent)
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        self._open.append(handle)
        self._folders[target.parent] = None
        _write_all(handle, data)

    def sync(self) -> None:
        handles, self._open = self._open, []
        folders, self._folders = self._folders, {}
        try:
            for handle in handles:
                os.fsync(handle)
        finally:
            for handle in handles:
                os.close(handle)
        for folder in folders:
            _sync_folder(folder)

    def replace(self, path: str, data: bytes) -> None:
        target = self._folder / path
        if not target.parent.is_dir():
            self._make(target.parent)
        beside = target.with_name(f"{target.name}{BESIDE}")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        try:
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        beside.replace(target)
        _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        target = self._folder / path
        target.unlink(missing_ok=True)
        if target.parent.suffix == ".p":
            with contextlib.suppress(OSError):  # others are in it
                target.parent.rmdir()

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        for found in (self._folder / folder).rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if found.is_file():
                    yield found.relative_to(self._folder).as_posix(), found.stat().st_size

    def close(self) -> None:
        """What was not synced is given up."""
        for handle in self._open:
            os.close(handle)
        self._open, self._folders = [], {}

    def _make(self, folder: Path) -> None:
        """With those above; each is synced in the one that it lies in."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        self._folders[folder.parent] = None


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
