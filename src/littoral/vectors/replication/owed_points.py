"""What a replica owes, for whoever hands it over: which points, how they are now, and what another has of them."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from littoral.vectors.queries import PayloadSelector
from littoral.vectors.records import PointId
from littoral.vectors.replication.entries import Change, State, id_of
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import read_points
from littoral.vectors.replication.replica import Replica

__all__ = ["OwedPoints"]

COUNT = 256


class OwedPoints:
    """Of one replica, see `replication.owing`. Methods raise ShardError, UnavailableError."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._pipeline = replica.pipeline

    async def begin(self, towards: str, *, is_whole: bool, ahead: str = "") -> None:
        """From now on writes are noted; is_whole: and all that is there. ahead: what was begun for that."""

        def work(journal: Journal) -> None:
            with journal.transaction():
                journal.owing.begin(towards, is_whole=is_whole, ahead=ahead)

        await self._pipeline.read(work)

    async def end(self) -> None:
        """Nothing is owed any more."""

        def work(journal: Journal) -> None:
            with journal.transaction():
                journal.owing.end()

        await self._pipeline.read(work)

    async def towards(self) -> str:
        """What was given to `begin`."""
        return await self._pipeline.read(lambda journal: journal.owing.towards)

    async def at(self, time: int) -> list[tuple[bytes, int]]:
        """Points of one write that are not told yet, some at a time."""
        keys = await self._pipeline.read(lambda journal: journal.owing.at(time, COUNT))
        return [(key, time) for key in keys]

    async def some(self, written_before: int, count: int = COUNT) -> list[tuple[bytes, int]]:
        """Points to hand over, so many at most; none of writes from that hybrid time on."""
        return await self._pipeline.read(lambda journal: journal.owing.some(written_before, count))

    async def settle(self, told: Sequence[tuple[bytes, int]]) -> None:
        """They were handed over."""

        def work(journal: Journal) -> None:
            with journal.transaction():
                journal.owing.settle(told)

        await self._pipeline.read(work)

    async def stand(self, told: Sequence[tuple[bytes, int]]) -> None:
        """They could not be told when they were written."""

        def work(journal: Journal) -> None:
            with journal.transaction():
                for key, time in told:
                    journal.owing.stand([key], time)

        await self._pipeline.read(work)

    async def refuse(self, told: Sequence[tuple[bytes, int]]) -> None:
        """They cannot be handed over as they are."""
        if not told:
            return

        def work(journal: Journal) -> None:
            with journal.transaction():
                journal.owing.refuse(told)

        await self._pipeline.read(work)

    async def counts(self) -> tuple[int, int]:
        """Points that have to be handed over, and all that are noted."""
        return await self._pipeline.read(lambda journal: journal.owing.counts())

    async def states(self, keys: Sequence[bytes]) -> tuple[list[State], set[bytes]]:
        """Those points as they are, without those that are being changed; and those of which nothing is known."""
        return await self._stated(keys, partial(read_points, self._replica.shard))

    async def outlines(self, keys: Sequence[bytes]) -> list[State]:
        """Those that are there and not being changed, without vectors, and of payloads with the key that is kept."""

        async def read(ids: Sequence[PointId]) -> dict[PointId, Change]:
            kept = PayloadSelector(include=[self._replica.kept_key])
            records = await self._replica.shard.retrieve(ids, with_payload=kept)
            return {record.id: Change(record.id, b"", record.payload or None) for record in records}

        states, _ = await self._stated(keys, read)
        return states

    async def _stated(
        self, keys: Sequence[bytes], read: Callable[[Sequence[PointId]], Awaitable[dict[PointId, Change]]]
    ) -> tuple[list[State], set[bytes]]:
        before = await self._pipeline.read(lambda journal: journal.versions_of(keys))
        await self._pipeline.until_applied(self._pipeline.committed_seq)
        found = await read([id_of(key) for key, one in before.items() if not one.is_gone])
        after = await self._pipeline.read(lambda journal: journal.versions_of(keys))
        told: list[State] = []
        for key, version in before.items():
            change = Change(id_of(key)) if version.is_gone else found.get(id_of(key))
            if change is not None and after.get(key) == version:
                told.append(State(version.time, version.origin, version.number, change))
        return told, set(keys) - before.keys()

    async def times(self, keys: Sequence[bytes]) -> list[int]:
        """Of each point the time of its version: 0 where nothing is known, below 0 where it is gone."""
        found = await self._pipeline.read(lambda journal: journal.versions_of(keys))
        return [0 if (one := found.get(key)) is None else -one.time if one.is_gone else one.time for key in keys]
