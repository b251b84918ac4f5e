"""Machine code on disk: compiled once, then mapped by every process.

A module's machine code is as powerful as the host itself, so a file is mapped only after these checks:

1. the entry beside it carries a MAC under this installation's key, for exactly this module, engine, wasmtime and CPU;
2. the entry names the file and its identity (device, inode, size, times): the kernel saw no write since we wrote it;
3. file and entry are ordinary files of this user, closed to others, in a folder of this user, closed to others;
4. what is mapped is the open file that was checked, not whatever has its name by then.

The content itself is not hashed: that takes longer than everything else in a load. Whoever can write to the file
without the kernel noticing is this user or the machine's administrator. What fails a check is dropped and made again.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from littoral.artifact.manifest import SECTION_BYTES_MAX
from littoral.artifact.store import Store
from littoral.clock import SYSTEM, Clock
from littoral.errors import TrustError
from littoral.runtime.file_identity import FileIdentity, open_own_file
from littoral.runtime.interface import Interface
from littoral.runtime.sealed_file import own_folder, read_sealed, write_sealed

__all__ = ["CachedCode", "CodeCache", "CodeCacheStatistics", "CodeKey", "cpu_features"]

PURPOSE = b"machine code"
ENTRY_BYTES_MAX = SECTION_BYTES_MAX + (1 << 20)
TOUCH_S = 3600.0  # how exactly the time of last use is kept
LEFTOVER_S = 3600.0


class CodeKey(msgspec.Struct, frozen=True):
    """What machine code was made from, with, and for. section: which custom section is kept as manifest."""

    module: str
    section: str
    engine: dict[str, bool | int | str]
    wasmtime: str
    cpu: str
    format: int = 1  # of the entry, what its interface means included

    @property
    def name(self) -> str:
        """The entry's file name without its ending."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class _Entry(msgspec.Struct):
    key: CodeKey
    file: str
    identity: FileIdentity
    interface: Interface
    manifest: bytes


@dataclass(frozen=True)
class CachedCode:
    """Machine code that passed every check. path: to be mapped while the `with` block of `find` is open."""

    path: str
    interface: Interface
    manifest: bytes


@dataclass
class CodeCacheStatistics:
    """Counts since the start. damaged: entries that failed a check; unkept: code that could not be written."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    kept: int = 0
    unkept: int = 0
    evicted: int = 0


class CodeCache:
    """Machine code in one folder (0700), at most `limit_bytes`; what was used longest ago makes room.

    Processes may share the folder: every writer makes its own code file, and the last entry put in place counts.
    """

    def __init__(self, folder: Path, store: Store, *, limit_bytes: int, clock: Clock = SYSTEM) -> None:
        self.folder = own_folder(folder)
        self.statistics = CodeCacheStatistics()
        self._store = store
        self._limit_bytes = limit_bytes
        self._clock = clock

    @contextlib.contextmanager
    def find(self, key: CodeKey) -> Iterator[CachedCode | None]:
        """The machine code for `key`, or None; a damaged entry is removed."""
        handle = -1
        try:
            handle, found = self._open(key)
            self.statistics.hits += 1
        except FileNotFoundError:
            self.statistics.misses += 1
            found = None
        except (OSError, TrustError, msgspec.DecodeError):
            self.discard(key)
            found = None
        try:
            yield found
        finally:
            if handle >= 0:
                os.close(handle)

    def _open(self, key: CodeKey) -> tuple[int, CachedCode]:
        path = self._entry_path(key)
        payload = read_sealed(path, self._store, PURPOSE, limit_bytes=ENTRY_BYTES_MAX)
        entry = msgspec.msgpack.decode(payload, type=_Entry)
        if entry.key != key:
            raise TrustError(f"`{path}` is for another module, engine, wasmtime or CPU")
        self._touch(path)
        handle, identity = open_own_file(self.folder / entry.file)
        if identity != entry.identity:
            os.close(handle)
            raise TrustError(f"`{entry.file}` was changed: {identity}, expected {entry.identity}")
        opened = f"/proc/self/fd/{handle}"
        name = opened if Path(opened).exists() else str(self.folder / entry.file)
        return handle, CachedCode(name, entry.interface, entry.manifest)

    def keep(self, key: CodeKey, code: bytes, interface: Interface, manifest: bytes) -> bool:
        """Writes machine code for the next process; False (and counted) where the disk does not take it."""
        file = f"{key.name}.{secrets.token_hex(8)}.code"
        if len(code) > self._limit_bytes:
            self.statistics.unkept += 1
            return False
        try:
            identity = _write_code(self.folder / file, code)
            entry = _Entry(key, file, identity, interface, manifest)
            with self._turn():
                if (self.folder / file).exists():  # else another process has put its own in place meanwhile
                    write_sealed(self._entry_path(key), msgspec.msgpack.encode(entry), self._store, PURPOSE)
                    self._remove_others(key, file)
                self._evict()
        except OSError:
            (self.folder / file).unlink(missing_ok=True)
            self.statistics.unkept += 1
            return False
        self.statistics.kept += 1
        return True

    def discard(self, key: CodeKey) -> None:
        """Removes an entry that failed a check, here or in wasmtime, and its code."""
        self.statistics.damaged += 1
        with contextlib.suppress(OSError), self._turn():  # what cannot be removed is not used all the same
            self._entry_path(key).unlink(missing_ok=True)
            self._remove_others(key, "")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Processes change the folder one after the other; the kernel ends the turn of one that dies."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _entry_path(self, key: CodeKey) -> Path:
        return self.folder / f"{key.name}.entry"

    def _remove_others(self, key: CodeKey, file: str) -> None:
        for path in self.folder.glob(f"{key.name}.*.code"):
            if path.name != file:
                path.unlink(missing_ok=True)

    def _touch(self, path: Path) -> None:
        now = self._clock.wall()
        with contextlib.suppress(OSError):  # on a disk that takes no writes nothing is evicted either
            if abs(now - path.stat().st_mtime) > TOUCH_S:
                os.utime(path, (now, now))

    def _evict(self) -> None:
        bundles = self._bundles()
        total = sum(bundle.bytes for bundle in bundles)
        for bundle in sorted(bundles, key=lambda b: b.used_s):
            if total <= self._limit_bytes:
                return
            for path in bundle.files:
                path.unlink(missing_ok=True)
            total -= bundle.bytes
            self.statistics.evicted += 1

    def _bundles(self) -> "list[_Bundle]":
        """Entries with their code, and code that a crash left without an entry; sweeps temporary files."""
        bundles: dict[str, _Bundle] = {}
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process evicts too
                status = path.stat()
                if not path.name.startswith("."):
                    bundles.setdefault(path.name.partition(".")[0], _Bundle({})).files[path] = status
                elif self._clock.wall() - status.st_mtime > LEFTOVER_S:
                    path.unlink()
        return list(bundles.values())


@dataclass
class _Bundle:
    files: dict[Path, os.stat_result]

    @property
    def bytes(self) -> int:
        return sum(status.st_size for status in self.files.values())

    @property
    def used_s(self) -> float:
        times = {path.suffix: status.st_mtime for path, status in self.files.items()}
        return times.get(".entry") or max(times.values())


def _write_code(path: Path, code: bytes) -> FileIdentity:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(code)
        file.flush()
        os.fsync(handle)
        return FileIdentity.of(os.fstat(handle))


@functools.cache
def cpu_features() -> str:
    """Digest of the machine's architecture and its CPU's feature flags."""
    flags = ""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    words = " ".join(sorted(flags.partition(":")[2].split()))
    return f"{platform.machine()} {hashlib.sha256(words.encode()).hexdigest()[:16]}"
