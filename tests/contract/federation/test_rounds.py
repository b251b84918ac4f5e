"""What goes on all the time in a node goes on where a disk, or our own code, fails in one part of it."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from littoral.errors import UnavailableError
from littoral.node.federation.federation import Federation
from littoral.telemetry import Endured
from spread_nodes import spread_nodes, spread_table
from waiting import until_async

BROKEN = OSError(errno.EIO, os.strerror(errno.EIO))
COUNT = 3


class Failing:
    """In the place of a step: each call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.count = 0

    async def __call__(self, *_: object) -> None:
        self.count += 1
        raise self.error


def told_count(federation: Federation) -> int:
    known = federation.facts.all().get(federation.name)
    return 0 if known is None else known.fact.counter


@pytest.mark.parametrize("error", [BROKEN, ZeroDivisionError("ours")])
async def test_a_step_that_fails_holds_up_no_other(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with spread_nodes(tmp_path, ["a", "b"], {"points": spread_table(4, shards=2, replicas=1)}) as nodes:
        one = nodes["a"].federation
        tidy, renew, pull = Failing(error), Failing(error), Failing(error)
        monkeypatch.setattr(one.seeding._offers, "tidy", tidy)
        monkeypatch.setattr(one.completeness, "renew", renew)
        monkeypatch.setattr(one._exchange, "pull", pull)
        before, failed = told_count(one), Endured.failed["mesh: snapshots"]
        await until_async(lambda: tidy.count >= COUNT and renew.count >= COUNT and pull.count >= COUNT)
        await until_async(lambda: told_count(one) > before)
        assert Endured.failed["mesh: snapshots"] >= failed + COUNT
        readings = {reading.labels: reading.value for reading in Endured.readings()}
        assert readings[("mesh: snapshots",)] == Endured.failed["mesh: snapshots"]
        assert not any(task.done() for task in one._tasks)


def failing(endured: Endured, error: BaseException | None) -> Callable[[], Awaitable[None]]:
    async def once() -> None:
        with endured.round("a loop"):
            if error is not None:
                raise error

    return once


async def test_what_fails_is_said_once_until_it_is_another_or_over() -> None:
    said: list[str] = []
    endured = Endured(said.append)
    for error in (BROKEN, BROKEN, UnavailableError("no shard"), None, BROKEN):
        await failing(endured, error)()
    assert said == [f"a loop: {BROKEN}", "a loop: no shard", f"a loop: {BROKEN}"]
    with pytest.raises(asyncio.CancelledError):
        await failing(endured, asyncio.CancelledError())()


async def test_a_fault_of_ours_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    before = Endured.unexpected["a loop"]
    await failing(Endured(lambda _: None), ZeroDivisionError("ours"))()
    assert Endured.unexpected["a loop"] == before + 1
    assert "Traceback" in caplog.text
