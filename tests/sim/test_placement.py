"""Steps among nodes whose speeds drift, with the real scheduler: how much worse than an oracle, and never than here."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from random import Random

import numpy as np
import pytest

from littoral.node.placement_tables import PlacementTable
from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated
from littoral.testing.weather import Weather
from littoral.transport.fake import Network
from simulated_work import KEY, PIXELS, PlacedMember, Service, placed_members

SEEDS = range(2)
NAMES = ("a", "b", "c", "d")
REQUESTS = 1200
MEAN_S = 0.02
LOAD = 0.6
DELAY_S, JITTER_S, RATE = 0.001, 0.0005, 20e6
REGRET_MAX = 0.15
"""Of the oracle's mean time. It knows every queue and every speed of the moment; nobody can."""
P99_MAX = 1.1
"""Of what asking nobody else gives."""

Members = dict[str, PlacedMember]
Policy = Callable[[Members, SimulatedClock], Awaitable[object]]


def drifting(seed: int, name: str, mean_s: float) -> Service:
    """Two to three times faster and slower over some tens of seconds, in steps now and then, with noise."""
    numbers = Random(f"{seed} {name}")
    period_s, phase = numbers.uniform(10, 40), numbers.uniform(0, 2 * math.pi)
    jumps = [(numbers.uniform(0, 50), numbers.choice((0.5, 1.0, 2.5))) for _ in range(4)]

    def service_s(now_s: float) -> float:
        factor = 1 + 0.5 * math.sin(2 * math.pi * now_s / period_s + phase)
        for at_s, jump in sorted(jumps):
            factor = factor * jump if now_s > at_s and now_s - at_s < 10 else factor
        return mean_s * factor * numbers.lognormvariate(0, 0.15)

    return service_s


async def here(members: Members, _: SimulatedClock) -> None:
    await members["a"].work.run(KEY, PIXELS, ["y"])


async def placed(members: Members, _: SimulatedClock) -> None:
    await members["a"].ask()


async def told_by_an_oracle(members: Members, clock: SimulatedClock) -> None:
    now_s = clock.monotonic()
    way_s = {name: 0.0 if name == "a" else 2 * DELAY_S + 12_300 / RATE for name in members}
    best = min(members, key=lambda name: members[name].work.backlog_s(now_s) + way_s[name])
    await asyncio.sleep(way_s[best])
    await members[best].work.run(KEY, PIXELS, ["y"])


def times_of(policy: Policy, seed: int, load: float = LOAD, slower: float = 1.0) -> np.ndarray:
    """Seconds of each request. They come to `a` at random, and the other nodes have requests of their own.

    slower: so many times are the others.
    """
    clock = SimulatedClock()
    taken: list[float] = []

    async def main() -> None:
        network = Network(Weather(seed, delay_s=DELAY_S, jitter_s=JITTER_S, rate=RATE))
        services = {name: drifting(seed, name, MEAN_S * (1 if name == "a" else slower)) for name in NAMES}
        tables = {"a": PlacementTable(tries=0.02)}
        async with placed_members(services, network, clock, tables=tables, seed=seed) as members:
            arrivals = Random(seed)
            tasks = []

            async def timed() -> None:
                began_s = clock.monotonic()
                await policy(members, clock)
                taken.append(clock.monotonic() - began_s)

            others = [asyncio.create_task(own_requests(members[name], Random(f"{seed} own {name}"))) for name in "bcd"]
            for _ in range(REQUESTS):
                await asyncio.sleep(arrivals.expovariate(load / MEAN_S))
                tasks.append(asyncio.create_task(timed()))
            await asyncio.gather(*tasks)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    run_simulated(main, clock)
    return np.array(taken)


async def own_requests(member: PlacedMember, arrivals: Random) -> None:
    running = set()
    while True:
        await asyncio.sleep(arrivals.expovariate(0.3 / MEAN_S))
        task = asyncio.create_task(member.work.run(KEY, PIXELS, ["y"]))
        running.add(task)
        task.add_done_callback(running.discard)


@pytest.mark.parametrize("seed", SEEDS)
def test_regret_is_bounded_and_the_slowest_are_no_slower_than_here(seed: int) -> None:
    alone, ours, oracle = (times_of(policy, seed) for policy in (here, placed, told_by_an_oracle))
    assert np.quantile(ours, 0.99) <= P99_MAX * np.quantile(alone, 0.99)
    assert ours.mean() <= alone.mean()
    assert ours.mean() <= (1 + REGRET_MAX) * oracle.mean()


def test_where_others_are_of_no_use_nothing_is_lost() -> None:
    """Little waits here, and the others are slow: trying them costs nobody time."""
    alone, ours = (times_of(policy, 7, load=0.2, slower=3) for policy in (here, placed))
    assert np.quantile(ours, 0.99) <= P99_MAX * np.quantile(alone, 0.99)
    assert ours.mean() <= 1.02 * alone.mean()


def test_the_same_seed_gives_the_same_times() -> None:
    assert np.array_equal(times_of(placed, 1), times_of(placed, 1))
