"""Artifacts by their content: `artifacts/<sha256>`, fetched beside it, there whole or not at all."""

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from littoral.errors import NodeError, TooLargeError, TrustError
from littoral.updates.deployment.plans import Item, Plan

__all__ = ["ArtifactStore"]

FOLDER, INCOMING = "artifacts", "incoming"


class ArtifactStore:
    """bytes_max: of all artifacts; what a slot names is never removed for it."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder / FOLDER
        self.incoming = folder / INCOMING
        self._bytes_max = bytes_max

    def make(self) -> None:
        """Raises OSError."""
        for folder in (self._folder, self.incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        return self._folder / sha256

    def files(self) -> dict[str, int]:
        """Bytes by digest."""
        found = {}
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                with contextlib.suppress(OSError):
                    found[entry.name] = entry.stat().st_size
        return found

    def is_whole(self, plan: Plan) -> bool:
        """Whether each file is there with its length; what is in it is looked at where it is used."""
        files = self.files()
        return all(files.get(item.sha256) == item.length for item in plan.items.values())

    def missing(self, plan: Plan) -> dict[str, Item]:
        """By digest, in the order of the plan."""
        files = self.files()
        return {item.sha256: item for item in plan.items.values() if files.get(item.sha256) != item.length}

    def make_room(self, plan: Plan, keep: Collection[str]) -> None:
        """Removes what no slot names, the oldest first, until the plan fits. Raises TooLargeError."""
        needed = sum(item.length for item in self.missing(plan).values())
        files = self.files()
        kept = {*keep, *plan.digests}
        total = sum(files.values())
        spare = sorted((name for name in files if name not in kept), key=self._age)
        while spare and total + needed > self._bytes_max:
            name = spare.pop(0)
            self.remove(name)
            total -= files[name]
        if total + needed > self._bytes_max:
            raise TooLargeError(
                f"deployment {plan.deployment}: with what serves, its artifacts take {(total + needed) >> 20} MiB,"
                f" at most {self._bytes_max >> 20}",
                hint="`updates.bytes_mb_max` in the site file says how much",
            )

    def collect(self, keep: Collection[str]) -> int:
        """Removes what no slot names beyond the bound, and what is left of fetching; how many files."""
        files, count = self.files(), 0
        total = sum(files.values())
        for name in sorted((name for name in files if name not in keep), key=self._age):
            if total <= self._bytes_max:
                break
            self.remove(name)
            total -= files[name]
            count += 1
        for path in self.incoming.glob("*"):
            path.unlink(missing_ok=True)
        return count

    def remove(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def adopt(self, fetched: Path, item: Item) -> None:
        """A file that was fetched and verified has its place, on the disk under its name. Raises OSError."""
        with fetched.open("rb") as stream:
            os.fsync(stream.fileno())
        target = self.path(item.sha256)
        if fetched != target:
            fetched.replace(target)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def verify(self, item: Item) -> None:
        """Reads it as it lies on the disk. Raises TrustError, after removing it; NodeError where it cannot be read."""
        path = self.path(item.sha256)
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise NodeError(f"artifact `{item.target}`: {error.strerror}") from error
        if digest != item.sha256:
            self.remove(item.sha256)
            raise TrustError(f"artifact `{item.target}`: SHA-256 on the disk is {digest}, expected {item.sha256}")

    def _age(self, name: str) -> float:
        try:
            return self.path(name).stat().st_mtime
        except OSError:
            return 0.0
