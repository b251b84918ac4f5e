"""One piece of work by the first who succeeds: failures, slow ones, and whose word counts."""

import asyncio
from collections.abc import Sequence

import pytest

from littoral.errors import InputError, LittoralError, PeerError, UnavailableError
from littoral.node.placement.racing import Race, Raced
from littoral.testing.loop import run_simulated

Plan = dict[str, tuple[float, LittoralError | None]]


def raced(plan: Plan, order: Sequence[str], *, patience_s: float | None = 0.1, beside: str = "") -> Raced[str, str]:
    """plan: by name, after how long it answers or fails. `own` is this node."""

    async def work(who: str) -> str:
        after_s, error = plan[who]
        await asyncio.sleep(after_s)
        if error is not None:
            raise error
        return f"of {who}"

    def start(who: str) -> "asyncio.Task[str]":
        return asyncio.create_task(work(who))

    async def main() -> Raced[str, str]:
        race: Race[str, str] = Race(order, start, patience_s=lambda _: patience_s, is_own=lambda who: who == "own")
        task = asyncio.create_task(work(beside)) if beside else None
        try:
            return await race.run((beside, task) if task is not None else None)
        finally:
            await asyncio.sleep(0)
            if task is not None:
                assert not task.cancelled()
                await asyncio.wait([task])

    return run_simulated(main)


GONE, FULL, WRONG = PeerError("gone"), UnavailableError("full"), InputError("wrong")


def test_the_first_answers_and_nobody_else_is_asked() -> None:
    assert raced({"b": (0.05, None)}, ["b", "own"]) == ("b", "of b", [], [])


def test_the_next_is_asked_where_one_fails() -> None:
    found = raced({"b": (0.01, GONE), "own": (0.01, None)}, ["b", "own"])
    assert (found.winner, found.slow, found.failures) == ("own", [], [("b", GONE)])


def test_the_next_begins_beside_one_that_is_slow_and_whoever_is_first_wins() -> None:
    assert raced({"b": (9.0, None), "own": (0.2, None)}, ["b", "own"])[:3] == ("own", "of own", ["b"])
    assert raced({"b": (0.2, None), "own": (0.5, None)}, ["b", "own"])[:3] == ("b", "of b", ["b"])


def test_a_slow_one_that_fails_at_last_does_not_hurry_the_one_after_the_next() -> None:
    found = raced({"b": (0.15, GONE), "c": (0.3, None), "own": (0.0, None)}, ["b", "c", "own"], patience_s=0.1)
    assert found.winner == "own"
    assert found.slow == ["b", "c"]


def test_no_patience_means_that_it_is_waited_for() -> None:
    assert raced({"own": (99.0, None), "b": (0.1, None)}, ["own", "b"], patience_s=None).winner == "own"


def test_this_nodes_word_on_an_input_is_final() -> None:
    with pytest.raises(InputError):
        raced({"b": (9.0, None), "own": (0.1, WRONG)}, ["b", "own"])
    assert raced({"b": (0.1, WRONG), "own": (0.1, None)}, ["b", "own"]).winner == "own"


def test_this_nodes_error_is_told_where_all_fail() -> None:
    with pytest.raises(UnavailableError, match="full"):
        raced({"own": (0.1, FULL), "b": (0.1, GONE)}, ["own", "b"])


def test_who_is_tried_beside_may_win_and_is_left_alone_if_not() -> None:
    assert raced({"own": (0.5, None), "b": (0.1, None)}, ["own"], beside="b").winner == "b"
    assert raced({"own": (0.1, None), "b": (0.5, None)}, ["own"], beside="b").winner == "own"
    assert raced({"own": (0.5, None), "b": (0.1, GONE)}, ["own"], beside="b").winner == "own"
