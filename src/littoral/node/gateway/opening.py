"""From the table `gateway` of a site file to gateways that run: the operator's, and those of tenants that have one."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from littoral.clock import Clock
from littoral.errors import SetupError
from littoral.gateway.budgets import Budget, Budgets, Price, Prices
from littoral.gateway.flights import Flights
from littoral.gateway.keeping import Keeping, Part, read_part
from littoral.gateway.ledger import Ledger
from littoral.gateway.listing import Listing
from littoral.gateway.order import Gateway
from littoral.gateway.tally import Tally
from littoral.gateway.upstream import Upstream
from littoral.gateway.upstreams import Upstreams
from littoral.node.gateway.answers_opening import open_answers
from littoral.node.gateway.embedding import embedder_of
from littoral.node.gateway.kept_files import COUNTS, GATEWAY
from littoral.node.gateway.sealing import Seal
from littoral.node.gateway.secrets import headers_of, key_of
from littoral.node.gateway_tables import BudgetTable, TenantGatewayTable, UpstreamTable
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.site import Site

if TYPE_CHECKING:
    from littoral.gateway.remembered import Remembered
    from littoral.node.tenancy.tenancy import OpenGateway
    from littoral.node.tenancy.tenant import Tenant

__all__ = ["limit_gateway", "open_gateway", "upstream_of"]

Say = Callable[[str], None]

COUNTS_S = 5.0


@contextlib.asynccontextmanager
async def open_gateway(site: Site, node: Node, clock: Clock, say: Say) -> AsyncIterator["OpenGateway | None"]:
    """`gateway` of the node is there until the block ends; what is given opens those of tenants in the same way, inside
    the block. None: the site has none. Raises SetupError and SettingError.
    """
    if (table := site.gateway) is None:
        yield None
        return
    if find_spec("aiohttp") is None:
        raise SetupError(f"{site.file}: `gateway` needs an extra", hint='pip install "littoral[gateway]"')
    from littoral.gateway.upstream_http import HttpService

    bytes_max = table.answer_mb_max << 20
    prices = Prices({name: Price(price.input, price.output) for name, price in table.prices.items()})
    embedder = embedder_of(site, node, Observed(node)) if table.cache.enabled else None
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(HttpService.open())
        upstreams = Upstreams(
            service,
            [upstream_of(site, one) for one in table.upstreams],
            clock=clock,
            rng=random.SystemRandom(),
            answer_bytes_max=bytes_max,
        )
        listing = Listing(service, [seat.upstream for seat in upstreams.seats], clock)
        flights = Flights(upstreams, answer_bytes_max=bytes_max)

        @contextlib.asynccontextmanager
        async def opened(seen: Node, budget: BudgetTable, models: Sequence[str]) -> AsyncIterator[None]:
            opening: contextlib.AbstractAsyncContextManager[Remembered | None] = contextlib.nullcontext()
            folder = seen.data / GATEWAY
            tally = await asyncio.to_thread(lambda: Tally.of(read_part(folder / COUNTS), clock))
            counts = Part(folder / COUNTS, tally.told, lambda: tally.change_count, COUNTS_S)
            if table.cache.enabled:
                seal = Seal(node.keys, f"near misses {seen.tenant}")
                opening = open_answers(seen, table, upstreams, prices, embedder, tally, clock, say, seal)
            ledger = Ledger(folder, clock)
            budgets = Budgets(seen.tenant, Budget(**msgspec.structs.asdict(budget)), prices, ledger, clock)
            async with Keeping([counts], clock), opening as answers:
                seen.gateway = found = Gateway(
                    seen.tenant,
                    upstreams,
                    flights,
                    budgets=budgets,
                    answers=answers,
                    tally=tally,
                    clock=clock,
                    listing=listing,
                    may_ask=_may_ask(models),
                )
                try:
                    yield
                finally:
                    seen.gateway = None
                    await found.close()

        def of_tenant(tenant: "Tenant") -> contextlib.AbstractAsyncContextManager[None]:
            assert tenant.has_gateway is not None, "asked for those that have one"
            return opened(tenant.node, tenant.has_gateway.budget, tenant.has_gateway.models)

        await stack.enter_async_context(opened(node, table.budget, ["*"]))
        for one in table.upstreams:
            say(f"gateway: upstream `{one.name}`, {one.url}, models {', '.join(one.models)}")
        stack.push_async_callback(flights.close)
        yield of_tenant


def limit_gateway(gateway: Gateway, table: TenantGatewayTable) -> None:
    """What a tenant has of it from now on; requests that were taken go on."""
    gateway.budgets.limit(Budget(**msgspec.structs.asdict(table.budget)))
    gateway.may_ask = _may_ask(table.models)
    if gateway.answers is not None:
        gateway.answers.store.hot.clear()  # what is found by its bytes is told before its model is looked at


def _may_ask(models: Sequence[str]) -> Callable[[str], bool]:
    return lambda model: any(fnmatchcase(model, pattern) for pattern in models)


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
