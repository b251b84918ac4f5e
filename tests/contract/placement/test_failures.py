"""Nodes that die, freeze, refuse or lie while a step is there: no request is lost or late, data stay where they must.

Real scheduler, asker and service over the network in one process, in simulated time.
"""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from littoral.errors import ForbiddenError, InputError, LittoralError, TooLargeError, UnavailableError
from littoral.node.placement_tables import PlacementTable
from littoral.runtime.call import Call, calling
from littoral.steps.messages import LOADS, STEP, StepAsk, encode_step
from littoral.testing.clock import SimulatedClock
from littoral.testing.loop import run_simulated
from littoral.testing.weather import Weather
from littoral.transport.fake import Network
from simulated_work import KEY, PIXELS, PlacedMember, budget, placed_members

HERE_S = 0.2

Members = dict[str, PlacedMember]


def steady(service_s: float) -> Callable[[float], float]:
    return lambda _: service_s


FAST_B = {"a": steady(HERE_S), "b": steady(0.02)}


def play(
    scene: Callable[[Members, Network, SimulatedClock], Awaitable[None]],
    services: dict[str, Callable[[float], float]] | None = None,
    **options: object,
) -> None:
    clock = SimulatedClock()

    async def main() -> None:
        network = Network(Weather(1, delay_s=0.001))
        async with placed_members(services or FAST_B, network, clock, **options) as members:  # type: ignore[arg-type]
            for member in members.values():
                await member.work.run(KEY, PIXELS, ["y"])
                await member.asker.informed()
            for member in members.values():
                await member.asker.informed()
            await scene(members, network, clock)

    run_simulated(main, clock)


def node_of(how: object) -> str:
    (told,) = how.placement  # type: ignore[attr-defined]
    return str(told["node"])


def test_the_faster_node_does_it_and_says_so() -> None:
    async def scene(members: Members, _: Network, clock: SimulatedClock) -> None:
        began = clock.monotonic()
        value, how = await members["a"].ask()
        assert np.array_equal(value["y"], np.full((1, 4), 7, np.float32))  # type: ignore[call-overload, index]
        assert how.placement[0]["node"] == "b"  # type: ignore[index]
        assert how.placement[0]["taken_ms"] == pytest.approx((clock.monotonic() - began) * 1000, abs=0.01)  # type: ignore[index]
        assert clock.monotonic() - began < 0.03

    play(scene)


@pytest.mark.parametrize("how_it_fails", ["kill", "freeze", "cut"])
def test_a_node_that_fails_with_a_step_costs_no_request_and_no_deadline(how_it_fails: str) -> None:
    async def scene(members: Members, network: Network, clock: SimulatedClock) -> None:
        async def ask() -> tuple[str, float]:
            began = clock.monotonic()
            with calling(Call(began + 1.0)):
                _, how = await members["a"].ask()
            return node_of(how), clock.monotonic() - began

        asked = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0.005)
        if how_it_fails == "cut":
            network.cut(["a"], ["b"])
        else:
            getattr(network, how_it_fails)("b")
        asked += [asyncio.create_task(ask())]
        answered = await asyncio.gather(*asked)
        assert {node for node, _ in answered} == {"a"}
        assert max(took_s for _, took_s in answered) < 1.0
        for _ in range(8):  # soon nobody waits for it any more
            node, took_s = await ask()
        assert node == "a"
        assert took_s == pytest.approx(HERE_S, abs=0.001)

    play(scene)


def test_a_node_that_is_back_is_used_again() -> None:
    async def scene(members: Members, network: Network, _: SimulatedClock) -> None:
        network.freeze("b")
        for _ in range(5):
            assert node_of((await members["a"].ask())[1]) == "a"
        await asyncio.sleep(5)
        network.thaw("b")
        for _ in range(40):
            await asyncio.sleep(1)
            node = node_of((await members["a"].ask())[1])
        assert node == "b"

    play(scene)


def test_a_full_node_refuses_at_once_and_its_word_is_kept() -> None:
    async def scene(members: Members, _: Network, clock: SimulatedClock) -> None:
        began = clock.monotonic()
        answers = await asyncio.gather(*(members["a"].ask(place="node:b") for _ in range(12)))
        nodes = [node_of(how) for _, how in answers]
        assert nodes.count("b") == 4
        assert members["b"].service.refused["busy"] >= 1
        why = next(how.placement[0]["why"] for _, how in answers if node_of(how) == "a")  # type: ignore[index]
        assert "failed: 4 steps of others run here" in why
        assert clock.monotonic() - began < 12 * HERE_S

    play(scene)


def test_a_node_that_serves_nobody_is_asked_for_nothing() -> None:
    async def scene(members: Members, _: Network, __: SimulatedClock) -> None:
        assert node_of((await members["a"].ask())[1]) == "a"
        with pytest.raises(UnavailableError, match="runs no steps of others"):
            await asked_directly(members["a"], "b")

    play(scene, tables={"b": PlacementTable(serves=False)})


async def asked_directly(member: PlacedMember, peer: str, body: bytes | None = None) -> bytes:
    """A step, past the scheduler."""
    if body is None:
        body = encode_step(StepAsk(KEY, 1.0, ["y"]), PIXELS, {})
    return await member.member.transport.request(peer, STEP, body, deadline_s=2.0)


