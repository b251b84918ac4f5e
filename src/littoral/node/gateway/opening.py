"""From the table `gateway` of a site file to gateways that run: the operator's, and one of each tenant that has it."""

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec

import msgspec

from littoral.clock import Clock
from littoral.errors import SetupError
from littoral.gateway.budgets import Budget, Budgets, Price, Prices
from littoral.gateway.flights import Flights
from littoral.gateway.ledger import Ledger
from littoral.gateway.listing import Listing
from littoral.gateway.order import Gateway
from littoral.gateway.tally import Tally
from littoral.gateway.upstream import Upstream
from littoral.gateway.upstreams import Upstreams
from littoral.node.gateway.answers_opening import GATEWAY, open_answers
from littoral.node.gateway.embedding import embedder_of
from littoral.node.gateway.secrets import headers_of, key_of
from littoral.node.gateway_tables import BudgetTable, UpstreamTable
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.site import Site

__all__ = ["open_gateway", "upstream_of"]

Say = Callable[[str], None]


@contextlib.asynccontextmanager
async def open_gateway(site: Site, node: Node, clock: Clock, say: Say) -> AsyncIterator[None]:
    """`gateway` of the node, and of its tenants' nodes, is there until the block ends. Raises SetupError and
    SettingError.
    """
    if (table := site.gateway) is None:
        yield
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

        async def opened(seen: Node, budget: BudgetTable, models: Sequence[str]) -> Gateway:
            tally, answers = Tally(clock), None
            if table.cache.enabled:
                opening = open_answers(seen, table, upstreams, prices, embedder, tally, clock, say)
                answers = await stack.enter_async_context(opening)
            ledger = Ledger(seen.data / GATEWAY, clock)
            budgets = Budgets(seen.tenant, Budget(**msgspec.structs.asdict(budget)), prices, ledger, clock)
            found = Gateway(
                seen.tenant,
                upstreams,
                flights,
                budgets=budgets,
                answers=answers,
                tally=tally,
                clock=clock,
                listing=listing,
                may_ask=lambda model: any(fnmatchcase(model, pattern) for pattern in models),
            )
            stack.push_async_callback(found.close)
            return found

        node.gateway = await opened(node, table.budget, ["*"])
        for tenant in node.tenants.values():
            if (has := tenant.has_gateway) is not None:
                tenant.node.gateway = await opened(tenant.node, has.budget, has.models)
        for one in table.upstreams:
            say(f"gateway: upstream `{one.name}`, {one.url}, models {', '.join(one.models)}")
        stack.push_async_callback(flights.close)
        stack.callback(_forget, node)
        yield


def _forget(node: Node) -> None:
    for one in (node, *(tenant.node for tenant in node.tenants.values())):
        one.gateway = None


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
