"""`DATA/updates`: opened before anything of the node is, so that what a new version breaks is left behind.

models/NAME/NUMBER/model.wasm and agents/NAME.wasm are links to what the active slot names, for `fleet:NAME`.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from littoral.artifact.disk import FolderDisk
from littoral.clock import Clock
from littoral.errors import LittoralError, SettingError
from littoral.node.site import Site
from littoral.node.updates.checking import check_agents, check_models
from littoral.node.updates.conditions import machine_boot
from littoral.node.updates.dashboards import Dashboards
from littoral.node.updates.site_files import ROLE, SiteFiles
from littoral.node.updates_tables import FOLDER
from littoral.updates.artifacts import ArtifactName
from littoral.updates.deployment.deployments import Deployments
from littoral.updates.deployment.machine import AT_REST, CRASHABLE, Lost, Refused
from littoral.updates.deployment.plans import Plan
from littoral.updates.deployment.store import ArtifactStore

__all__ = ["Local", "begin", "show", "updates_folder"]

KINDS = ("models", "agents")


class Local(NamedTuple):
    """What of a fleet lies on this node's disk."""

    folder: Path
    disk: FolderDisk
    store: ArtifactStore
    deployments: Deployments
    dashboards: Dashboards

    def show(self) -> None:
        """What is active, where files of it are looked for. Raises OSError."""
        running = self.deployments.running
        show(self.folder, running)
        self.dashboards.write(running)

    def failed_to_open(self, site: Site, problem: str) -> bool:
        """Whether the node can be opened with what was before: what it could not be opened with was still being
        watched, or has settled and can be opened no more. Another site file is taken back by the supervisor, who
        started this process with it."""
        bad = self.deployments.running
        if bad is None:
            return False
        if self.deployments.journal.state == "active":
            self.deployments.take(Refused("load", problem))
        elif self._can_be_opened(site, bad):
            self.excuse()
            return False
        elif not self.deployments.take(Lost("load", problem)):
            return False
        self.show()
        running = self.deployments.running
        return running is not None and running.items.get(ROLE) == bad.items.get(ROLE)

    def excuse(self) -> None:
        """This start says nothing against what settled: the machine, or the site file, is at fault."""
        if self.deployments.journal.state not in CRASHABLE:
            with contextlib.suppress(OSError):
                self.deployments.leave()

    def _can_be_opened(self, site: Site, plan: Plan) -> bool:
        """Whether what keeps the node from opening is something else than what the fleet has brought."""
        try:
            check_models(site, plan, self.store)
            check_agents(site, plan, self.store)
        except LittoralError:
            return False
        return True


def updates_folder(site: Site) -> Path:
    return site.data / FOLDER


def begin(site: Site, clock: Clock) -> Local:
    """Counts this start, and shows what is to run. Raises SettingError where the folder cannot be used."""
    assert site.updates is not None
    folder = updates_folder(site)
    disk = FolderDisk(folder)
    store = ArtifactStore(folder, site.updates.bytes_mb_max << 20)
    boards = None if site.updates.dashboards is None else site.path_of(site.updates.dashboards)
    try:
        store.make()
        deployments = Deployments(disk, clock, _sound(store), machine_boot())
        local = Local(folder, disk, store, deployments, Dashboards(store, site.node.name, boards))
        before = deployments.running
        deployments.begin()
        local.show()
        if deployments.journal.state in AT_REST:
            files, running = SiteFiles(site, folder, disk, store), deployments.running
            any(files.begin_to_go_back(running, bad) for bad in (before, deployments.journal.plan))
    except OSError as error:
        raise SettingError(f"{site.file}: `updates`: `{error.filename or folder}`: {error.strerror}") from error
    return local


def show(folder: Path, plan: Plan | None) -> None:
    """The links of a plan, and no others; what a model has now is linked before what it had goes. Raises OSError."""
    wanted: dict[Path, Path] = {}
    for role, item in ({} if plan is None else plan.items).items():
        kind, _, name = role.partition("/")
        if kind in KINDS:
            number = ArtifactName.parse(item.target).version
            below = f"{name}/{number}/model.wasm" if kind == "models" else f"{name}.wasm"
            wanted[folder / kind / below] = folder / "artifacts" / item.sha256
    for link, target in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = link.with_name(f".{link.name}.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(target.absolute())
        beside.replace(link)
    for path in [*(folder / "models").glob("*/*"), *(folder / "agents").glob("*.wasm")]:
        if path not in wanted and path / "model.wasm" not in wanted:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (folder / "models").glob("*"):
        with contextlib.suppress(OSError):  # others are in it
            path.rmdir()


def _sound(store: ArtifactStore) -> Callable[[Plan], bool]:
    """Whether every byte of a plan is there as it should be."""

    def is_sound(plan: Plan) -> bool:
        if not store.is_whole(plan):
            return False
        try:
            for item in plan.items.values():
                store.verify(item)
        except LittoralError:
            return False
        return True

    return is_sound