def test_strangers_are_refused() -> None:
    async def scene(members: Members, network: Network, _: SimulatedClock) -> None:
        async with network.join("stranger") as stranger:
            await asyncio.sleep(0.01)
            for service in (STEP, LOADS):
                with pytest.raises(ForbiddenError, match="`stranger` is no member"):
                    await stranger.request("b", service, b"", deadline_s=1.0)
        assert members["b"].service.refused["stranger"] == 2

    play(scene)


BAD_BODIES: dict[str, tuple[bytes, type[LittoralError]]] = {
    "nothing": (b"", InputError),
    "noise": (bytes(range(256)) * 8, TooLargeError),
    "no words": (encode_step(StepAsk(KEY, 1.0), PIXELS, {}).replace(b"littoral", b"litteral"), InputError),
    "another key": (encode_step(StepAsk("model:zz", 1.0), PIXELS, {}), InputError),
    "no time": (encode_step(StepAsk(KEY, -1.0), PIXELS, {}), InputError),
    "bytes that are none": (
        encode_step(StepAsk(KEY, 1.0), b"12", {}).replace(b'"bytes":{"dtype":"U8"', b'"bytes":{"dtype":"I8"'),
        InputError,
    ),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_what_is_no_step_is_refused(what: str) -> None:
    async def scene(members: Members, _: Network, __: SimulatedClock) -> None:
        body, kind = BAD_BODIES[what]
        with pytest.raises(kind):
            await asked_directly(members["a"], "b", body)
        assert members["b"].service.busy == 0

    play(scene)


@pytest.mark.parametrize("answer", [b"", b"nonsense", None])
def test_a_node_that_answers_nonsense_is_not_believed(answer: bytes | None) -> None:
    """None: tensors of another shape, in a frame that is right."""

    async def scene(members: Members, network: Network, _: SimulatedClock) -> None:
        real = members["b"].service._workplace.run

        async def wrong(*_: object) -> object:
            return {"y": np.zeros((2, 4), np.float32)}

        async def lie(caller: str, body: bytes) -> bytes:
            assert caller == "a"
            assert body
            return answer or b""

        end = network.end_of("b")
        assert end is not None
        if answer is None:
            members["b"].work.run = wrong  # type: ignore[method-assign, assignment]
        else:
            end._desk._handlers[STEP] = lie
        value, how = await members["a"].ask()
        assert np.array_equal(value["y"], np.full((1, 4), 7, np.float32))  # type: ignore[call-overload, index]
        assert node_of(how) == "a"
        assert members["a"].asker.failures["b"] == 1
        members["b"].work.run = real  # type: ignore[method-assign]

    play(scene)


def test_the_orchestrators_node_helps_an_exhausted_site() -> None:
    async def scene(members: Members, _: Network, __: SimulatedClock) -> None:
        a = members["a"]
        answers = await asyncio.gather(*(a.ask(residency="any") for _ in range(40)))
        nodes = [node_of(how) for _, how in answers]
        assert nodes.count("hub") >= 3
        assert a.asker.spilled_count == nodes.count("hub")
        for _ in range(3):
            await asyncio.sleep(2)
            node = node_of((await a.ask(residency="any"))[1])
        assert node != "hub"

    services = {**FAST_B, "hub": steady(0.03)}
    play(scene, services, outside="hub", tables={"a": PlacementTable(spill_ms=150, tries=0.0)})


def test_the_orchestrators_node_asks_nothing_of_the_site() -> None:
    async def scene(members: Members, _: Network, __: SimulatedClock) -> None:
        with pytest.raises(ForbiddenError, match="`hub` is no member of this site"):
            await asked_directly(members["hub"], "b")
        assert await asked_directly(members["a"], "hub")

    play(scene, {**FAST_B, "hub": steady(0.03)}, outside="hub")


def test_nothing_leaves_that_must_not() -> None:
    """Whatever fails, and however busy this node is: what a step with `residency` is given goes to none but those."""
    sent: list[tuple[str, str]] = []

    async def scene(members: Members, network: Network, _: SimulatedClock) -> None:
        transport = members["a"].member.transport
        real = transport.request

        async def noted(peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
            sent.append((peer, service))
            return await real(peer, service, body, deadline_s=deadline_s)

        transport.request = noted  # type: ignore[method-assign]
        for residency, allowed in (
            ("node", set()),
            ("region:north", {"n"}),
            ("site", {"n", "s"}),
            ("any", {"n", "s", "hub"}),
        ):
            for trouble in (None, "n", "s"):
                if trouble is not None:
                    network.freeze(trouble)
                sent.clear()
                await asyncio.gather(*(members["a"].ask(residency=residency) for _ in range(12)))
                assert {peer for peer, service in sent if service == STEP} <= allowed, residency
                if trouble is not None:
                    network.thaw(trouble)
            await asyncio.sleep(60)
            await members["a"].asker.informed()

    services = {"a": steady(HERE_S), "n": steady(0.02), "s": steady(0.01), "hub": steady(0.005)}
    regions = {"a": "north", "n": "north", "s": "south", "hub": "north"}
    tables = {"a": PlacementTable(spill_ms=100, tries=0.2)}
    play(scene, services, outside="hub", regions=regions, tables=tables)


def test_a_node_beyond_its_power_budget_is_spared() -> None:
    async def scene(members: Members, _: Network, __: SimulatedClock) -> None:
        nodes = []
        for _ in range(60):
            nodes.append(node_of((await members["a"].ask())[1]))
            await asyncio.sleep(0.01)
        assert nodes[0] == "b"
        assert "a" in nodes
        assert members["b"].service.refused["power"] + nodes.count("a") > 0

    play(scene, tables={"b": budget(9.0)})
