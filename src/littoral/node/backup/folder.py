"""A folder of backups: manifests by time, and the blobs that they share.

`manifests/<number>-<time>.backup` and `blobs/…`. A manifest is written last, aside, and renamed: what a crash leaves
are blobs that nobody names, for the next backup to take up or `prune` to remove.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import InputError, LittoralError, NotFoundError, TrustError
from littoral.node.backup.blobs import BLOBS, Blobs, all_blobs
from littoral.node.backup.manifest import Manifest, decoded, encoded
from littoral.node.backup.receiving import received
from littoral.vault import KeyRing
from littoral.vault.layout import MAGIC
from littoral.vectors.layout import sync_folder
from littoral.vectors.owner_lock import OwnerLock

__all__ = ["Backups", "Damage", "Made", "Pruned"]

MANIFESTS = "manifests"
ENDING = ".backup"
NUMBER_DIGITS = 6
NAME = re.compile(r"[0-9]{6}-[0-9]{8}T[0-9]{6}Z")
LOCK = ".backup.lock"
MANIFEST_BYTES_MAX = 1 << 28


class Made(NamedTuple):
    """A backup that was just made. new_bytes: that were written. kept_count: blobs that were there already."""

    name: str
    manifest: Manifest
    new_count: int
    new_bytes: int
    kept_count: int


class Damage(NamedTuple):
    """backup: its name. what: is wrong with it, and which files of the node it is part of."""

    backup: str
    what: str


class Pruned(NamedTuple):
    """Names of backups that are gone; how many blobs, and their bytes."""

    backups: list[str]
    blob_count: int
    bytes: int


class Backups:
    """ring: keys that seal what is made, and open what is there; None: nothing is sealed."""

    def __init__(self, folder: Path, ring: KeyRing | None, clock: Clock) -> None:
        self.folder = folder
        self._ring = ring
        self._clock = clock

    def names(self) -> list[str]:
        """The oldest first."""
        found = (path.stem for path in (self.folder / MANIFESTS).glob(f"*{ENDING}"))
        return sorted(name for name in found if NAME.fullmatch(name))

    def take(self, read: Callable[[int], bytes], *, may_be_plain: bool = False) -> Made:
        """A backup from the stream that a node sends; in the folder as a whole or not at all.

        may_be_plain: of a node that seals its files, too.

        Raises InputError for a folder of other things, PeerError for a stream that is not whole, UnavailableError
        while another process works on the folder, OSError.
        """
        self._make()
        lock = OwnerLock.take(self.folder, self._clock, name=LOCK)
        try:
            blobs = Blobs(self.folder, self._ring, "" if self._ring is None else self._ring.current.id.hex())
            manifest = received(read, blobs, self._ring, may_be_plain=may_be_plain)
            blobs.sync()
            name = self._new_name()
            data, path = encoded(manifest), self.folder / MANIFESTS / f"{name}{ENDING}"
            if self._ring is not None:
                from littoral.vault.sealed import sealed

                data = sealed(data, self._ring, f"backup {name}")
            write_atomically(path, data, 0o600)
            return Made(name, manifest, blobs.new_count, blobs.new_bytes, blobs.kept_count)
        finally:
            lock.release()

    def _make(self) -> None:
        if self.folder.is_dir() and (found := {path.name for path in self.folder.iterdir()}) and MANIFESTS not in found:
            raise InputError(f"`{self.folder}` holds something else", hint="name a folder that is empty, or not there")
        for part in (MANIFESTS, BLOBS):
            (self.folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(self.folder)

    def _new_name(self) -> str:
        """Counted, so that names follow each other whatever the clock says."""
        made = dt.datetime.fromtimestamp(self._clock.wall(), dt.UTC)
        numbers = [int(name[:NUMBER_DIGITS]) for name in self.names()]
        return f"{max(numbers, default=0) + 1:0{NUMBER_DIGITS}}-{made:%Y%m%dT%H%M%SZ}"

    def read(self, name: str = "") -> tuple[str, Manifest]:
        """The backup of this name, or the latest. Raises NotFoundError, TrustError."""
        names = self.names()
        if not names:
            raise NotFoundError(
                f"`{self.folder}` holds no backup", hint=f"make one with `littoral backup {self.folder}`"
            )
        if (name := name or names[-1]) not in names:
            raise NotFoundError(f"`{self.folder}` holds no backup `{name[:80]}`, the latest is `{names[-1]}`")
        path = self.folder / MANIFESTS / f"{name}{ENDING}"
        with path.open("rb") as stream:
            data = stream.read(MANIFEST_BYTES_MAX)
        what = f"backup `{name}`"
        if data.startswith(MAGIC):
            if self._ring is None:
                raise TrustError(f"{what} is sealed", hint="`--keys FILE` names the keys")
            from littoral.vault.sealed import opened

            data = opened(data, self._ring, f"backup {name}", what)
        return name, decoded(data, what)

    def blobs_of(self, manifest: Manifest) -> Blobs:
        """To read them. Raises TrustError where their key is not there."""
        return Blobs(self.folder, self._ring, manifest.key)

    def damage(self, name: str = "") -> Iterator[Damage]:
        """Looks at every byte of a backup, or of all; whatever is not as it was written."""
        seen: set[tuple[str, str]] = set()
        for one in [name] if name else self.names():
            try:
                manifest = self.read(one)[1]
                blobs = self.blobs_of(manifest)
            except LittoralError as error:
                yield Damage(one, error.message)
                continue
            for blob in sorted(manifest.blobs):
                if (manifest.key, blob) in seen:
                    continue
                try:
                    blobs.get(blob)
                    seen.add((manifest.key, blob))
                except LittoralError as error:
                    names = [file.name for file in manifest.files if blob in file.blobs]
                    yield Damage(one, f"{error.message}; part of {', '.join(names[:3])}")

    def prune(self, keep: int) -> Pruned:
        """Only the latest `keep` stay, and the blobs that they need. Raises as `read` where one of these cannot be."""
        lock = OwnerLock.take(self.folder, self._clock, name=LOCK)
        try:
            names = self.names()
            gone = names[: max(0, len(names) - keep)]
            left = [self.read(name)[1] for name in names if name not in gone]
            needed = {(manifest.key, blob) for manifest in left for blob in manifest.blobs}
            for name in gone:
                (self.folder / MANIFESTS / f"{name}{ENDING}").unlink()
            sync_folder(self.folder / MANIFESTS)
            count = size = 0
            for key, blob, path in all_blobs(self.folder):
                if (key, blob) not in needed:
                    size += path.stat().st_size
                    count += 1
                    path.unlink()
            return Pruned(gone, count, size)
        finally:
            lock.release()
