"""What shipping needs of one replica of a shard. `vectors.replication.shared_log.SharedLog` is one; they meet in node.

A vector says of each origin up to which number its writes are known: all of them, on the disk. A floor says up to
which number deletions may be forgotten. What is shipped is bytes that only replicas read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

__all__ = ["ReplicaLog", "Seeds"]


class Seeds(Protocol):
    """Snapshots in the place of comparisons."""

    async def takes(self, shard: str, peer: str, differing_count: int) -> bool:
        """Whether a snapshot of this peer's replica, or of another's, is on its way now. differing_count: buckets of
        points that are not the same there.
        """
        ...


class ReplicaLog(Protocol):
    """For one event loop. What comes from elsewhere and is wrong raises InputError, and nothing of it is taken."""

    name: str

    @property
    def origin(self) -> str:
        """Under which name writes made here are in the log."""
        ...

    @property
    def vector(self) -> Mapping[str, int]: ...

    async def settled(self) -> Mapping[str, int]:
        """`vector`, once searches find all of it: this is what peers may count on."""
        ...

    @property
    def settled_now(self) -> dict[str, int] | None:
        """What searches find at this moment; None where that is not known."""
        ...

    @property
    def floor(self) -> Mapping[str, int]: ...

    def watch(self, on_news: Callable[[], None]) -> None:
        """Called whenever `vector` has grown; must not wait."""
        ...

    def known_to_all(self, vector: Mapping[str, int]) -> None:
        """Every replica has this: older entries need not be kept for any."""
        ...

    async def entries_after(self, vector: Mapping[str, int], bytes_max: int) -> tuple[list[bytes], bool]:
        """What a replica with this vector lacks, in order, at least one entry if there are any.

        True if some of it is no longer in the log: then that replica needs a repair.
        """
        ...

    async def take_entries(self, bodies: Sequence[bytes]) -> None:
        """Returns when they are on the disk. What is known already, or does not follow on, is left out."""
        ...

    def below(self, nodes: Sequence[int]) -> list[int]:
        """Children of these nodes in the tree of digests, whose root is 0; none below the last row."""
        ...

    async def digests(self, nodes: Sequence[int]) -> list[bytes]:
        """Of these nodes, in order."""
        ...

    async def differing(self, digests: Mapping[int, bytes]) -> list[int]:
        """Which of another replica's nodes are not as here."""
        ...

    async def versions(self, nodes: Sequence[int]) -> bytes:
        """Of all points below these nodes of the last row."""
        ...

    async def wanted(
        self, nodes: Sequence[int], versions: bytes, vector: Mapping[str, int], floor: Mapping[str, int]
    ) -> list[bytes]:
        """Keys of points to ask another replica for, which told these versions, and before them vector and floor."""
        ...

    async def states(self, keys: Sequence[bytes], bytes_max: int) -> bytes:
        """Some of these points, at least one if any of them can be told now."""
        ...

    async def take_states(self, body: bytes) -> list[bytes]:
        """Takes over what is later than what is here; the keys that were told."""
        ...

    async def learn(self, vector: Mapping[str, int], floor: Mapping[str, int]) -> None:
        """Everything that another replica had when it told these is here now."""
        ...

    async def begin_life(self) -> None:
        """This replica has lost numbers that others have seen: it writes under another name from now on."""
        ...
