"""No acknowledged write is missing where a node says that none can be: under loss, delay, cuts, frozen nodes."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from leased_site import LeasedSite, Told
from littoral.node.federation.leases import LEASE_S
from littoral.node.federation.map_lease import MapLease
from littoral.testing import SimulatedClock, Weather, run_simulated
from littoral.transport.fake import Network
from littoral.vectors.routing.summary import balls_of

NAMES = ("holder", "asker")
FAR = (9.0, 9.0)
Scene = Callable[[Told, Told, Network], Coroutine[None, None, None]]


def covers(asker: Told, place: tuple[float, float]) -> bool:
    """Whether what the asker believes of the shard allows a point there."""
    if 0 not in asker.summaries.proven("frames"):
        return True
    balls = balls_of(asker.summaries.of("frames")[0])
    return bool((np.linalg.norm(balls.centroids - np.array(place), axis=1) <= balls.radii).any())


def played(scene: Scene) -> None:
    clock = SimulatedClock()

    async def main() -> None:
        network = Network()
        holder, asker = (Told(network, name, NAMES, clock) for name in NAMES)
        tasks = [await holder.start(), await asker.start()]
        await holder.write((0.0, 0.0))
        await holder.exchange.sum_up([("frames", 0)])
        await asyncio.sleep(1.5)
        assert 0 in asker.summaries.proven("frames")
        assert not covers(asker, FAR)
        await scene(holder, asker, network)
        for task in tasks:
            task.cancel()

    run_simulated(main, clock)


def test_a_write_is_acknowledged_when_all_who_believe_otherwise_know_of_it() -> None:
    async def scene(holder: Told, asker: Told, _: Network) -> None:
        before_s = holder.clock.monotonic()
        await holder.write(FAR)
        assert holder.clock.monotonic() - before_s < 0.1
        assert covers(asker, FAR)

    played(scene)


def test_a_write_waits_for_the_lease_of_a_node_that_is_cut_off() -> None:
    async def scene(holder: Told, asker: Told, network: Network) -> None:
        network.cut(["holder"], ["asker"])
        write = asyncio.create_task(holder.write(FAR))
        while not write.done():
            if not covers(asker, FAR):
                assert not write.done()
            await asyncio.sleep(0.05)
        assert covers(asker, FAR)
        before_s = holder.clock.monotonic()
        await holder.write((-9.0, 9.0))
        assert holder.clock.monotonic() - before_s < 0.1

    played(scene)


def test_a_frozen_node_that_wakes_believes_nothing_old() -> None:
    async def scene(holder: Told, asker: Told, network: Network) -> None:
        network.freeze("asker")
        before_s = holder.clock.monotonic()
        await holder.write(FAR)
        assert holder.clock.monotonic() - before_s <= LEASE_S
        assert covers(asker, FAR)
        network.thaw("asker")
        await asyncio.sleep(2.0)
        assert covers(asker, FAR)

    played(scene)


def test_a_lease_that_is_not_renewed_proves_nothing_and_still_says_where_points_are_likely() -> None:
    async def scene(_: Told, asker: Told, network: Network) -> None:
        network.cut(["holder"], ["asker"])
        await asyncio.sleep(LEASE_S)
        assert 0 not in asker.summaries.proven("frames")
        assert 0 in asker.summaries.of("frames")

    played(scene)


@pytest.mark.parametrize("seed", range(4))
def test_who_says_to_have_every_write_has_every_write(seed: int, tmp_path: Path) -> None:
    clock = SimulatedClock()

    async def main() -> LeasedSite:
        site = LeasedSite(seed, tmp_path, clock, Weather(seed, delay_s=0.02, jitter_s=0.02, loss=0.05))
        await site.start()
        writing = asyncio.create_task(site.keep_writing(60))
        for step in range(800):
            await asyncio.sleep(0.05)
            site.look()
            if step % 100 == 50:
                site.network.cut([site.rng.choice(site.names)], site.names)
            if step % 100 == 90:
                site.network.heal()
        await writing
        site.network.heal()
        await asyncio.sleep(30.0)
        site.look()
        assert all(node.read() is not None for node in site.nodes.values())
        await site.close()
        return site

    site = run_simulated(main, clock)
    assert len(site.acknowledged) >= 40
    assert site.certain > site.uncertain


@pytest.mark.parametrize("seed", range(6))
def test_nobody_holds_an_older_map_for_the_newest_once_that_time_is_over(seed: int) -> None:
    """The writer is `a`; the others learn of a new map whenever they can."""
    clock, rng = SimulatedClock(), Random(seed)
    names = ("a", "b", "c")

    async def main() -> None:
        network = Network(Weather(seed, loss=0.1, delay_s=0.2, jitter_s=0.2))
        numbers = dict.fromkeys(names, 1)
        members = dict.fromkeys(names, "")
        leases = {
            name: MapLease(network.join(name), partial(numbers.get, name, 0), lambda: "a", lambda: members, clock)
            for name in names
        }
        for lease in leases.values():
            await lease.open()
        tasks = [asyncio.create_task(lease.keep()) for lease in leases.values()]
        promised = 0
        for _ in range(600):
            await asyncio.sleep(0.1)
            event = rng.random()
            if event < 0.01:
                numbers["a"] += 1
            elif event < 0.05:
                network.cut({rng.choice("bc")}, {"a"})
            elif event < 0.1:
                network.heal()
            elif event < 0.2:
                numbers[rng.choice("bc")] = numbers["a"]
            if not leases["a"].older_s():
                assert all(numbers[name] == numbers["a"] or not leases[name].left_s() for name in names)
            promised += sum(leases[name].left_s() > 0 for name in "bc")
        for task in tasks:
            task.cancel()
        assert promised > 100

    run_simulated(main, clock)
