"""What a replica offers to the others, and takes from them, in bytes: `mesh.sync.ReplicaLog` without knowing of it."""

from collections.abc import Callable, Mapping, Sequence

from littoral.vectors.replication.digests import FIRST_BUCKET, below, differing
from littoral.vectors.replication.entries import (
    Change,
    State,
    Version,
    check_changes,
    decode_entry,
    decode_states,
    encode,
    id_of,
    key_of,
    merged,
    size_of,
)
from littoral.vectors.replication.journal import Journal
from littoral.vectors.replication.local_shard import read_points
from littoral.vectors.replication.repair import Knowledge, decode_versions, encode_versions, plan
from littoral.vectors.replication.replica import Replica

__all__ = ["SharedLog"]


class SharedLog:
    """name: of the shard, the same at each of its replicas.

    What comes from elsewhere is checked as writes of callers are: InputError, and nothing is taken.
    """

    def __init__(self, name: str, replica: Replica) -> None:
        self.name = name
        self._replica = replica
        self._pipeline = replica.pipeline
        self._floor_told: dict[str, int] = {}

    @property
    def origin(self) -> str:
        """Under which name writes made here are in the log."""
        return self._replica.origin

    @property
    def vector(self) -> Mapping[str, int]:
        """Up to which number the writes of each origin are here, and on the disk."""
        return self._replica.vector

    async def settled(self) -> Mapping[str, int]:
        """`vector`, once the shard has all of it: what others may count on in searches."""
        vector = self.vector
        await self._pipeline.until_applied(self._pipeline.committed_seq)
        return vector

    @property
    def settled_now(self) -> dict[str, int] | None:
        """Up to which numbers the shard has writes; None while it lacks some."""
        is_settled = self._pipeline.applied_seq >= self._pipeline.committed_seq
        return dict(self.vector) if is_settled else None

    @property
    def floor(self) -> Mapping[str, int]:
        """Up to which number of each origin deletions may be forgotten here."""
        return self._replica.floor

    def watch(self, on_news: Callable[[], None]) -> None:
        """Called whenever `vector` has grown; must not wait."""
        self._replica.watch(on_news)

    def known_to_all(self, vector: Mapping[str, int]) -> None:
        """Every replica has this: what is older need not be kept for any."""
        self._replica.known_to_all(vector)

    async def entries_after(self, vector: Mapping[str, int], bytes_max: int) -> tuple[list[bytes], bool]:
        """What a replica with this vector lacks, in order; true if some of it is no longer in the log."""
        return await self._pipeline.read(lambda journal: journal.entries_after(vector, bytes_max))

    async def take_entries(self, bodies: Sequence[bytes]) -> None:
        """Returns when they are on the disk and the shard has them. What is known, or does not follow, is left out."""

        def work(journal: Journal) -> tuple[list[Change], None]:
            entries = [decode_entry(body) for body in bodies]
            for entry in entries:
                check_changes(entry.changes, self._replica.shard.config)
            taken = zip(entries, bodies, strict=True)
            return [change for entry, body in taken for change in journal.take(entry, body)], None

        await self._pipeline.submit(work, sum(map(len, bodies)))

    def below(self, nodes: Sequence[int]) -> list[int]:
        """Children of these nodes; none below the last row."""
        return below(nodes)

    async def digests(self, nodes: Sequence[int]) -> list[bytes]:
        """Of nodes of the tree, see `replication.digests`."""
        return await self._pipeline.read(lambda journal: journal.digests().of(nodes))

    async def differing(self, digests: Mapping[int, bytes]) -> list[int]:
        """Which of another's nodes are not as here."""
        return await self._pipeline.read(lambda journal: differing(journal.digests(), digests))

    async def versions(self, buckets: Sequence[int]) -> bytes:
        """Of all points below these nodes of the last row."""
        numbers = [node - FIRST_BUCKET for node in buckets]
        return await self._pipeline.read(lambda journal: encode_versions(journal.versions(numbers), journal.floor))

    async def wanted(
        self, buckets: Sequence[int], versions: bytes, vector: Mapping[str, int], floor: Mapping[str, int]
    ) -> list[bytes]:
        """Keys of points to ask another for, whose versions, vector and floor these are.

        What it has seen deleted, so long ago that only it can know, is deleted here.
        """
        theirs, floor_then = decode_versions(versions)
        numbers = [node - FIRST_BUCKET for node in buckets]
        there = Knowledge(vector, merged(floor, floor_then))
        self._floor_told = merged(self._floor_told, floor_then)  # deletions may be forgotten while replicas compare

        def work(journal: Journal) -> tuple[list[Change], list[bytes]]:
            here = Knowledge(journal.vector, journal.floor)
            found = plan(journal.versions(numbers), theirs, here, there)
            dropped = [_state(key, version, None) for key, version in found.dropped.items()]
            return journal.take_states(dropped), found.wanted

        return await self._pipeline.submit(work, len(versions))

    async def states(self, keys: Sequence[bytes], bytes_max: int) -> bytes:
        """Those points as they are, with their versions, until it is enough; not those that are being changed."""
        before = await self._pipeline.read(lambda journal: journal.versions_of(keys))
        await self._pipeline.until_applied(self._pipeline.committed_seq)
        found = await read_points(self._replica.shard, [id_of(key) for key, one in before.items() if not one.is_gone])
        after = await self._pipeline.read(lambda journal: journal.versions_of(keys))
        told: list[State] = []
        size = 0
        for key, version in before.items():
            change = Change(id_of(key)) if version.is_gone else found.get(id_of(key))
            if change is None or after.get(key) != version:
                continue
            if told and size + size_of(change) > bytes_max:
                break
            told.append(_state(key, version, change))
            size += size_of(change)
        return encode(told)

    async def take_states(self, body: bytes) -> list[bytes]:
        """Takes over what is later than what is here; the keys of the points that were told."""
        states = decode_states(body)
        check_changes([state.change for state in states], self._replica.shard.config)
        await self._pipeline.submit(lambda journal: (journal.take_states(states), None), len(body))
        return [key_of(state.change.id) for state in states]

    async def learn(self, vector: Mapping[str, int], floor: Mapping[str, int]) -> None:
        """Everything that a replica had when it told this vector and floor is here now."""

        def work(journal: Journal) -> tuple[list[Change], None]:
            journal.learn(vector, merged(floor, self._floor_told))
            return [], None

        await self._pipeline.submit(work, 0)

    async def begin_life(self) -> None:
        """Numbers were lost that others have seen: writes made here have another origin from now on."""
        await self._replica.begin_life()


def _state(key: bytes, version: Version, change: Change | None) -> State:
    return State(version.time, version.origin, version.number, change or Change(id_of(key)))
