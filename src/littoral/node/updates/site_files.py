"""A deployment's site file: tried by the node as `littoral config apply` does, by a process that outlives this one.

What the file said before the first deployment is kept, for the way back.
"""

import asyncio
import contextlib
import hashlib
import subprocess
import sys
from pathlib import Path

from littoral.artifact.disk import FolderDisk
from littoral.errors import LittoralError, NodeError, SettingError
from littoral.node.config.changes import changes, check_changes
from littoral.node.config.texts import read_text
from littoral.node.site import Site, parse_site
from littoral.settings import environment
from littoral.updates.deployment.plans import Item, Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["ROLE", "SiteFiles"]

ROLE = "site"
BEFORE, NEW, SAID = "site.before", "site.new.toml", "site.log"
LOOK_S = 0.1
WAIT_S = 60.0
SAID_CHARACTERS_MAX = 500


class SiteFiles:
    """Of one node. folder: of its deployments."""

    def __init__(self, site: Site, folder: Path, disk: FolderDisk, store: ArtifactStore) -> None:
        self._site = site
        self._folder = folder
        self._disk = disk
        self._store = store

    def of(self, plan: Plan, now: Site) -> Site:
        """As the node would read the plan's file; now: what it runs, and what it goes on with where a plan has none.

        Raises SettingError for a file that is wrong, that would lose data, or leave the fleet.
        """
        if (item := plan.items.get(ROLE)) is None:
            return now
        after = self._read(self._store.path(item.sha256).read_bytes(), now)
        if after.updates is None:
            raise SettingError(f"`{item.target}` has no table `updates`: the node would leave its fleet")
        check_changes(changes(now, after), item.target)
        return after

    def former(self, running: Plan | None, bad: Plan | None, now: Site) -> Site:
        """As `of`, of what was before a plan that is left, if that one's file is there. Raises SettingError."""
        text = self._former(running, bad)
        return now if text is None else self._read(text, now)

    def _read(self, text: bytes, now: Site) -> Site:
        """A node may listen elsewhere than its file says: then it goes on so, as long as the file says the same."""
        site = parse_site(text, self._site.file)
        with contextlib.suppress(LittoralError):
            if parse_site(read_text(self._site.file), self._site.file).node.listen == site.node.listen:
                return site.listening_at(now.listen)
        return site

    async def apply(self, plan: Plan) -> None:
        """What the plan says. Raises NodeError where the node does not serve with it; then it is as it was."""
        if (item := plan.items.get(ROLE)) is None or self.is_said(plan):
            return
        if self._disk.read(BEFORE) is None:
            await asyncio.to_thread(self._disk.replace, BEFORE, read_text(self._site.file))
        await self._try(self._store.path(item.sha256).read_bytes())

    async def go_back(self, running: Plan | None, bad: Plan | None) -> None:
        """What was before a plan that is left, if that one's file is there. Raises as `apply`."""
        if (text := self._former(running, bad)) is not None:
            await self._try(text)

    def begin_to_go_back(self, running: Plan | None, bad: Plan | None) -> bool:
        """As `go_back`, without waiting: for a process that may not live to see it. Whether there is anything to do."""
        if (text := self._former(running, bad)) is None:
            return False
        self._start(text)
        return True

    async def wait_for(self, plan: Plan) -> None:
        """Returns when the file says what the plan does. Raises NodeError where it does not for a minute."""
        for _ in range(round(WAIT_S / LOOK_S)):
            if self.is_said(plan):
                return
            await asyncio.sleep(LOOK_S)
        raise NodeError(f"the site file was taken back: {self._said()}")

    def is_said(self, plan: Plan) -> bool:
        """Whether the file says what the plan does, if that says anything of it."""
        item = plan.items.get(ROLE)
        return item is None or self.is_there(item)

    def is_there(self, item: Item) -> bool:
        """Whether the file says this now."""
        try:
            return hashlib.sha256(read_text(self._site.file)).hexdigest() == item.sha256
        except LittoralError:
            return False

    def _former(self, running: Plan | None, bad: Plan | None) -> bytes | None:
        left = None if bad is None else bad.items.get(ROLE)
        item = None if running is None else running.items.get(ROLE)
        if left is None or item == left or not self.is_there(left):
            return None
        return self._disk.read(BEFORE) if item is None else self._store.path(item.sha256).read_bytes()

    async def _try(self, text: bytes) -> None:
        """The loop goes on: this process may be told to end by what it waits for."""
        trying = self._start(text)
        while trying.poll() is None:  # noqa: ASYNC110  another process ends it
            await asyncio.sleep(LOOK_S)
        if trying.returncode:
            raise NodeError(f"site file: {self._said()}")

    def _start(self, text: bytes) -> "subprocess.Popen[bytes]":
        new = self._folder / NEW
        new.write_bytes(text)
        command = [sys.executable, "-P", "-m", "littoral", "config", "apply", str(self._site.file.absolute()), str(new)]
        with (self._folder / SAID).open("wb") as said:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment(),
                start_new_session=True,
            )

    def _said(self) -> str:
        try:
            return (self._folder / SAID).read_text(errors="replace").strip()[-SAID_CHARACTERS_MAX:]
        except OSError as error:
            return str(error)
