"""From the table `gateway` of a site file to gateways that run: the operator's, and one of each tenant that has it."""

import contextlib
import random
from collections.abc import AsyncIterator
from importlib.util import find_spec

from littoral.clock import Clock
from littoral.errors import SetupError
from littoral.gateway.flights import Flights
from littoral.gateway.order import Gateway
from littoral.gateway.upstream import Upstream
from littoral.gateway.upstreams import Upstreams
from littoral.node.gateway.secrets import headers_of, key_of
from littoral.node.gateway_tables import UpstreamTable
from littoral.node.node import Node
from littoral.node.site import Site

__all__ = ["open_gateway", "upstream_of"]


@contextlib.asynccontextmanager
async def open_gateway(site: Site, node: Node, clock: Clock) -> AsyncIterator[None]:
    """`gateway` of the node and of its tenants' is there until the block ends. Raises SetupError, SettingError."""
    if (table := site.gateway) is None:
        yield
        return
    if find_spec("aiohttp") is None:
        raise SetupError(f"{site.file}: `gateway` needs an extra", hint='pip install "littoral[gateway]"')
    from littoral.gateway.upstream_http import HttpService

    bytes_max = table.answer_mb_max << 20
    async with HttpService.open() as service:
        upstreams = Upstreams(
            service,
            [upstream_of(site, one) for one in table.upstreams],
            clock=clock,
            rng=random.Random(),  # noqa: S311  which of several is asked
            answer_bytes_max=bytes_max,
        )
        flights = Flights(upstreams, answer_bytes_max=bytes_max)
        node.gateway = Gateway("", upstreams, flights, clock)
        for name, tenant in node.tenants.items():
            if tenant.has_gateway is not None:
                tenant.node.gateway = Gateway(name, upstreams, flights, clock)
        try:
            yield
        finally:
            for one in (node, *(tenant.node for tenant in node.tenants.values())):
                one.gateway = None
            await flights.close()


def upstream_of(site: Site, table: UpstreamTable) -> Upstream:
    """Raises SettingError for a key that is not to be had."""
    return Upstream(
        name=table.name,
        url=table.url,
        key=key_of(site, table),
        models=tuple(table.models),
        rename=table.rename,
        headers=headers_of(site, table),
        weight=table.weight,
        connect_s=table.connect_s,
        first_byte_s=table.first_byte_s,
        idle_s=table.idle_s,
        whole_s=table.timeout_s,
        requests_max=table.requests_max,
        asks_usage=table.usage,
    )
