"""Facts of sites of any size: how often they are told, who asks for them, and whose word counts."""

import asyncio

from littoral.mesh.facts import Fact, Facts, Known, decode_facts, encode_fact, encode_facts
from littoral.node.federation.fact_exchange import FACTS, FactExchange
from littoral.testing import SimulatedClock, run_simulated
from littoral.transport.fake import Network

LARGE, SMALL = 200, 5


class Node:
    def __init__(self, name: str, network: Network, clock: SimulatedClock, count: int) -> None:
        self.name = name
        self.counter = 0
        self.facts = Facts(clock)
        self.transport = network.join(name)
        names = {f"n{at}": "" for at in range(count)}
        self.heard: dict[str, int] = {}
        self.exchange = FactExchange(self.facts, self.transport, lambda: names, self.heard.__setitem__, clock)

    async def open(self) -> None:
        await self.exchange.open()
        self.transport.watch(lambda _name, is_here: self.exchange.seen() if is_here else None)

    async def fact(self) -> Fact:
        self.counter += 1
        return Fact(self.name, 1, self.counter, map_number=3)

    async def round(
        self, map_number: int = 3, *, settled: int | None = None, writer: str = "n1", is_moving: bool = False
    ) -> None:
        maps = (map_number, map_number if settled is None else settled)
        await self.exchange.tell(self.fact, maps, writer, is_moving)
        await self.exchange.ask()

    def known(self) -> dict[str, bool]:
        return {name: one.is_proven for name, one in sorted(self.facts.all().items())}


async def nodes(clock: SimulatedClock, names: str, count: int) -> list[Node]:
    network = Network()
    made = [Node(f"n{name}", network, clock, count) for name in names]
    for node in made:
        await node.open()
    await asyncio.sleep(0.01)
    return made


def test_in_a_small_site_everyone_tells_every_two_seconds_and_a_new_map_at_once() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, other = await nodes(clock, "01", SMALL)
        await one.round()
        await one.round()
        assert one.counter == 1
        await one.round(map_number=4)
        await asyncio.sleep(2)
        await one.round(map_number=4)
        assert one.counter == 3
        assert other.known() == {"n0": True}
        assert other.heard == {"n0": 3}

    run_simulated(main, clock)


def test_in_a_large_site_facts_are_seldom_and_only_the_writer_hears_of_a_new_map_at_once() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, writer, other = await nodes(clock, "012", LARGE)
        assert one.exchange.tell_s == 8
        await one.round()
        await one.round(map_number=4)
        assert (writer.facts.orders, other.facts.orders) == ({"n0": (1, 2)}, {"n0": (1, 1)})
        await one.round(map_number=5, writer="n0")
        await asyncio.sleep(0.01)
        assert other.facts.orders == {"n0": (1, 3)}
        for _ in range(1000):
            await asyncio.sleep(0.1)
            await one.round(map_number=5)
        assert 3 + 9 <= one.counter <= 3 + 17

    run_simulated(main, clock)


def test_in_a_large_site_a_writer_that_was_started_anew_is_told_again() -> None:
    """What was told to it alone went with it, and the next word for all is many seconds away."""
    clock = SimulatedClock()

    async def main() -> None:
        one, writer = await nodes(clock, "01", LARGE)
        one.facts.take(Fact("n1", 1, 1))
        await one.round()
        await one.round(map_number=4)
        writer.facts = writer.exchange._facts = Facts(clock)
        await one.round(map_number=4)
        assert writer.facts.orders == {}
        one.facts.take(Fact("n1", 2, 1))
        await one.round(map_number=4)
        assert writer.facts.orders == {"n0": (1, 3)}
        await one.round(map_number=4)
        assert one.counter == 3

    run_simulated(main, clock)


def test_in_a_large_site_the_writer_is_told_when_all_is_in_its_place_later_than_the_map_came() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, writer = await nodes(clock, "01", LARGE)
        await one.round()
        await one.round(map_number=4, settled=3)
        await one.round(map_number=4, settled=4)
        await one.round(map_number=4, settled=4)
        assert writer.facts.orders == {"n0": (1, 3)}

    run_simulated(main, clock)


def test_who_moves_points_tells_of_it_every_two_seconds_in_a_large_site_too() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, other = await nodes(clock, "02", LARGE)
        for _ in range(31):
            await one.round(is_moving=True)
            await asyncio.sleep(0.1)
        assert one.counter == 2
        assert other.facts.orders == {"n0": (1, 2)}

    run_simulated(main, clock)


