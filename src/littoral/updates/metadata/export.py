"""The tree for chosen nodes in a folder: a stick for those that no network reaches.

What is on it is valid as long as its timestamps: they are signed anew first, so that it is for their whole life.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tuf.api.metadata import Metadata, Timestamp

from littoral.errors import NotFoundError
from littoral.updates import tree
from littoral.updates.artifacts import ArtifactName
from littoral.updates.metadata.director import Director
from littoral.updates.metadata.image import ImageRepository
from littoral.updates.metadata.store import FolderStore, MetadataStore
from littoral.updates.targets import TargetFile

__all__ = ["Exported", "export"]

TIMESTAMP = "timestamp.json"
OpenTarget = Callable[[str], BinaryIO]
"""By the path of a target or its list of blocks. Raises NotFoundError."""


class Exported(NamedTuple):
    """valid_until_s: Unix time after which nodes refuse it. bytes_count: of targets."""

    valid_until_s: float
    targets: tuple[TargetFile, ...]
    bytes_count: int


def export(
    store: MetadataStore,
    image: ImageRepository,
    director: Director,
    nodes: Iterable[str],
    open_target: OpenTarget,
    into: Path,
) -> Exported:
    """Targets first, timestamps last: what is there in part is not valid. Raises NotFoundError for a node that was told
    nothing, or a target whose bytes are not there; OSError for a full stick.
    """
    chosen = list(nodes)
    image.refresh(force=True)
    needed: dict[str, TargetFile] = {}
    for node in chosen:
        director.refresh(node, force=True)
        if (desired := director.told(node)) is None:
            raise NotFoundError(f"node `{node}` was told nothing yet")
        needed |= image.targets_for(desired)
    bytes_count = sum(_copied(target, open_target, into) for target in needed.values())
    stick = FolderStore(into)
    folders = [tree.image_metadata(), *(tree.director_metadata(node) for node in chosen)]
    for folder in folders:
        names = sorted(path for path in store.list(folder.rstrip("/")) if tree.is_public(path))
        names.sort(key=lambda path: path.endswith(TIMESTAMP))
        stick.write_all([(path, data) for path in names if (data := store.read(path)) is not None])
    expires = (_timestamp(store, f"{folder}{TIMESTAMP}").expires.timestamp() for folder in folders)
    return Exported(min(expires), tuple(needed.values()), bytes_count)


def _copied(target: TargetFile, open_target: OpenTarget, into: Path) -> int:
    """Bytes that were written; none for what lies there already."""
    path = tree.target_file(ArtifactName.parse(target.name), target.sha256)
    written = _copy(open_target, path, into, target.length)
    if target.custom.blocks_sha256 is not None:
        written += _copy(open_target, tree.block_list_file(target.sha256), into, None)
    return written


def _copy(open_target: OpenTarget, path: str, into: Path, length: int | None) -> int:
    file = into / path
    if file.exists() and file.stat().st_size == length:
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}")
    with open_target(path) as source, beside.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    beside.replace(file)
    return file.stat().st_size


def _timestamp(store: MetadataStore, path: str) -> Timestamp:
    if (data := store.read(path)) is None:
        raise NotFoundError(f"`{path}` is not there")
    return Metadata[Timestamp].from_bytes(data).signed
