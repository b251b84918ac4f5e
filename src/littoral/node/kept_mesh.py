"""A node that joined its site by `littoral mesh join`, kept in it while it runs; one with files of its own is not."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import cast

from littoral.clock import Clock
from littoral.node.site import Site
from littoral.transport import Transport

__all__ = ["kept"]


@contextlib.asynccontextmanager
async def kept(site: Site, transport: Transport, clock: Clock, say: Callable[[str], None]) -> AsyncIterator[Transport]:
    """The transport, on which only nodes of the roster are heard, and whose certificate renews itself.

    The same one where the site file names a certificate: then whoever made it keeps it, and there is no roster.
    """
    if site.mesh is None or site.mesh.certificate is not None:
        yield transport
        return
    from littoral.mesh.identity.identity import Identity
    from littoral.mesh.keeper import Keeper, Links

    keeper = Keeper(
        Identity.open(site.data, clock),
        cast(Links, transport),
        protocol=site.mesh.transport,
        places=site.mesh.peers,
        told=lambda document: say(f"mesh: {document.kind} {document.number}, by `{document.writer}`"),
        say=say,
        rng=random.SystemRandom(),
    )
    await keeper.start()
    rounds = asyncio.create_task(keeper.run(), name="mesh-keeper")
    try:
        yield keeper.transport
    finally:
        rounds.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await rounds
