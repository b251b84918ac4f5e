"""Points of a replica that may belong to another shard, for whoever brings them there."""

from collections.abc import Sequence

from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.replica import Replica

__all__ = ["StrayPoints"]


class StrayPoints:
    """Of one replica, see `replication.strays`. Methods raise ShardError, UnavailableError."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    @property
    def is_any(self) -> bool:
        """Whether some are noted."""
        return self._replica.has_strays

    async def some(self, count: int) -> list[tuple[bytes, int]]:
        """The oldest, so many at most."""
        return await self._replica.pipeline.read(lambda journal: journal.strays.some(count))

    async def settle(self, looked_at: Sequence[tuple[bytes, int]]) -> None:
        """They are where they belong, unless something else was noted of them since."""

        def work(journal: Journal) -> None:
            with journal.transaction():
                journal.strays.settle(looked_at)

        await self._replica.pipeline.read(work)