def test_who_was_first_tells_its_fact_again_once_there_are_others() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        (one,) = await nodes(clock, "0", LARGE)
        await one.round()
        others = [Node(f"n{at}", one.transport._network, clock, LARGE) for at in (1, 2)]  # type: ignore[arg-type]
        for node in others:
            await node.open()
        await asyncio.sleep(2)
        await one.round()
        await asyncio.sleep(0.01)
        assert [node.facts.orders for node in others] == [{"n0": (1, 2)}] * 2

    run_simulated(main, clock)


def test_what_did_not_reach_a_node_is_found_out_by_comparing_lives() -> None:
    """Facts of a large site are many seconds apart: nobody waits for the next one to learn of a node's new life."""
    clock = SimulatedClock()

    async def main() -> None:
        made = await nodes(clock, "0123", 100)
        for node in made:
            await node.round()
        await asyncio.sleep(2)
        for node in made[1:]:
            node.facts.take(Fact("n7", 2, 1))
        assert made[0].facts.lives < made[1].facts.lives
        for _ in range(20):
            await asyncio.sleep(1)
            await made[0].round()
        assert made[0].facts.orders["n7"] == (2, 1)
        assert made[0].facts.lives == made[1].facts.lives
        assert made[0].heard.keys() >= {"n1", "n2", "n3"}

    run_simulated(main, clock)


def test_lives_are_those_of_members() -> None:
    facts, fewer = Facts(SimulatedClock()), Facts(SimulatedClock())
    for node, boot in (("a", 1), ("b", 1), ("b", 3), ("gone", 7)):
        facts.take(Fact(node, boot, 1))
    for node, boot in (("b", 3), ("a", 1)):
        fewer.take(Fact(node, boot, 1))
    assert facts.lives > fewer.lives
    facts.belong({"a": "", "b": ""})
    assert facts.lives == fewer.lives
    facts.take(Fact("gone", 8, 1))
    assert facts.lives == fewer.lives
    facts.belong({"a": "", "b": "", "gone": ""})
    assert facts.lives > fewer.lives


def test_who_comes_late_to_a_large_site_asks_what_others_know() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, two, three = await nodes(clock, "012", LARGE)
        await one.round()
        await two.round()
        late = Node("n7", three.transport._network, clock, LARGE)  # type: ignore[arg-type]
        await late.open()
        await asyncio.sleep(0.01)
        await late.round()
        known = late.known()
        assert known.keys() >= {"n0", "n1"}
        assert not all(known.values())  # the third knew them from themselves, and told them

    run_simulated(main, clock)


def test_a_nodes_own_word_replaces_hearsay_of_any_number() -> None:
    facts = Facts(SimulatedClock())
    assert facts.take(Fact("b", 9, 9), is_proven=False)
    assert not facts.take(Fact("b", 9, 8), is_proven=False)
    assert facts.take(Fact("b", 1, 1))
    assert facts.all()["b"].fact.order == (1, 1)
    assert not facts.take(Fact("b", 1, 1))
    assert facts.take(Fact("b", 1, 2), is_proven=False)
    assert facts.take(Fact("b", 1, 2))
    assert facts.all()["b"].is_proven


def test_facts_of_others_are_of_members_and_never_of_the_node_itself() -> None:
    clock = SimulatedClock()

    async def main() -> None:
        one, two = await nodes(clock, "01", LARGE)
        two.facts.take(Fact("stranger", 1, 1))
        two.facts.take(Fact("n0", 99, 99))
        two.facts.take(Fact("n5", 1, 1))
        await one.round()
        assert one.known() == {"n0": True, "n5": False}
        assert one.facts.all()["n0"].fact.order == (1, 1)
        await two.transport.publish(FACTS, encode_fact(Fact("n5", 7, 7)))  # in another's name
        await asyncio.sleep(0.01)
        assert one.facts.all()["n5"].fact.order == (1, 1)

    run_simulated(main, clock)


def test_an_answer_is_bounded_and_asked_for_again() -> None:
    facts = [Known(Fact(f"n{at}", 1, 1, address="x" * 100), 0.0) for at in range(50)]
    assert len(decode_facts(encode_facts(facts, 1000), "b")) < 10
    assert len(decode_facts(encode_facts(facts[:1], 1), "b")) == 1
