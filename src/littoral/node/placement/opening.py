"""From the table `placement`, with `mesh` or a fleet, to a node whose steps move, and which runs others'."""

import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

from littoral.clock import Clock
from littoral.node.node import ServedAgent, ServedModel
from littoral.node.placement.asker import Asker
from littoral.node.placement.fleet_way import FLEET, FleetWay, fleet_way
from littoral.node.placement.placement import Placement
from littoral.node.placement.power import PowerMeter
from littoral.node.placement.service import StepService
from littoral.node.placement.way import Way, Ways
from littoral.node.placement.workplace import Workplace
from littoral.node.pooling import Pooling
from littoral.node.site import Site
from littoral.transport import Transport

__all__ = ["open_placement"]


class Mesh(Protocol):
    """This node among others of its site. roster: regions of those, by name."""

    @property
    def name(self) -> str: ...

    @property
    def transport(self) -> Transport: ...

    def roster(self) -> Mapping[str, str]: ...


class _Around(NamedTuple):
    """Who steps may go to, and how."""

    name: str
    transport: Way
    mesh: Mesh | None

    def roster(self) -> Mapping[str, str]:
        return {} if self.mesh is None else self.mesh.roster()


@contextlib.asynccontextmanager
async def open_placement(
    site: Site,
    mesh: Mesh | None,
    models: Mapping[str, ServedModel],
    agents: Mapping[str, ServedAgent],
    pooling: Pooling,
    clock: Clock,
) -> AsyncIterator[Placement | None]:
    """mesh: to the other nodes of the site, if there are any. None without the table.

    Raises SettingError for a counter of energy that cannot be read, and as `fleet_way`.
    """
    if site.placement is None:
        yield None
        return
    table, fleet = site.placement, fleet_way(site, clock)
    around = _around(site, mesh, fleet)
    workplace = Workplace(models, agents, pooling.batchers, pooling.threads.statistics().threads)
    counter = None if table.power.counter is None else site.path_of(table.power.counter)
    power = PowerMeter(table.power, workplace.worked_s, clock, counter=counter)
    service = StepService(workplace, table, power, around.roster, boot=secrets.token_hex(8), clock=clock)
    peer = None if site.mesh is None else site.mesh.orchestrator
    asker = Asker(
        around,
        workplace,
        table,
        outside=[*([peer] if peer else []), *([FLEET] if fleet else [])],
        is_spent=power.is_spent,
        clock=clock,
        rng=random.Random(site.node.name),  # noqa: S311 (when to try)
    )
    if mesh is not None:
        await service.open(mesh.transport)
    await asker.open()
    try:
        yield Placement(asker, service, workplace, power, fleet)
    finally:
        await asker.close()
        if fleet is not None:
            await fleet.close()


def _around(site: Site, mesh: Mesh | None, fleet: FleetWay | None) -> _Around:
    ways: list[Way] = [] if mesh is None else [mesh.transport]
    ways += [] if fleet is None else [fleet]
    return _Around(site.node.name if mesh is None else mesh.name, Ways(ways), mesh)
