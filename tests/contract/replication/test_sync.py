"""Shipping between replicas: copies are told, lag is told, and nobody else gets anything."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import ForbiddenError, InputError, NotFoundError
from littoral.mesh.replica_messages import PULL, PUSH, STATES, Pull, Push, encode
from littoral.mesh.sync import Copies
from littoral.testing import SimulatedClock, run_simulated
from littoral.transport.fake import LEASE_S
from littoral.vectors.records import PointBatch
from replica_models import vector
from replica_site import SHARD, ReplicaSite

Play = Callable[[ReplicaSite], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Play], None]:
    """Runs it on a site of three, in simulated time."""

    def run(scene: Play) -> None:
        clock = SimulatedClock()

        async def main() -> None:
            async with ReplicaSite(1, tmp_path, clock) as site:
                await asyncio.sleep(1)  # they have found each other
                await scene(site)

        run_simulated(main, clock)

    return run


async def write(site: ReplicaSite, name: str, *ids: int) -> Any:
    replica = site.nodes[name].replica
    assert replica is not None
    return await replica.upsert_points(PointBatch(list(ids), vector(1) * len(ids)))


def test_copies_are_told_and_waited_for_no_longer_than_the_deadline(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        sync = site.nodes["a"].sync
        assert sync is not None
        stamp = await write(site, "a", 1)
        found = await sync.copies(SHARD, stamp.origin, stamp.number, count=3, deadline_s=1)
        assert found == Copies(["a", "b", "c"], [])
        site.network.cut({"c"}, {"a", "b"})
        stamp = await write(site, "a", 2)
        began = site.clock.monotonic()
        found = await sync.copies(SHARD, stamp.origin, stamp.number, count=3, deadline_s=1)
        assert found == Copies(["a", "b"], ["c"])
        assert site.clock.monotonic() - began == pytest.approx(1, abs=0.01)
        with pytest.raises(InputError, match="has 3 replicas, asked for are 4"):
            await sync.copies(SHARD, stamp.origin, stamp.number, count=4, deadline_s=1)
        with pytest.raises(NotFoundError, match="no replica of `other`"):
            await sync.copies("other", stamp.origin, stamp.number, count=1, deadline_s=1)

    play(scene)


def test_a_copy_is_not_waited_for_once_its_node_is_known_to_be_away(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        sync = site.nodes["a"].sync
        assert sync is not None
        site.network.cut({"c"}, {"a", "b"})
        stamp = await write(site, "a", 1)
        began = site.clock.monotonic()
        found = await sync.copies(SHARD, stamp.origin, stamp.number, count=3, least=2, deadline_s=9)
        assert found == Copies(["a", "b"], ["c"])
        assert site.clock.monotonic() - began == pytest.approx(LEASE_S, abs=0.1)
        found = await sync.copies(SHARD, stamp.origin, stamp.number, count=3, least=3, deadline_s=5)
        assert found == Copies(["a", "b"], ["c"])
        assert site.clock.monotonic() - began == pytest.approx(LEASE_S + 5, abs=0.1)

    play(scene)


class FarSeeds:
    """A snapshot that is on its way, and does not come."""

    async def takes(self, *_: object) -> bool:
        return True


def test_a_replica_that_has_to_be_made_anew_is_not_waited_for(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        sync, lost = site.nodes["a"].sync, site.nodes["c"]
        assert sync is not None
        await write(site, "a", 1)
        await asyncio.sleep(10)  # all have it, the logs have it no more
        lost.crash()
        lost.lose_disk()
        lost.seeds = FarSeeds()
        await lost.start()
        await asyncio.sleep(5)
        stamp = await write(site, "a", 2)
        began = site.clock.monotonic()
        found = await sync.copies(SHARD, stamp.origin, stamp.number, count=3, least=2, deadline_s=9)
        assert found == Copies(["a", "b"], ["c"])
        assert site.clock.monotonic() - began < 1

    play(scene)


def test_who_is_away_is_behind_and_says_why(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        sync = site.nodes["a"].sync
        assert sync is not None
        site.network.cut({"c"}, {"a", "b"})
        await write(site, "a", 1)
        await write(site, "a", 2)
        await asyncio.sleep(10)
        lags = {lag.peer: lag for lag in sync.lags()}
        assert (lags["b"].entry_count, lags["b"].since_s, lags["b"].failure) == (0, 0.0, None)
        assert lags["c"].entry_count == 2
        assert lags["c"].since_s == pytest.approx(10, abs=2.5)
        assert "peer `c`" in (lags["c"].failure or "")
        told = {(reading.name, reading.labels): reading.value for reading in sync.readings()}
        assert told["littoral_replica_lag_entries", (SHARD, "c")] == 2
        site.network.heal()
        await site.until_alike(10)
        assert all(lag.entry_count == 0 and lag.failure is None for lag in sync.lags())

    play(scene)


def test_what_one_took_comes_to_the_third_when_its_origin_is_gone(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        site.network.cut({"c"}, {"a", "b"})
        await write(site, "a", 1, 2)
        await asyncio.sleep(3)
        site.nodes["a"].crash()
        site.network.heal()
        await asyncio.sleep(5)
        assert site.nodes["c"].shard.points.keys() == {1, 2}

    play(scene)


def test_a_node_without_a_replica_gets_nothing_and_gives_nothing(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        await write(site, "a", 1)
        stranger = site.network.join("stranger")
        await asyncio.sleep(0.1)
        for service, message in (
            (PULL, Pull(SHARD, {}, 1000)),
            (PUSH, Push(SHARD, [])),
            (STATES, [SHARD, [b"\0" * 8], 1000]),
        ):
            with pytest.raises(ForbiddenError, match="`stranger` has no replica"):
                await stranger.request("a", service, encode(message), deadline_s=1)
        await stranger.close()

    play(scene)


@pytest.mark.parametrize("body", [b"", b"\xc1", encode(Push(SHARD, [b"junk"])), encode([SHARD, 7])])
def test_what_cannot_be_read_is_refused_as_that(play: Callable[[Play], None], body: bytes) -> None:
    async def scene(site: ReplicaSite) -> None:
        before = dict(site.nodes["a"].shard.points)
        end = site.network.end_of("b")
        assert end is not None
        with pytest.raises(InputError):
            await end.request("a", PUSH, body, deadline_s=1)
        assert site.nodes["a"].shard.points == before
        await write(site, "b", 5)
        await site.until_alike(10)

    play(scene)


def test_peers_may_change_while_it_runs(play: Callable[[Play], None]) -> None:
    async def scene(site: ReplicaSite) -> None:
        a, b = site.nodes["a"].sync, site.nodes["b"].sync
        assert a is not None
        assert b is not None
        await a.set_peers(SHARD, ["c"])
        await b.set_peers(SHARD, ["c"])
        stamp = await write(site, "a", 1)
        found = await a.copies(SHARD, stamp.origin, stamp.number, count=2, deadline_s=5)
        assert found.have == ["a", "c"]
        assert await site.until_alike(10) < 10  # by way of c
        await a.set_peers(SHARD, ["b", "c"])
        await b.set_peers(SHARD, ["a", "c"])
        await write(site, "b", 2)
        assert await site.until_alike(10) < 10

    play(scene)
