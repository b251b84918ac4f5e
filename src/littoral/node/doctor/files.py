"""The files of a site: models, agents, collections, the cache of machine code. Nothing is opened that has an owner."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from littoral import settings
from littoral.errors import LittoralError, NotFoundError
from littoral.node.backup.together import AT, data_of, named
from littoral.node.model_files import find_versions
from littoral.node.site import Site
from littoral.node.undelivered import undelivered
from littoral.runtime.builtin_agents import PREFIX
from littoral.telemetry.findings import Finding, Status
from littoral.vectors.layout import COLLECTIONS, STORE, read_collection_file
from littoral.vectors.owner_lock import FILE_NAME

__all__ = ["examine_caches", "examine_digests", "examine_shards"]

MIB = 1 << 20
FILES_MAX = 100_000

Told = Mapping[str, Mapping[str, Any]]
"""Of a node that runs, what it says of its collections, by name; of tenants', by `TENANT@NAME`."""


def examine_digests(site: Site) -> Iterator[Finding]:
    """Files of models and agents: there, and with the digest that the site file says."""
    waiting = undelivered(site)
    for name, model in site.models.items():
        if name in waiting:
            continue
        yield from _versions(f"models.{name}", site.path_of(model.path), model.sha256)
    for name, agent in site.agents.items():
        if not agent.path.startswith(PREFIX) and name not in waiting:
            yield _file(f"agents.{name}", Path(site.agent_path(agent)), agent.sha256)


def _versions(subject: str, path: Path, pinned: str | None) -> Iterator[Finding]:
    try:
        files = find_versions(path)
    except LittoralError as error:
        yield Finding("digest", subject, Status.FAIL, error.message, error.hint)
        return
    for file in files.values():
        yield _file(subject, file, pinned)


def _file(subject: str, path: Path, pinned: str | None) -> Finding:
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return Finding("digest", subject, Status.FAIL, f"`{path}`: {error.strerror}", "`littoral build` makes models")
    if pinned is not None and digest != pinned:
        words = f"`{path}` has SHA-256 {digest}, the site file says {pinned}"
        return Finding("digest", subject, Status.FAIL, words, "put the right file there, or change `sha256` if it is")
    return Finding("digest", subject, Status.OK, f"{digest[:16]}… {'as pinned' if pinned else '(not pinned)'}")


def examine_shards(site: Site, told: Told | None) -> Iterator[Finding]:
    """Collections on disk. told: by the node that runs; None if none does."""
    for tenant in ("", *(table.name for table in site.tenants)):
        folder = data_of(site.data, tenant) / COLLECTIONS
        with contextlib.suppress(OSError):
            found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
            yield from (_collection(path, tenant, told) for path in found)


def _collection(path: Path, tenant: str, told: Told | None) -> Finding:
    subject = f"collection {path.name}{f' of tenant {tenant}' if tenant else ''}"
    try:
        shards = read_collection_file(path).all_shards
    except (NotFoundError, LittoralError) as error:
        hint = "recover it from a snapshot, or move its folder away: the node starts without it"
        return Finding("shard", subject, Status.FAIL, error.message, hint)
    for shard in shards:
        if not (path / shard / STORE).is_dir():
            return Finding(
                "shard", subject, Status.FAIL, f"`{path / shard}` has no store", "recover it from a snapshot"
            )
        if told is None and (owner := _owner(path / shard)) is not None:
            words = f"is held by process {owner}, and no node answers"
            return Finding("shard", subject, Status.WARN, words, "does another node use this data folder?")
    if told is None:
        return Finding("shard", subject, Status.OK, f"{len(shards)} on disk, nobody holds them")
    if not told:
        words = f"{len(shards)} on disk; the node says nothing of them without a token"
        return Finding("shard", subject, Status.OK, words, "`LITTORAL_TOKEN`, with the role `read`")
    return _answering(subject, named(tenant, path.name), told)


def _answering(subject: str, name: str, told: Told) -> Finding:
    found = told.get(name)
    if found is None:
        words = "is held by the node" if AT in name else "belongs to a collection that is spread"
        return Finding("shard", subject, Status.OK, words)
    if found["status"] != "ok":
        return Finding("shard", subject, Status.FAIL, str(found["status"]), "littoral logs --level warning")
    points, indexed = found["points_count"], found["indexed_vectors_count"]
    behind = points - indexed
    if behind > settings.number("LITTORAL_OPTIMIZE_POINTS") > 0:
        words = f"{behind} of {points} points are in no index: searches compare with all of them"
        return Finding(
            "shard", subject, Status.WARN, words, "it is built beside requests; is it still at it in an hour?"
        )
    return Finding("shard", subject, Status.OK, f"{points} points, {indexed} vectors in an index")


def _owner(shard: Path) -> str | None:
    """The process that holds it, without taking it."""
    try:
        handle = os.open(shard / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
    else:
        return None
    finally:
        os.close(handle)


def examine_caches() -> Iterator[Finding]:
    """Machine code that was made: where, how much, and whether more can be kept."""
    folder, most = settings.cache_folder(), settings.number("LITTORAL_CODE_CACHE_MB")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        words, hint = f"`{there}` cannot be written: machine code is made anew at each start", "`LITTORAL_CACHE`"
        yield Finding("cache", f"{folder}", Status.WARN, words, f"name another folder in {hint}")
        return
    used = 0
    for _, path in zip(range(FILES_MAX), folder.rglob("*"), strict=False):
        used += path.stat().st_size if path.is_file() else 0
    yield Finding("cache", f"{folder}", Status.OK, f"{used >> 20} of {most} MiB of machine code")
