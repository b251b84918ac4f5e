"""What a backup of a node holds beside its collections, and what it does not: both from the site file."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from littoral.audit.copying import copy_log
from littoral.node.audit.epochs import BEFORE, EPOCH, LOG
from littoral.node.encrypted_record import ENCRYPTED_FILE
from littoral.node.gateway.kept_files import COUNTS, GATEWAY, LABELLED, MISSES, WATCH
from littoral.node.model_files import find_versions
from littoral.node.opened_access import tls_files, tokens_file
from littoral.node.site import Site
from littoral.node.tenant_hosts import TENANTS
from littoral.runtime.builtin_agents import PREFIX
from littoral.vectors.aliases import ALIASES_FILE
from littoral.vectors.layout import COLLECTIONS

__all__ = ["DATA", "OUTSIDE", "SITE", "KeptFile", "LeftOut", "files_of", "left_out", "log_of"]

MESH = "mesh"
MESH_FILES = ("shard-map.json", "indexes.json")
"""Where shards lie, and which indexes they have; newer ones come from other nodes, if any are there."""

SITE, OUTSIDE, DATA = "site", "outside", "data"
"""First part of a file's name: beside the site file or below it; elsewhere on the machine; of the data folder."""


class KeptFile(NamedTuple):
    """name: in the backup. path: on this machine."""

    name: str
    path: Path


class LeftOut(NamedTuple):
    """what: is not in a backup. why: and where it is to come from, for people."""

    what: str
    why: str


def files_of(site: Site, *, with_tokens: bool = False) -> list[KeptFile]:
    """The site file first, then every file that it names and a node needs; keys of no kind.

    Raises NotFoundError, ArtifactError for models that are not there.
    """
    paths = list(dict.fromkeys(path.absolute() for path in _paths(site, with_tokens=with_tokens)))
    home = site.file.absolute().parent
    named = [KeptFile(_name(path, home, at), path) for at, path in enumerate(paths)]
    for owner in ("", *(f"{TENANTS}/{table.name}/" for table in site.tenants)):
        kept = [f"{COLLECTIONS}/{ALIASES_FILE}", ENCRYPTED_FILE]
        there = [(name, site.data / owner / name) for name in kept]
        named += [KeptFile(f"{DATA}/{owner}{name}", path) for name, path in there if path.is_file()]
        named += _of_gateway(site.data, owner)
    if site.mesh is not None:
        there = [(name, site.data / MESH / name) for name in MESH_FILES]
        named += [KeptFile(f"{DATA}/{MESH}/{name}", path) for name, path in there if path.is_file()]
    before = site.data / BEFORE
    found = sorted(path for path in before.rglob("*") if path.is_file()) if before.is_dir() else ()
    named += [KeptFile(f"{DATA}/{path.relative_to(site.data).as_posix()}", path) for path in found]
    if (site.data / EPOCH).is_file():
        named.append(KeptFile(f"{DATA}/{EPOCH}", site.data / EPOCH))
    return named


def _of_gateway(data: Path, owner: str) -> Iterator[KeptFile]:
    """What it has learned of all its answers together, and what waits for people."""
    for name in (COUNTS, LABELLED, MISSES, WATCH):
        path = data / owner / GATEWAY / name
        if path.is_file():
            yield KeptFile(f"{DATA}/{owner}{GATEWAY}/{name}", path)


def log_of(site: Site, staging: Path) -> list[KeptFile]:
    """The audit log as it is now, in `staging`, a folder of the caller's that is not there yet. Raises TrustError."""
    copy_log(site.data / LOG, staging)
    found = sorted(path for path in staging.rglob("*") if path.is_file())
    return [KeptFile(f"{DATA}/{LOG}/{path.relative_to(staging).as_posix()}", path) for path in found]


def _name(path: Path, home: Path, at: int) -> str:
    if path.is_relative_to(home) and ".." not in path.parts:
        return f"{SITE}/{path.relative_to(home).as_posix()}"
    return f"{OUTSIDE}/{at}/{path.name}"


def _paths(site: Site, *, with_tokens: bool) -> Iterator[Path]:
    yield site.file
    for model in site.models.values():
        yield from find_versions(site.path_of(model.path)).values()
    for agent in site.agents.values():
        if not agent.path.startswith(PREFIX):
            yield site.path_of(agent.path)
        yield from map(site.path_of, agent.files.values())
    if site.signatures is not None:
        yield from map(site.path_of, site.signatures.keys)
    if with_tokens and (tokens := tokens_file(site)) is not None and tokens.is_file():
        yield tokens


def left_out(site: Site, *, with_tokens: bool = False) -> Iterator[LeftOut]:
    """What the site has, and a backup of it does not."""
    if site.auth is not None and not with_tokens:
        yield LeftOut(site.auth.tokens, "digests of tokens: `--with-tokens` takes them along, or make new ones")
    if (tls := tls_files(site)) is not None:
        told = ", ".join(str(path) for path in tls if path is not None)
        yield LeftOut(told, "certificate and key of TLS: keys are in no backup")
    if site.encryption is not None:
        yield LeftOut("keys of `encryption`", "whoever has a backup and its keys can read it: keep them apart")
    if site.mesh is not None and site.mesh.encryption is not None:
        yield LeftOut("keys of `mesh.encryption`", "all nodes of the site have them: keep them apart from backups")
    if site.mqtt is not None:
        yield LeftOut("files of `mqtt`", "passwords, keys and certificates: keys are in no backup")
    if site.mesh is not None:
        yield LeftOut("identity in the mesh", "no two nodes may have one: a restored node is let in anew")
    if site.audit is not None:
        why = "a restored node keeps the log that is in the backup, and begins another, with a key of its own"
        yield LeftOut("key of the audit log", why)
    if site.cache.disk_mb:
        yield LeftOut("disk cache", "it is filled again")
