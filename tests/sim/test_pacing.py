"""Downloads of many nodes under caps they share, by the bytes that go at each moment of a simulated time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from littoral.errors import UnavailableError
from littoral.orchestrator.pacing import BURST_S, METADATA_ANSWERS_MAX, METADATA_BYTES_PER_S_MIN, Cap, Pacer
from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated

MB = 1_000_000
PART = bytes(1 << 18)


@dataclass
class World:
    """sent: when, to whom, how many bytes; metadata: bytes of it to each."""

    caps_of: Callable[[str], Sequence[Cap]]
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    sent: list[tuple[float, str, int]] = field(default_factory=list)
    metadata: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pacer = Pacer(self.clock, self.caps_of)

    async def fetch(self, node: str, count: int, *, pause_s: float = 0.0, is_metadata: bool = False) -> None:
        """As a download does. pause_s: that the node needs for each part."""
        opened = self.pacer.answering if is_metadata else self.pacer.downloading
        with opened(node) as download:
            while count > 0:
                async with contextlib.aclosing(download.parts(PART[: min(count, len(PART))])) as parts:
                    async for part in parts:
                        self.sent.append((self.clock.monotonic(), node, len(part)))
                        self.metadata[node] += len(part) * is_metadata
                        count -= len(part)
                        await asyncio.sleep(pause_s)

    async def ask(self, node: str, count: int) -> float:
        """Seconds until so many bytes of metadata were there."""
        begun_s = self.clock.monotonic()
        await self.fetch(node, count, is_metadata=True)
        return self.clock.monotonic() - begun_s

    @contextlib.asynccontextmanager
    async def beside(self, *fetches: Coroutine[Any, Any, object]) -> AsyncGenerator[None, None]:
        """While these go on."""
        tasks = [asyncio.create_task(one) for one in fetches]
        await asyncio.sleep(1)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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


@pytest.mark.parametrize("rate", [1024, 20_000, MB])
def test_metadata_comes_however_many_artifacts_are_under_way(rate: int) -> None:
    world = World(lambda _: [Cap("fleet", rate)])

    async def main() -> None:
        async with world.beside(*(world.fetch(f"gw-{number}", 90 * MB) for number in range(20))):
            share = max(rate // 2, METADATA_BYTES_PER_S_MIN)
            assert await world.ask("gw-3", 12_000) <= 12_000 / share + 0.01
            assert await world.ask("gw-20", 12_000) <= 12_000 / share + 0.01

    run_simulated(main, world.clock)
    assert world.pacer.traffic("fleet").metadata_bytes == 24_000


def test_metadata_without_end_takes_no_more_than_its_share_from_artifacts() -> None:
    """Attack: a node asks for all the metadata there is, on as many connections as it may have."""
    world = World(lambda _: [Cap("fleet", MB)])

    async def main() -> None:
        endless = [world.fetch("greedy", 90 * MB, is_metadata=True) for _ in range(METADATA_ANSWERS_MAX)]
        async with world.beside(*endless):
            assert await world.ask("gw-1", 12_000) < 0.1
            before = world.clock.monotonic()
            await world.fetch("gw-2", 5 * MB)
            assert world.clock.monotonic() - before == pytest.approx(10, rel=0.03)
            assert await world.ask("gw-1", 12_000) < 0.1

    run_simulated(main, world.clock)
    assert world.most_over(MB) <= 2 * (MB * BURST_S + MB // 64)


def test_a_node_that_takes_its_metadata_slowly_holds_up_nobody_else() -> None:
    world = World(lambda _: [Cap("fleet", MB)])

    async def main() -> None:
        slow = [world.fetch("slow", MB, pause_s=60.0, is_metadata=True) for _ in range(METADATA_ANSWERS_MAX)]
        async with world.beside(*slow):
            with pytest.raises(UnavailableError, match="node `slow` has 8 answers of metadata under way"):
                world.pacer.check_metadata("slow")
            world.pacer.check_metadata("gw-1")
            assert await world.ask("gw-1", 500_000) == pytest.approx(0.5, abs=0.1)
        world.pacer.check_metadata("slow")

    run_simulated(main, world.clock)
    assert (world.pacer.refused_metadata, world.pacer.refused) == (1, 0)


def test_under_a_cap_below_the_least_for_metadata_artifacts_keep_half_of_it() -> None:
    world = World(lambda _: [Cap("fleet", METADATA_BYTES_PER_S_MIN // 2)])

    async def main() -> None:
        async with world.beside(
            world.fetch("greedy", 90 * MB, is_metadata=True), world.fetch("gw-1", 90 * MB), world.fetch("gw-2", 90 * MB)
        ):
            await asyncio.sleep(99)

    run_simulated(main, world.clock)
    shares = world.shares()
    assert shares["greedy"] == pytest.approx(100 * METADATA_BYTES_PER_S_MIN, rel=0.02)
    assert shares["gw-1"] + shares["gw-2"] == pytest.approx(100 * METADATA_BYTES_PER_S_MIN // 4, rel=0.05)


def test_what_artifacts_leave_is_metadatas_and_back_at_once() -> None:
    world = World(lambda _: [Cap("fleet", MB), Cap("group/north", MB)])

    async def main() -> None:
        async with world.beside(world.fetch("gw-1", 90 * MB, is_metadata=True)):
            await asyncio.sleep(9)
            assert world.metadata["gw-1"] == pytest.approx(10 * MB, rel=0.02)
            async with world.beside(world.fetch("gw-2", 90 * MB)):
                await asyncio.sleep(9)

    run_simulated(main, world.clock)
    assert world.metadata["gw-1"] == pytest.approx(15 * MB, rel=0.02)
    assert world.shares()["gw-2"] == pytest.approx(5 * MB, rel=0.02)
    assert world.most_over(MB) <= 2 * (MB * BURST_S + MB // 64)


def test_more_answers_than_can_be_given_in_time_are_refused() -> None:
    world = World(lambda _: [Cap("fleet", 1024)])

    async def main() -> None:
        async with world.beside(*(world.fetch(f"gw-{number}", 1 << 20, is_metadata=True) for number in range(40))):
            with pytest.raises(UnavailableError, match="40 answers of metadata share what is theirs of 1024 bytes"):
                world.pacer.check_metadata("gw-40")
            world.pacer.check("gw-40")
        world.pacer.check_metadata("gw-40")

    run_simulated(main, world.clock)
