"""Tenants in turn: who asks now and then is not behind the queue of who always asks."""

import asyncio
from concurrent.futures import Future
from threading import Event, Semaphore
from typing import Any

import numpy as np
import pytest

import littoral
from littoral.errors import UnavailableError
from littoral.runtime.call import Call, calling, current_call
from littoral.runtime.guest_threads import GuestThreads
from littoral.runtime.instance import Session
from littoral.runtime.pool import Pool
from littoral.runtime.turns import Turns
from littoral.runtime.waiting import WaitingCalls
from modules_in_text import DOUBLE, model
from waiting import until_async

FEEDS = {"x": np.arange(4, dtype=np.float32)}


def call(tenant: str, priority: int = 0) -> Call:
    return Call(priority=priority, tenant=tenant)


def filled(*tenants: str, count_max: int = 64) -> tuple[WaitingCalls[Any], dict["Future[Any]", str]]:
    waiting, owners = WaitingCalls[Any](count_max), dict[Future[Any], str]()
    for tenant in tenants:
        asked: Future[Any] = Future()
        owners[asked] = tenant
        waiting.add(asked, call(tenant))
    return waiting, owners


def test_tenants_go_in_turn_however_many_wait() -> None:
    waiting, owners = filled(*"aaaaaabbc")
    assert "".join(owners[waiting.pop()] for _ in range(9)) == "abcabaaaa"


def test_who_comes_late_is_next_but_does_not_take_what_it_left_unused() -> None:
    waiting, owners = filled(*"aaaaaa")
    served = "".join(owners[waiting.pop()] for _ in range(3))
    for _ in range(3):
        asked: Future[Any] = Future()
        owners[asked] = "b"
        waiting.add(asked, call("b"))
    assert served + "".join(owners[waiting.pop()] for _ in range(6)) == "aaabababa"


def test_urgency_counts_among_ones_own() -> None:
    """Whoever says that all is urgent is not served more often."""
    waiting, owners = WaitingCalls[Any](64), dict[Future[Any], str]()
    for tenant, priority in (("a", 0), ("b", 9), ("b", 9), ("a", 5), ("b", 9)):
        asked: Future[Any] = Future()
        owners[asked] = f"{tenant}{priority}"
        waiting.add(asked, call(tenant, priority))
    assert [owners[waiting.pop()] for _ in range(5)] == ["b9", "a5", "b9", "a0", "b9"]


def test_who_has_most_waiting_makes_room() -> None:
    waiting, owners = filled(*"aaaaaaaa", count_max=8)
    asked: Future[Any] = Future()
    gone = waiting.add(asked, call("b"))
    assert gone is not None
    assert (owners[gone], len(waiting)) == ("a", 8)
    last: Future[Any] = Future()
    assert waiting.add(last, call("a")) is last


def test_what_is_ahead_is_what_is_served_before() -> None:
    """For each number of one's own that wait, however the turns were before."""
    for order in ("", "a", "b", "ab", "ba", "abc"):
        for before in ("aaaa", "aabb", "abcabc", "bbbbba"):
            waiting, owners = filled(*order, *before)
            for _ in order:
                waiting.pop()
            expected = waiting.ahead_of(call("b"))
            asked: Future[Any] = Future()
            waiting.add(asked, call("b"))
            served = [waiting.pop() for _ in range(len(waiting))]
            assert served.index(asked) == expected, (order, before, [owners.get(one) for one in served])


def test_one_tenant_alone_is_served_as_if_there_were_none() -> None:
    turns = Turns()
    assert turns.lined_up([3, 1, 2], lambda _: "") == [3, 1, 2]


async def test_a_full_pool_lets_the_quiet_one_in() -> None:
    """One instance, its queue full of one tenant's calls: another's comes in, and is served next."""
    begun, go, order = Semaphore(0), Event(), list[str]()

    def hold(_: Session) -> None:
        begun.release()
        assert go.wait(60)

    def note(session: Session) -> None:
        order.append(current_call().tenant)
        session.run(FEEDS)

    async def ask(tenant: str) -> None:
        with calling(call(tenant)):
            await pool.run(note, wait_ms=60_000)

    with (
        GuestThreads(1) as threads,
        Pool(littoral.load(model(DOUBLE)), name="m", threads=threads, waiting_max=8) as pool,
    ):
        holding = asyncio.create_task(pool.run(hold))
        assert await asyncio.to_thread(begun.acquire, timeout=60)
        greedy = [asyncio.create_task(ask("greedy")) for _ in range(8)]
        await until_async(lambda: pool.statistics().waiting == 8)
        quiet = asyncio.create_task(ask("quiet"))
        await until_async(lambda: any(task.done() for task in greedy))
        go.set()
        await quiet
        found = await asyncio.gather(holding, *greedy, return_exceptions=True)
    assert order[:2].count("quiet") == 1
    assert [type(one) for one in found if one is not None] == [UnavailableError]


@pytest.mark.parametrize("outer", ["", "acme"])
def test_a_call_inside_a_call_is_the_same_tenants(outer: str) -> None:
    with calling(Call(tenant=outer)), calling(Call(deadline_s=1.0)):
        assert current_call().tenant == outer
