"""Downloads of many nodes under caps they share, by the bytes that go at each moment of a simulated time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from littoral.errors import UnavailableError
from littoral.orchestrator.pacing import BURST_S, Cap, Pacer
from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated

MB = 1_000_000
PART = bytes(1 << 18)


@dataclass
class World:
    """sent: when, to whom, how many bytes."""

    caps_of: Callable[[str], Sequence[Cap]]
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    sent: list[tuple[float, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pacer = Pacer(self.clock, self.caps_of)

    async def fetch(self, node: str, count: int, *, pause_s: float = 0.0) -> None:
        """As a download does. pause_s: that the node needs for each part."""
        with self.pacer.downloading(node) as download:
            while count > 0:
                async with contextlib.aclosing(download.parts(PART[: min(count, len(PART))])) as parts:
                    async for part in parts:
                        self.sent.append((self.clock.monotonic(), node, len(part)))
                        count -= len(part)
                        await asyncio.sleep(pause_s)

    def run(self, *downloads: tuple[str, int], until_s: float = 1e6) -> None:
        async def main() -> None:
            tasks = [asyncio.create_task(self.fetch(node, count)) for node, count in downloads]
            await asyncio.wait(tasks, timeout=until_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        run_simulated(main, self.clock)

    def shares(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, node, count in self.sent:
            found[node] += count
        return found

    def most_over(self, rate: float) -> float:
        """Of every stretch of time: the bytes that went beyond rate · seconds, at most. A sum that never falls below 0
        has its largest value where the worst stretch ends.
        """
        worst, level, before_s = 0.0, 0.0, 0.0
        for at_s, _, count in self.sent:
            level = max(0.0, level - (at_s - before_s) * rate) + count
            worst, before_s = max(worst, level), at_s
        return worst


@pytest.mark.parametrize("rate", [20_000, MB, 40 * MB])
@pytest.mark.parametrize("node_count", [1, 3, 20])
def test_no_more_than_the_cap_goes_in_any_stretch_of_time(rate: int, node_count: int) -> None:
    world = World(lambda _: [Cap("fleet", rate)])
    world.run(*((f"gw-{number}", rate) for number in range(node_count)))
    turn_bytes = max(count for _, _, count in world.sent)
    assert world.shares() == {f"gw-{number}": rate for number in range(node_count)}
    assert world.most_over(rate) <= rate * BURST_S + turn_bytes + 1
    assert world.sent[-1][0] == pytest.approx(node_count, abs=0.1 + turn_bytes / rate)
    assert world.pacer.traffic("fleet").sent_bytes == node_count * rate


def test_a_node_gets_no_more_by_opening_more() -> None:
    world = World(lambda _: [Cap("fleet", MB)])
    world.run(*(("greedy", 9 * MB) for _ in range(8)), ("gw-1", 9 * MB), ("gw-2", 9 * MB), until_s=6)
    shares = world.shares()
    assert shares["gw-1"] == pytest.approx(2 * MB, rel=0.02)
    assert max(shares.values()) - min(shares.values()) <= 4 * (MB // 64)


def test_what_one_node_does_not_take_is_the_others() -> None:
    world = World(lambda _: [Cap("fleet", MB)])

    async def main() -> None:
        slow = asyncio.create_task(world.fetch("slow", MB, pause_s=1.0))
        await asyncio.wait([asyncio.create_task(world.fetch("quick", 20 * MB))], timeout=10)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    run_simulated(main, world.clock)
    assert world.shares()["quick"] > 9.7 * MB
    assert world.shares()["slow"] == 10 * (MB // 64)


def test_caps_within_each_other_hold_both() -> None:
    def caps(node: str) -> list[Cap]:
        return [Cap("fleet", MB), *([Cap("group/north", MB // 10)] if node.startswith("n") else [])]

    world = World(caps)
    world.run(("n-1", 9 * MB), ("n-2", 9 * MB), ("s-1", 90 * MB), until_s=10)
    shares = world.shares()
    assert shares["n-1"] == pytest.approx(shares["n-2"], abs=2048 * 4)
    assert shares["n-1"] + shares["n-2"] == pytest.approx(MB, rel=0.03)
    assert sum(shares.values()) == pytest.approx(10 * MB, rel=0.02)
    assert world.pacer.traffic("group/north").bytes_per_s == pytest.approx(MB / 10, rel=0.1)


def test_a_cap_that_is_changed_counts_for_downloads_that_are_open() -> None:
    most: list[int | None] = [MB]
    world = World(lambda _: [Cap("fleet", most[0])])

    async def main() -> None:
        task = asyncio.create_task(world.fetch("gw-1", 30 * MB))
        await asyncio.wait([task], timeout=5)
        assert world.pacer.traffic("fleet").sent_bytes == pytest.approx(5 * MB, rel=0.05)
        most[0] = None
        await task

    run_simulated(main, world.clock)
    assert world.clock.monotonic() < 6


def test_who_leaves_holds_nobody_up_and_is_not_counted() -> None:
    world = World(lambda _: [Cap("fleet", MB)])
    world.run(*((f"gw-{number}", 9 * MB) for number in range(5)), until_s=1)
    assert (world.pacer.waiting_count, world.pacer.traffic("fleet").downloads) == (0, 0)
    before = len(world.sent)
    world.run(("gw-9", MB))
    assert {node for _, node, _ in world.sent[before:]} == {"gw-9"}


def test_more_than_can_be_served_in_time_are_refused() -> None:
    world = World(lambda _: [Cap("fleet", 1 << 16)])

    async def main() -> None:
        tasks = [asyncio.create_task(world.fetch(f"gw-{number}", 1 << 20)) for number in range(160)]
        await asyncio.sleep(1)
        with pytest.raises(UnavailableError, match="160 downloads share 65536 bytes a second"):
            world.pacer.check("gw-160")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        world.pacer.check("gw-160")

    run_simulated(main, world.clock)
    assert world.pacer.refused == 1


def test_without_a_cap_it_only_counts() -> None:
    world = World(lambda _: [Cap("fleet")])
    world.run(("gw-1", 10 * MB), ("gw-2", 10 * MB))
    assert world.clock.monotonic() < 0.001
    assert world.pacer.traffic("fleet").sent_bytes == 20 * MB
