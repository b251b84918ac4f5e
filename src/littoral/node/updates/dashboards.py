"""Dashboards of the active deployment: told over HTTP, and written where a Grafana's file provisioning looks.

There the names `littoral.NODE.NAME.json` are this node's: names of nodes and of dashboards have no dots, so what
somebody else has put beside them is never touched.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from littoral.artifact.model import write_atomically
from littoral.errors import NodeError, NotFoundError
from littoral.updates.artifacts import ArtifactName
from littoral.updates.boards import BYTES_MAX, read_board
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["ROLES", "Dashboards", "check_boards"]

ROLES = "dashboards/"


class Dashboards:
    """folder: of Grafana's provisioning; None where there is none. problem: why it does not hold what it should."""

    def __init__(self, store: ArtifactStore, node: str, folder: Path | None) -> None:
        self._store = store
        self._prefix = f"littoral.{node}."
        self._folder = folder
        self.problem = ""

    def write(self, plan: Plan | None) -> None:
        """What a plan names is there, each whole or as it was before, and no other of this node's."""
        self.problem = ""
        if self._folder is None:
            return
        wanted = {f"{self._prefix}{name}.json": item for name, item in _of(plan).items()}
        try:
            for name, item in wanted.items():
                self._write(self._folder / name, item)
            for path in self._own():
                if path.name not in wanted:
                    path.unlink(missing_ok=True)
        except OSError as error:
            self.problem = f"`updates.dashboards`: `{error.filename or self._folder}`: {error.strerror}"
        except NodeError as error:
            self.problem = error.message

    def told(self, plan: Plan | None) -> list[dict[str, Any]]:
        """For people; one that cannot be read says why."""
        return [self._told(name, item) for name, item in _of(plan).items()]

    def read(self, plan: Plan | None, name: str) -> bytes:
        """Raises NotFoundError, and NodeError where its bytes are no longer those that were signed."""
        if (item := _of(plan).get(name)) is None:
            raise NotFoundError(f"dashboard `{name[:80]}` is unknown", hint="`GET /api/dashboards` lists them")
        return self._bytes(item)

    def _told(self, name: str, item: Item) -> dict[str, Any]:
        about = {
            "name": name,
            "version": ArtifactName.parse(item.target).version,
            "target": item.target,
            "sha256": item.sha256,
            "bytes": item.length,
        }
        try:
            board = read_board(self._bytes(item), name)
        except NodeError as error:
            return about | {"title": "", "uid": "", "panels": [], "problem": error.message}
        panels = [
            {"title": panel.title, "type": panel.kind, "expressions": panel.expressions} for panel in board.panels
        ]
        return about | {"title": board.title, "uid": board.uid, "panels": panels, "problem": ""}

    def _write(self, path: Path, item: Item) -> None:
        data = self._bytes(item)
        with contextlib.suppress(OSError):
            if path.read_bytes() == data:
                return
        write_atomically(path, data)  # readable by all: another user's Grafana reads it

    def _own(self) -> Iterator[Path]:
        assert self._folder is not None
        yield from self._folder.glob(f"{self._prefix}*.json")
        yield from self._folder.glob(f".{self._prefix}*")  # of a process that was killed while it wrote

    def _bytes(self, item: Item) -> bytes:
        try:
            data = self._store.path(item.sha256).read_bytes()
        except OSError as error:
            raise NodeError(f"dashboard `{item.target}`: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise NodeError(f"dashboard `{item.target}`: its bytes are not those that were signed")
        return data


def check_boards(plan: Plan, store: ArtifactStore) -> None:
    """Raises InputError for one that is no board."""
    for item in _of(plan).values():
        with store.path(item.sha256).open("rb") as stream:
            read_board(stream.read(BYTES_MAX + 1), f"`{item.target}`")


def _of(plan: Plan | None) -> dict[str, Item]:
    items = {} if plan is None else plan.items
    return {role.removeprefix(ROLES): item for role, item in items.items() if role.startswith(ROLES)}
