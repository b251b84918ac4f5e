"""From the tables `mesh` and `placement` to a node whose steps move, and which runs others'."""

import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Mapping

from littoral.clock import Clock
from littoral.node.node import ServedAgent, ServedModel
from littoral.node.placement.asker import Asker
from littoral.node.placement.asker import Site as Mesh
from littoral.node.placement.placement import Placement
from littoral.node.placement.power import PowerMeter
from littoral.node.placement.service import StepService
from littoral.node.placement.workplace import Workplace
from littoral.node.pooling import Pooling
from littoral.node.site import Site

__all__ = ["open_placement"]


@contextlib.asynccontextmanager
async def open_placement(
    site: Site,
    mesh: Mesh | None,
    models: Mapping[str, ServedModel],
    agents: Mapping[str, ServedAgent],
    pooling: Pooling,
    clock: Clock,
) -> AsyncIterator[Placement | None]:
    """None without both tables. Raises SettingError for a counter of energy that cannot be read."""
    if mesh is None or site.mesh is None or site.placement is None:
        yield None
        return
    table = site.placement
    workplace = Workplace(models, agents, pooling.batchers, pooling.threads.statistics().threads)
    counter = None if table.power.counter is None else site.path_of(table.power.counter)
    power = PowerMeter(table.power, workplace.worked_s, clock, counter=counter)
    service = StepService(workplace, table, power, mesh.roster, boot=secrets.token_hex(8), clock=clock)
    asker = Asker(
        mesh,
        workplace,
        table,
        orchestrator=site.mesh.orchestrator,
        is_spent=power.is_spent,
        clock=clock,
        rng=random.Random(site.node.name),  # noqa: S311 (when to try)
    )
    await service.open(mesh.transport)
    await asker.open()
    try:
        yield Placement(asker, service, workplace, power)
    finally:
        await asker.close()
