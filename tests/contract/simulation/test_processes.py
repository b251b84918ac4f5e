"""What the simulator stands on: time that jumps, processes that freeze and die, a network with its weather."""

import asyncio
import contextlib

import pytest

from littoral.errors import PeerError
from littoral.testing import SimulatedClock, Weather, run_simulated
from littoral.testing.processes import Process
from littoral.transport.fake import Network


def test_a_day_passes_at_once_and_in_order() -> None:
    clock, seen = SimulatedClock(), list[str]()

    async def later(name: str, in_s: float) -> None:
        await asyncio.sleep(in_s)
        seen.append(name)

    async def main() -> None:
        await asyncio.gather(later("evening", 64_800), later("noon", 43_200), later("now", 0))

    run_simulated(main, clock)
    assert seen == ["now", "noon", "evening"]
    assert clock.monotonic() == pytest.approx(64_800)


def test_what_nothing_can_bring_about_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="nothing is left to happen"):
        run_simulated(main)


def test_a_frozen_process_does_later_what_it_would_have_done() -> None:
    seen: list[float] = []

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(4):
            await asyncio.sleep(1)
            seen.append(round(loop.time(), 3))

    async def main() -> None:
        process = Process("a")
        ticking = process.begin(tick())
        await asyncio.sleep(1.5)
        process.freeze()
        await asyncio.sleep(5)
        process.thaw()
        await ticking

    run_simulated(main)
    assert seen == [1, 6.5, 7.5, 8.5]


def test_what_is_called_off_by_what_a_frozen_process_does_first_does_not_happen() -> None:
    seen: list[str] = []

    def schedule() -> None:
        loop = asyncio.get_running_loop()
        second = loop.call_later(2, seen.append, "second")
        loop.call_later(1, second.cancel)
        loop.call_later(3, seen.append, "third")

    async def main() -> None:
        process = Process("a")
        process.context.run(schedule)
        await asyncio.sleep(0.5)
        process.freeze()
        await asyncio.sleep(10)
        process.thaw()
        await asyncio.sleep(0.1)

    run_simulated(main)
    assert seen == ["third"]


def test_a_dead_process_does_nothing_more_not_even_finally() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            seen.append("worked")
        finally:
            seen.append("cleared up")

    async def main() -> None:
        process = Process("a")
        process.begin(work())
        await asyncio.sleep(0.5)
        process.kill()
        assert process.ended.done()
        await asyncio.sleep(5)
        assert seen == []
        await process.bury()

    run_simulated(main)
    assert seen == ["cleared up"]


def test_a_cut_of_one_way_hides_both_after_the_lease() -> None:
    async def main() -> None:
        network = Network(lease_s=2)
        a, b = network.join("a"), network.join("b")
        heard: list[bytes] = []
        await a.subscribe("news", lambda _sender, _topic, body: heard.append(body))
        await b.subscribe("news", lambda _sender, _topic, body: heard.append(body))
        await asyncio.sleep(0.1)
        cut = network.cut({"a"}, {"b"}, is_one_way=True)
        await a.publish("news", b"from a")
        await b.publish("news", b"from b")
        await asyncio.sleep(1)
        assert heard == [b"from b"]
        assert a.alive() == {"a", "b"}
        await asyncio.sleep(1.5)
        assert (a.alive(), b.alive()) == ({"a"}, {"b"})
        network.heal(cut)
        await asyncio.sleep(0.1)
        assert (a.alive(), b.alive()) == ({"a", "b"}, {"a", "b"})

    run_simulated(main)


def test_weather_loses_repeats_and_doubles_by_its_seed() -> None:
    async def main(seed: int) -> tuple[list[bytes], int]:
        heard: list[bytes] = []
        network = Network(Weather(seed, delay_s=0.01, loss=0.5, repeats_max=1, twice=0.2), is_orderly=False)
        a, b = network.join("a"), network.join("b")

        async def answer(_caller: str, body: bytes) -> bytes:
            return body

        await b.subscribe("news", lambda _sender, _topic, body: heard.append(body))
        await b.serve("echo", answer)
        await asyncio.sleep(0.1)
        for at in range(100):
            await a.publish("news", b"%d" % at)
        failed = 0
        for _ in range(20):
            with contextlib.suppress(PeerError):
                await a.request("b", "echo", b"", deadline_s=1)
                continue
            failed += 1
        return heard, failed

    heard, failed = run_simulated(lambda: main(1))
    assert (heard, failed) == run_simulated(lambda: main(1))
    assert (heard, failed) != run_simulated(lambda: main(2))
    assert 30 < len(set(heard)) < 70
    assert len(heard) > len(set(heard))
    assert 0 < failed < 20


def test_slow_nodes_are_slow_both_ways() -> None:
    weather = Weather(1, delay_s=0.01)
    weather.slow["b"] = 0.5
    assert weather.arrivals_s("a", "c", 0) == (0.01,)
    assert weather.arrivals_s("a", "b", 0) == weather.arrivals_s("b", "a", 0) == (0.51,)
