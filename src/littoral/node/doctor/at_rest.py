"""What a node leaves on its disk: what is sealed, by which key, and whether the disk is encrypted below the rest."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from littoral.errors import LittoralError
from littoral.node.at_rest import open_keys, open_site_keys
from littoral.node.gateway.kept_files import GATEWAY, MISSES
from littoral.node.site import Site
from littoral.node.tenant_hosts import TENANTS
from littoral.telemetry.findings import Finding, Status
from littoral.vault import KeyRing
from littoral.vectors.snapshots import SNAPSHOTS, is_sealed

__all__ = ["examine_at_rest"]

CHECK = "encryption"
LAYERS_MAX = 8
FILES_MAX = 10_000


def examine_at_rest(site: Site, *, root: Path = Path("/")) -> Iterator[Finding]:
    """root: of `sys`, for tests."""
    if site.mesh is not None and site.mesh.encryption is not None:
        yield _keys("keys of the site", open_site_keys, site)
    if site.encryption is None:
        yield Finding(CHECK, str(site.file), Status.OK, "no table `encryption`: snapshots and caches lie there plain")
        return
    yield _keys("keys", open_keys, site)
    yield from _snapshots(site)
    yield from _near_misses(site)
    yield _shards(site, root)


def _keys(subject: str, read: Callable[[Site], KeyRing | None], site: Site) -> Finding:
    try:
        ids = [] if (ring := read(site)) is None else ring.ids
        return Finding(CHECK, subject, Status.OK, f"key {ids[0]} stands first, {len(ids)} in all")
    except LittoralError as error:
        return Finding(CHECK, subject, Status.FAIL, error.message, error.hint)


def _snapshots(site: Site) -> Iterator[Finding]:
    folder = site.data / SNAPSHOTS
    found = [path for _, path in zip(range(FILES_MAX), sorted(folder.glob("*/*.snapshot")), strict=False)]
    if plain := [path for path in found if not is_sealed(path)]:
        words = f"{len(plain)} of {len(found)} were made before they were sealed, such as `{plain[0].name}`"
        yield Finding(CHECK, "snapshots", Status.WARN, words, "make them anew, and delete these")
    elif found:
        yield Finding(CHECK, "snapshots", Status.OK, f"{len(found)}, all sealed")


def _near_misses(site: Site) -> Iterator[Finding]:
    """Questions and answers of a gateway, the operator's and those of tenants."""
    folders = (site.data, *sorted((site.data / TENANTS).glob("*")))
    found = [path for folder in folders if (path := folder / GATEWAY / MISSES).is_file()]
    if plain := [path for path in found if not is_sealed(path)]:
        words = f"{len(plain)} of {len(found)} lie plain, such as `{plain[0]}`"
        yield Finding(
            CHECK, "near misses", Status.WARN, words, "a node that starts with the keys seals them with the next"
        )
    elif found:
        yield Finding(CHECK, "near misses", Status.OK, f"of the gateway, {len(found)}, all sealed")


def _shards(site: Site, root: Path) -> Finding:
    there = next(path for path in (site.data, *site.data.parents) if path.exists())
    device = there.stat().st_dev
    if _is_encrypted(root / "sys/dev/block" / f"{os.major(device)}:{os.minor(device)}", LAYERS_MAX):
        return Finding(CHECK, "shards", Status.OK, "lie plain on an encrypted device")
    words = "lie plain, the store maps its files, and their device does not look encrypted"
    return Finding(CHECK, "shards", Status.WARN, words, "LUKS below `node.data`; fscrypt is not seen from here")


def _is_encrypted(device: Path, layers: int) -> bool:
    """dm-crypt, itself or below."""
    try:
        if (device / "dm/uuid").read_text("ascii").startswith("CRYPT-"):
            return True
    except (OSError, UnicodeDecodeError):
        pass
    below = device / "slaves"
    if not layers or not below.is_dir():
        return False
    return any(_is_encrypted(path, layers - 1) for path in below.iterdir())
