"""From the table `mesh` to a node among others."""

import contextlib
from collections.abc import AsyncIterator, Callable

from littoral.clock import Clock
from littoral.errors import SettingError
from littoral.node.federation.federation import Federation
from littoral.node.site import Site
from littoral.transport import Transport
from littoral.vectors.collections import Collections

__all__ = ["open_federation"]


@contextlib.asynccontextmanager
async def open_federation(
    site: Site, collections: Collections, transport: Transport | None, *, clock: Clock, say: Callable[[str], None]
) -> AsyncIterator[Federation | None]:
    """None without the table. transport: to the other nodes, if the caller has one; it is not closed here then.

    Raises SettingError for certificates that are not there, and what `Federation` raises.
    """
    if site.mesh is None:
        yield None
        return
    if transport is None:
        raise SettingError(f"{site.file}: `mesh` needs a transport")
    tables = {name: table for name, table in site.collections.items() if table.spread is not None}
    federation = Federation(site.mesh, tables, collections, transport, site.data, clock=clock, say=say)
    try:
        await federation.open()
        yield federation
    finally:
        await federation.close()
