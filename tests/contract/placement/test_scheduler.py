"""Which node does a step: residency before all else, then what can be asked, then who is done first."""

import itertools
from random import Random

import pytest

from littoral.node.placement.experience import Experience
from littoral.node.placement.scheduler import Candidate, Choice, Job, Scheduler
from littoral.node.residency import Residency, Standing, parse_residency, parse_wish
from littoral.steps.offer import Offer

KEY = "model:" + "ab" * 32
AUTO = parse_wish("auto")


def scheduler(*, spill_s: float = 1.0, share: float = 0.0) -> Scheduler:
    return Scheduler(Experience(Random(1), share=share), spill_s=spill_s)


def node(
    name: str,
    service_ms: float,
    *,
    standing: Standing = "site",
    waiting: int = 0,
    busy: int = 0,
    slots: int = 1,
    transfer_ms: float = 0.0,
    **others: object,
) -> Candidate:
    offer = Offer(waiting, busy, slots, service_ms / 1000)
    return Candidate(name, standing, offer=offer, transfer_s=transfer_ms / 1000)._replace(**others)  # type: ignore[arg-type]


def here(service_ms: float = 10.0, **others: object) -> Candidate:
    return node("a", service_ms, standing="here", **others)  # type: ignore[arg-type]


def choose(
    *candidates: Candidate,
    wish: str = "auto",
    residency: str = "site",
    left_ms: float | None = None,
    by: Scheduler | None = None,
    now_s: float = 0.0,
) -> Choice:
    left_s = None if left_ms is None else left_ms / 1000
    job = Job(KEY, parse_wish(wish), (parse_residency(residency),), left_s)
    return (by or scheduler()).choose(job, candidates, now_s)


def first(choice: Choice) -> str:
    return choice.order[0].node


def test_here_while_here_is_fast_enough() -> None:
    choice = choose(here(), node("b", 10.0), node("c", 9.8))
    assert (first(choice), choice.why) == ("a", "here is fast enough")


def test_the_node_that_is_done_first_by_queue_service_and_transfer() -> None:
    busy = {"waiting": 4, "busy": 1}
    assert first(choose(here(**busy), node("b", 20.0, transfer_ms=2), node("c", 8.0, transfer_ms=40))) == "b"
    assert first(choose(here(**busy), node("b", 20.0, transfer_ms=60), node("c", 8.0, transfer_ms=9))) == "c"
    assert first(choose(here(**busy), node("b", 20.0, waiting=9, busy=1), node("c", 30.0))) == "c"


def test_more_slots_shorten_a_queue() -> None:
    assert Offer(3, 2, 2, 0.01).start_s(0, 0.01) == pytest.approx(0.0175)
    assert Offer(0, 1, 2, 0.01).start_s(0, 0.01) == 0.0
    assert Offer(0, 1, 2, 0.01).start_s(2, 0.01) == pytest.approx(0.0075)


def test_steps_on_their_way_count_before_the_node_knows_of_them() -> None:
    slow_here = here(waiting=3, busy=1)
    assert first(choose(slow_here, node("b", 10.0, transfer_ms=1), node("c", 10.0, transfer_ms=2))) == "b"
    assert first(choose(slow_here, node("b", 10.0, transfer_ms=1, on_the_way=2), node("c", 10.0, transfer_ms=2))) == "c"


def test_another_version_of_the_model_is_no_candidate() -> None:
    choice = choose(here(waiting=20, busy=1), node("b", 1.0, offer=None))
    assert first(choice) == "a"
    assert choice.refused[0] == ("b", "has it not, in this version")


def test_a_spent_power_budget_sends_steps_elsewhere_and_here_remains_the_last() -> None:
    choice = choose(here(is_spent=True), node("b", 50.0))
    assert [one.node for one in choice.order] == ["b", "a"]
    assert ("a", "its power budget is spent") in choice.refused
    assert first(choose(here(is_spent=True), node("b", 1.0, is_spent=True))) == "a"


def test_a_pinned_step_goes_there_and_here_if_it_cannot() -> None:
    assert [one.node for one in choose(here(1.0), node("b", 99.0), wish="node:b").order] == ["b", "a"]
    choice = choose(here(1.0), node("b", 99.0, away="is away"), node("c", 1.0), wish="node:b")
    assert ([one.node for one in choice.order], choice.why) == (["a"], "not on `b`: here")


def test_what_would_come_too_late_is_not_asked() -> None:
    choice = choose(here(80.0), node("b", 5.0, transfer_ms=200), left_ms=150)
    assert first(choice) == "a"
    assert choice.refused[0].why.endswith("150 ms are left")
    both = choose(here(800.0), node("b", 400.0), left_ms=150)
    assert [one.node for one in both.order] == ["b", "a"]


BOUNDS = ("node", "site", "region:north", "any")
PLACES = (("site", "north"), ("site", "south"), ("site", ""), ("orchestrator", ""), ("orchestrator", "north"))
MAY: dict[str, set[tuple[str, str]]] = {
    "node": set(),
    "site": set(PLACES[:3]),
    "region:north": {("site", "north")},
    "any": set(PLACES),
}


