"""From the table `mesh` to a node among others."""

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path

from littoral.clock import Clock
from littoral.errors import NotFoundError, SettingError, SetupError
from littoral.node.federation.federation import Federation
from littoral.node.federation.messages import WRITE
from littoral.node.federation.signed_site import SignedSite
from littoral.node.kept_mesh import kept
from littoral.node.site import Site
from littoral.telemetry import Spans
from littoral.transport import Transport
from littoral.transport.traced import TracedTransport
from littoral.vault import KeyRing
from littoral.vectors.collections import Collections

__all__ = ["open_federation", "open_transport"]


@contextlib.asynccontextmanager
async def open_federation(
    site: Site,
    collections: Collections,
    transport: Transport | None,
    *,
    clock: Clock,
    say: Callable[[str], None],
    spans: Spans | None = None,
    keys: KeyRing | None = None,
    site_keys: KeyRing | None = None,
) -> AsyncIterator[Federation | None]:
    """None without the table. transport: to the other nodes, if the caller has one; it is not closed here then.
    spans: where requests to other nodes, and theirs, are recorded. keys: that seal journals.
    site_keys: that seal fields of payloads.

    Raises SettingError for certificates that are not there, and what `Federation` raises.
    """
    if site.mesh is None:
        yield None
        return
    tables = {name: table for name, table in site.collections.items() if table.spread is not None}
    async with contextlib.AsyncExitStack() as opened:
        if transport is None:
            transport = await open_transport(site, clock)
            opened.push_async_callback(transport.close)
            transport = await opened.enter_async_context(kept(site, transport, clock, say))
            say(
                f"mesh: node `{transport.name}` of site `{site.mesh.site}`, {site.mesh.transport} at {site.mesh.listen}"
            )
        found = {name: table.spread.sample for name, table in tables.items() if table.spread is not None}
        samples = {name: site.path_of(path) for name, path in found.items() if path is not None}
        identity = getattr(transport, "identity", None)
        federation = Federation(
            site.mesh,
            tables,
            collections,
            transport if spans is None else TracedTransport(transport, spans),
            site.data,
            clock=clock,
            say=say,
            samples=samples,
            signed=None if identity is None else SignedSite(identity),
            keys=keys,
            site_keys=site_keys,
        )
        federation.roster_word = getattr(transport, "roster_word", federation.roster_word)
        opened.push_async_callback(federation.close)
        await federation.open()
        yield federation


async def open_transport(site: Site, clock: Clock) -> Transport:
    """As the table says. Raises SettingError naming a file that is missing, SetupError without the extra."""
    if find_spec("zenoh") is None:
        raise SetupError(f"{site.file}: `mesh` needs an extra", hint='pip install "littoral[mesh]"')
    from littoral.mesh.zenoh_options import ZenohOptions
    from littoral.mesh.zenoh_transport import ZenohTransport

    assert site.mesh is not None
    mesh, (authority, certificate, key) = site.mesh, _credentials(site, clock)
    options = ZenohOptions(
        site=mesh.site,
        name=site.node.name,
        listen=mesh.listen,
        peers=mesh.peers,
        ca=authority,
        certificate=certificate,
        key=key,
        protocol=mesh.transport,
        bulk=frozenset({WRITE}),
    )
    return await ZenohTransport.open(options)


def _credentials(site: Site, clock: Clock) -> tuple[Path, Path, Path]:
    """Files of the CA, of this node's certificate and of its key: those of the table, else of the node's identity."""
    mesh = site.mesh
    assert mesh is not None
    named = {"authority": mesh.authority, "certificate": mesh.certificate, "key": mesh.key}
    given = {name: site.path_of(path) for name, path in named.items() if path is not None}
    for name, path in given.items():
        if not path.is_file():
            raise SettingError(f"{site.file}: `mesh.{name}`: `{path}` is no file")
    if len(given) == len(named):
        return given["authority"], given["certificate"], given["key"]
    if given:
        lacking = ", ".join(f"`mesh.{name}`" for name in named if name not in given)
        raise SettingError(f"{site.file}: {lacking} is missing", hint="name all three files, or none after `mesh join`")
    from littoral.mesh.identity.identity import Identity

    try:
        identity = Identity.open(site.data, clock)
    except NotFoundError as error:
        raise SettingError(
            f"{site.file}: `mesh`: node `{site.node.name}` has no certificate: {error.message}",
            hint="`littoral mesh init` or `littoral mesh join`, or name the files in `mesh`",
        ) from error
    if identity.name != site.node.name:
        raise SettingError(
            f"{site.file}: `node.name` is `{site.node.name}`, the certificate is of `{identity.name}`",
            hint="a node's name in the mesh is that of its certificate",
        )
    return identity.anchors_file, identity.credential_file, identity.credential_file
