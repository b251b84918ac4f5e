"""A node that joined its site by `littoral mesh join`, kept in it while it runs; one with files of its own is not."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, cast

from littoral.clock import Clock
from littoral.errors import SettingError
from littoral.node.site import Site, parse_address
from littoral.transport import Transport

if TYPE_CHECKING:
    from littoral.mesh.identity.identity import Identity

__all__ = ["kept"]


@contextlib.asynccontextmanager
async def kept(site: Site, transport: Transport, clock: Clock, say: Callable[[str], None]) -> AsyncIterator[Transport]:
    """The transport, on which only nodes of the roster are heard, and whose certificate renews itself.

    With `mesh.door` an issuer's door is open meanwhile. The same one where the site file names a certificate: then
    whoever made it keeps it, and there is no roster. Raises SettingError for a door of a node that is no issuer.
    """
    if site.mesh is None or site.mesh.certificate is not None:
        yield transport
        return
    from littoral.mesh.identity.identity import Identity
    from littoral.mesh.keeper import Keeper, Links

    identity = Identity.open(site.data, clock)
    async with _door(site, identity, say) as reload_door:
        keeper = Keeper(
            identity,
            cast(Links, transport),
            protocol=site.mesh.transport,
            places=site.mesh.peers,
            told=lambda document: say(f"mesh: {document.kind} {document.number}, by `{document.writer}`"),
            say=say,
            rng=random.SystemRandom(),
            renewed=reload_door,
        )
        await keeper.start()
        rounds = asyncio.create_task(keeper.run(), name="mesh-keeper")
        try:
            yield keeper.transport
        finally:
            rounds.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rounds


@contextlib.asynccontextmanager
async def _door(site: Site, identity: "Identity", say: Callable[[str], None]) -> AsyncIterator[Callable[[], None]]:
    """What to call when the certificate has changed."""
    assert site.mesh is not None
    if site.mesh.door is None:
        yield lambda: None
        return
    from littoral.mesh.identity.door import open_door

    if identity.issuing_key() is None:
        raise SettingError(
            f"{site.file}: `mesh.door`: node `{identity.name}` is not an issuer",
            hint=f"`littoral mesh promote SITE {identity.name}` on the node that writes the roster",
        )
    async with open_door(identity, *parse_address(site.mesh.door), say=say) as door:
        say(f"mesh: the door is open at {door.host}:{door.port}")
        yield door.reload