@pytest.mark.parametrize("residency", BOUNDS)
def test_data_that_must_not_leave_never_do(residency: str) -> None:
    """Whatever else holds: however busy this node is, whatever is pinned, failing or spilling."""
    for (standing, region), wish, left_ms, spent in itertools.product(
        PLACES, ("auto", "node:b"), (None, 0.0, 50.0), (False, True)
    ):
        exhausted = scheduler(spill_s=1e-6)
        lazy = here(5000.0, waiting=50, busy=1, is_spent=spent)
        fast = node("b", 0.1, standing=standing, region=region)  # type: ignore[arg-type]
        choice = choose(lazy, fast, wish=wish, residency=residency, left_ms=left_ms, by=exhausted)
        asked = {one.node for one in (*choice.order, *([choice.tried] if choice.tried else []))}
        if (standing, region) not in MAY[residency]:
            assert asked == {"a"}
            assert dict(choice.refused)["b"].startswith("its data stay")


def test_every_bound_must_hold() -> None:
    job = Job(KEY, AUTO, (Residency("any"), Residency("node"), Residency("any")))
    choice = scheduler().choose(job, [here(waiting=9, busy=1), node("b", 1.0)], 0.0)
    assert [one.node for one in choice.order] == ["a"]


def outside(service_ms: float = 30.0) -> Candidate:
    return node("hub", service_ms, standing="orchestrator")


def test_the_orchestrators_node_is_for_an_exhausted_site_and_the_site_comes_back_with_hysteresis() -> None:
    by = scheduler(spill_s=0.1)

    def at(load: int) -> str:
        return first(
            choose(here(waiting=load, busy=1), node("b", 10.0, waiting=load, busy=1), outside(), residency="any", by=by)
        )

    assert at(0) == "a"
    assert at(40) == "hub"
    assert by.is_spilling(KEY)
    assert at(4) == "hub"
    assert at(0) == "a"
    assert not by.is_spilling(KEY)
    assert at(4) == "a"


def test_an_exhausted_site_is_looked_at_now_and_then() -> None:
    """Where nothing runs, nothing is learned: the site would be held for slow for ever."""
    by = scheduler(spill_s=0.1)

    def tried(now_s: float) -> str | None:
        choice = choose(here(service_ms=150.0), outside(), residency="any", by=by, now_s=now_s)
        assert first(choice) == "hub"
        return None if choice.tried is None else choice.tried.node

    assert [tried(now_s) for now_s in (0.0, 1.0, 2.0, 2.1, 3.9, 4.0)] == [None, None, "a", None, None, "a"]


def test_data_of_the_site_stay_in_an_exhausted_site() -> None:
    choice = choose(here(waiting=99, busy=1), outside(), residency="site", by=scheduler(spill_s=0.01))
    assert [one.node for one in choice.order] == ["a"]
    assert choice.refused == (("hub", "its data stay in the site"),)


def test_the_orchestrators_node_is_last_where_the_site_fails() -> None:
    choice = choose(here(), node("b", 30.0), outside(), residency="any")
    assert [one.node for one in choice.order] == ["a", "b", "hub"]


def test_what_was_learned_counts_more_than_what_was_promised() -> None:
    by = scheduler()
    slow_here, promising = here(20.0), node("b", 4.0)
    assert first(choose(slow_here, promising, by=by)) == "b"
    for at in range(20):
        by.experience.note(("b", KEY), 0.004, 0.2, at * 0.01)
    assert first(choose(slow_here, promising, by=by, now_s=0.2)) == "a"


def test_what_is_old_counts_less() -> None:
    experience = Experience(Random(1), half_life_s=10)
    for _ in range(20):
        experience.note(("b", KEY), 0.01, 0.1, 0.0)
    fresh, old = (experience.expected(("b", KEY), 0.01, now_s) for now_s in (0.0, 100.0))
    assert fresh.likely_s == pytest.approx(0.0897, rel=0.01)
    assert old.likely_s < 0.011
    assert old.high_s / old.low_s > fresh.high_s / fresh.low_s


def test_tries_are_a_small_share_and_never_where_a_deadline_would_be_endangered() -> None:
    """A node that promises less than here, and of which nothing is known: what it can do is found out beside."""
    by = scheduler(share=0.05)
    tried = [choose(here(10.0), node("b", 12.0), by=by).tried for _ in range(2000)]
    assert 95 <= sum(one is not None for one in tried) <= 101
    by = scheduler(share=0.2)
    late = [choose(here(10.0), node("b", 12.0), by=by, left_ms=20).tried for _ in range(500)]
    assert late == [None] * 500


def test_a_node_that_is_known_to_be_slow_is_not_tried() -> None:
    by = scheduler(share=0.2)
    for at in range(30):
        by.experience.note(("b", KEY), 0.012, 0.05, at * 0.01)
    assert all(choose(here(10.0), node("b", 12.0), by=by, now_s=0.3).tried is None for _ in range(100))


def test_the_same_seed_makes_the_same_tries() -> None:
    def tries(seed: int) -> list[bool]:
        by = Scheduler(Experience(Random(seed), share=0.03), spill_s=1.0)
        return [choose(here(10.0), node("b", 12.0), by=by).tried is not None for _ in range(300)]

    assert tries(3) == tries(3)
    assert tries(3) != tries(5)
