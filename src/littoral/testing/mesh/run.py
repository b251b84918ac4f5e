"""One simulation from its plan to its report."""

import asyncio
import contextlib
import gc
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated
from littoral.testing.mesh.changes import check_models, check_places, owing, unfinished_changes
from littoral.testing.mesh.clients import Clients
from littoral.testing.mesh.disks import disks_may_be_full
from littoral.testing.mesh.faults import befall
from littoral.testing.mesh.invariants import (
    LOOK_S,
    check_promises,
    check_quiet_searches,
    differing_members,
    differing_replicas,
    differing_rosters,
    watch,
)
from littoral.testing.mesh.makers import Makers
from littoral.testing.mesh.plan import Plan
from littoral.testing.mesh.site import SimulatedSite

__all__ = ["CONVERGED_S_MAX", "Report", "simulate"]

CONVERGED_S_MAX = 10.0
CHANGED_S_MAX = 30.0
ROSTER_S_MAX = 15.0
"""Three looks of a node at what others announced."""

STARTED_WITHIN_S = 1.0
GIVE_UP_S = 60.0
QUIET_SEARCHES = 20
COLLECTED_EVERY = (200_000, 20, 1_000)
MEMORY = Path("/dev/shm")  # noqa: S108


class Report(NamedTuple):
    """broken: what did not hold, with the simulated second. started_s, healed_s, alike_s: until everybody knew who is
    here, at the start and after the last fault, and until all replicas were equal. digest: of all that happened.
    """

    seed: int
    node_count: int
    broken: list[str]
    digest: str
    started_s: float
    healed_s: float
    alike_s: float
    simulated_s: float
    message_count: int
    message_bytes: int
    acknowledged_count: int
    refused_count: int
    search_count: int
    failed_count: int
    certified_count: int
    stale_count: int
    fault_count: int
    made_count: int


def simulate(plan: Plan, *, show: Callable[[str], None] | None = None) -> Report:
    """The same for the same plan, in every process. show: called with each line of the trace."""
    clock = SimulatedClock()
    memory = MEMORY if MEMORY.is_dir() else None
    with (
        _seldom_collected(),
        tempfile.TemporaryDirectory(dir=memory, prefix="littoral-sim-") as folder,
        _seeded_secrets(plan.seed),
        disks_may_be_full(),
    ):
        return run_simulated(lambda: _live(SimulatedSite(plan, Path(folder), clock, show=show)), clock)


@contextlib.contextmanager
def _seeded_secrets(seed: int) -> Iterator[None]:
    """Names that nobody else should have follow from the seed here."""
    rng, real = Random(f"secrets {seed}"), secrets.token_hex  # noqa: S311
    secrets.token_hex = lambda nbytes=None: rng.randbytes(nbytes or 32).hex()
    try:
        yield
    finally:
        secrets.token_hex = real


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Looking for cycles among millions of objects that are all in use takes longer than what they do."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTED_EVERY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _live(site: SimulatedSite) -> Report:
    try:
        return await _run(site)
    finally:
        await site.bury()


async def _run(site: SimulatedSite) -> Report:
    site.trace.note(f"{len(site.nodes)} nodes, {site.plan.strategy}, {site.plan.shards} shards of {site.plan.replicas}")
    clients, makers, watching = Clients(site), Makers(site), asyncio.create_task(watch(site))
    started_s = await _start(site)
    clients.start()
    if "made" in site.plan.worlds:
        makers.start()
    await befall(site)
    await site.all_started(GIVE_UP_S)
    await _until_none(site, differing_rosters, "all have the newest roster", most_s=ROSTER_S_MAX)
    healed_s = await _until_none(site, differing_members, "members agree")
    await _until_none(site, unfinished_changes, "the layout is as it was wished", most_s=CHANGED_S_MAX)
    await clients.stop()
    await makers.stop()
    await _until_none(site, makers.differing, "made collections are as acknowledged", most_s=CHANGED_S_MAX)
    await _until_none(site, owing, "all is handed over")
    alike_s = await _until_none(site, differing_replicas, "replicas are alike")
    check_promises(site)
    check_places(site)
    check_models(site)
    await check_quiet_searches(site, clients, QUIET_SEARCHES)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    simulated_s = site.clock.monotonic()
    await site.close()
    return Report(
        seed=site.plan.seed,
        node_count=len(site.nodes),
        broken=site.broken,
        digest=site.trace.digest,
        started_s=round(started_s, 3),
        healed_s=round(healed_s, 3),
        alike_s=round(alike_s, 3),
        simulated_s=round(simulated_s, 3),
        message_count=site.trace.message_count,
        message_bytes=site.trace.message_bytes,
        acknowledged_count=site.ledger.acknowledged_count,
        refused_count=site.ledger.refused_count,
        search_count=clients.search_count,
        failed_count=clients.failed_count,
        certified_count=clients.certified_count,
        stale_count=clients.stale_count,
        fault_count=len(site.plan.faults),
        made_count=makers.made_count,
    )


async def _start(site: SimulatedSite) -> float:
    """All but those that come later; seconds until they know each other, from the last one's start."""
    for name in site.plan.names:
        if name not in site.plan.late and site.is_member(name):
            site.start(name, site.rng.random() * STARTED_WITHIN_S)
    await site.all_started(GIVE_UP_S)
    took_s = await _until_none(site, differing_members, "members agree")
    for name in sorted(site.plan.late):
        site.start(name, site.rng.random() * site.plan.trouble_s / 2)
    return took_s


async def _until_none(
    site: SimulatedSite,
    differing: Callable[[SimulatedSite], Iterator[str]],
    what: str,
    *,
    most_s: float = CONVERGED_S_MAX,
) -> float:
    """Seconds that it took until nothing differed any more; GIVE_UP_S if it did not come about."""
    began_s, last = site.clock.monotonic(), ""
    while (reason := next(differing(site), None)) is not None and site.clock.monotonic() < began_s + GIVE_UP_S:
        last = reason
        await asyncio.sleep(LOOK_S)
    if (took_s := site.clock.monotonic() - began_s) > most_s:
        site.breaks(f"{what} after {took_s:.1f} s, at most {most_s}; last: {last}")
    return took_s
