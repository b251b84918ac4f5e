"""From the table `audit` to a log that the node tells: keys, folder, witnesses."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import InputError, SettingError, SetupError
from littoral.node.audit.epochs import LOG, read_epoch
from littoral.node.site import Site
from littoral.vectors.collection import Collection
from littoral.web.caller import NODE

if TYPE_CHECKING:
    from littoral.artifact.ed25519 import SecretKey
    from littoral.audit.entries import Entry
    from littoral.audit.recorder import Terms
    from littoral.node.audit.cosigning import Cosigning
    from littoral.node.audit.trail import Trail
    from littoral.node.audit.url_witnesses import UrlWitness
    from littoral.node.audit_tables import AuditTable, WitnessTable
    from littoral.node.federation.federation import Federation

__all__ = ["LOG", "WITNESS", "log_key", "open_trail", "open_witnesses", "origin_of"]

WITNESS = "witness"
"""Folder below the data folder: what it has seen of others' logs."""

KEY, WITNESS_KEY = "audit.key", "witness.key"
DAY_S = 86_400


@contextlib.asynccontextmanager
async def open_trail(site: Site, find: Callable[[str], Collection], clock: Clock) -> "AsyncIterator[Trail | None]":
    """None without the table: then nothing is told. find: a collection by name or alias.

    Raises SetupError without the extra, SettingError for a key that is none.
    """
    if (table := site.audit) is None:
        yield None
        return
    from littoral.audit.disk import FolderDisk
    from littoral.audit.recorder import Recorder
    from littoral.node.audit.trail import Trail

    key, folder = await asyncio.to_thread(log_key, site), site.data / LOG
    recorder = Recorder(lambda: FolderDisk(folder), origin_of(site), key, _terms(table), clock)
    await recorder.open(_settings(site, table), _restored(site, clock))
    try:
        yield Trail(recorder, find, clock, share=table.queries, shares=table.collections)
    finally:
        await recorder.close()


@contextlib.asynccontextmanager
async def open_witnesses(
    site: Site, trail: "Trail | None", federation: "Federation | None", clock: Clock
) -> AsyncIterator[None]:
    """The other nodes of the mesh cosign this node's log, and it theirs; and those that the table names by address.

    Nothing without the table. Raises SettingError for a witness's key that is none.
    """
    if trail is None or (table := site.audit) is None:
        yield
        return
    from littoral.node.audit.cosigning import Cosigning
    from littoral.node.audit.url_witnesses import UrlWitnesses

    cosigning = Cosigning(trail.recorder, clock)
    trail.sources.append(cosigning.readings)
    named = UrlWitnesses(trail.recorder, [_url_witness(site, one) for one in table.witnesses], cosigning, clock)
    named.open(table.witness_s)
    if federation is not None:
        federation.service.served = trail.served
    async with contextlib.AsyncExitStack() as opened:
        opened.push_async_callback(named.close)
        if federation is not None:
            await opened.enter_async_context(_in_mesh(site, trail, federation, cosigning, clock))
        yield


@contextlib.asynccontextmanager
async def _in_mesh(
    site: Site, trail: "Trail", federation: "Federation", cosigning: "Cosigning", clock: Clock
) -> AsyncIterator[None]:
    from littoral.audit.disk import FolderDisk
    from littoral.audit.witness import Witness
    from littoral.node.audit.witnessing import Witnessing

    assert site.audit is not None
    key = await asyncio.to_thread(_key, site, site.data / WITNESS_KEY)
    witness = Witness(FolderDisk(site.data / WITNESS), f"littoral/{site.node.name}/witness", key, clock.wall)
    rng = random.Random()  # noqa: S311  who is asked is no secret
    transport, members = federation.transport, federation.roster
    witnessing = Witnessing(trail.recorder, witness, transport, members, rng, cosigning, clock)
    trail.sources.append(witnessing.readings)
    await witnessing.open(site.audit.witness_s)
    try:
        yield
    finally:
        await witnessing.close()


def _url_witness(site: Site, table: "WitnessTable") -> "UrlWitness":
    from littoral.audit.note import COSIGNATURE_V1, Verifier
    from littoral.node.audit.url_witnesses import UrlWitness

    where = f"{site.file}: `audit.witnesses`: `{table.url}`"
    try:
        key = Verifier.parse(table.key)
    except InputError as error:
        raise SettingError(f"{where}: {error.message}") from error
    if key.kind != COSIGNATURE_V1:
        raise SettingError(f"{where}: its key is none of a witness", hint=f"`{table.url}/witness-key` tells it")
    token, ca = (None if one is None else site.path_of(one) for one in (table.token_file, table.ca))
    return UrlWitness(table.url, key, token, ca)


def origin_of(site: Site) -> str:
    """The name of the node's log. Raises TrustError."""
    name = (site.audit.origin if site.audit else None) or f"littoral/{site.node.name}"
    epoch = read_epoch(site.data)
    return name if epoch is None else f"{name}/{epoch.name}"


def _restored(site: Site, clock: Clock) -> "list[Entry]":
    """What a log begins with whose node was restored."""
    from littoral.audit.entries import RESTORED, Entry

    if (epoch := read_epoch(site.data)) is None:
        return []
    origin, size, root = epoch.before
    return [Entry(clock.wall(), RESTORED, NODE, origin, size, root, "root", detail=epoch.detail)]


def log_key(site: Site) -> "SecretKey":
    """What signs the node's log, made if nobody has named one. Raises SetupError, SettingError."""
    if find_spec("cryptography") is None:
        raise SetupError(f"{site.file}: `audit` needs an extra", hint='pip install "littoral[sign]"')
    named = site.audit.key_file if site.audit else None
    if named is None:
        return _key(site, site.data / KEY)
    path = site.path_of(named)
    if not path.is_file():
        raise SettingError(f"{site.file}: `audit.key_file`: `{path}` is no file", hint="`littoral keys new NAME`")
    return _key(site, path)


def _key(site: Site, path: Path) -> "SecretKey":
    from littoral.artifact.ed25519 import KEY_BYTES_MAX, SecretKey, read_secret_key

    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, SecretKey.new().pem, mode=0o600)
        with path.open("rb") as stream:
            return read_secret_key(stream.read(KEY_BYTES_MAX))
    except (OSError, InputError) as error:
        raise SettingError(f"{site.file}: `audit`: key `{path}`: {error}") from error


def _terms(table: "AuditTable") -> "Terms":
    from littoral.audit.recorder import Terms
    from littoral.audit.retention import Keep

    keep = Keep(
        None if table.keep_days is None else table.keep_days * DAY_S,
        None if table.keep_mb is None else table.keep_mb << 20,
    )
    return Terms(table.commit_ms / 1000, table.queue, table.when_full == "refuse writes", table.wait, keep)


def _settings(site: Site, table: "AuditTable") -> dict[str, object]:
    """What an auditor must know of what is not told, and which site file was in force."""
    try:
        digest = sha256(site.file.read_bytes()).hexdigest()
    except OSError:
        digest = ""
    return {
        "site_file": digest,
        "queries": table.queries,
        "collections": dict(table.collections),
        "when_full": table.when_full,
        "tokens": site.auth is not None,
    }
