"""Second generations of collections: the same points embedded by another model, in a shard of their own.

Both lie in the collection's folder, and its one file says which of them the name means: replacing that file is the
flip. A crash leaves the one, or the other.
"""

import secrets
from collections.abc import Callable
from typing import Protocol

from littoral.errors import ConflictError, NotFoundError, UnavailableError
from littoral.vectors.client import ShardClient
from littoral.vectors.collection import Collection
from littoral.vectors.layout import CollectionFile, Generation
from littoral.vectors.records import CollectionConfig

__all__ = ["Generations", "Keeper"]


class Keeper(Protocol):
    """What `Collections` does for it."""

    def file_of(self, name: str) -> CollectionFile: ...

    async def keep_file(self, name: str, file: CollectionFile) -> None: ...

    def client_of(self, name: str, shard: str) -> ShardClient: ...

    def collection_of(self, name: str, config: CollectionConfig, client: ShardClient) -> Collection: ...

    async def want_hosts(self) -> None: ...

    def exchange(self, name: str, shard: str, client: ShardClient, collection: Collection) -> tuple[str, ShardClient]:
        """From now on the name means this one; what it meant before."""
        ...

    def find(self, name: str) -> Collection: ...

    async def make_shard(self, name: str, shard: str) -> None: ...

    async def drop_shard(self, name: str, shard: str) -> None: ...


class Generations:
    """One change at a time: the caller holds a lock around each."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._clients: dict[str, tuple[str, ShardClient]] = {}

    def shards(self) -> list[tuple[str, str]]:
        """Collection and shard of each, whose hosts are to run."""
        return [(name, shard) for name, (shard, _) in self._clients.items()]

    def add(self, name: str, generation: Generation) -> None:
        """One that lies there."""
        first, shard = self._keeper.find(name), generation.shards[0]
        client = self._keeper.client_of(name, shard)
        self._clients[name] = (shard, client)
        _pair(first, self._keeper.collection_of(name, generation.config, client))

    async def begin(self, name: str, config: CollectionConfig, deadline_s: float) -> Collection:
        """A second, empty generation that answers.

        Raises ConflictError if there is one, UnavailableError if its host does not come up.
        """
        file = self._keeper.file_of(name)
        if file.other is not None:
            raise ConflictError(
                f"collection `{name}` has a second generation already",
                hint="let its migration end, or drop it: `littoral collections migrate NAME --drop`",
            )
        generation = Generation(config, [f"shard-0-{secrets.token_hex(4)}"])
        await self._keeper.make_shard(name, generation.shards[0])
        await self._keeper.keep_file(name, _with_other(file, generation))
        self.add(name, generation)
        await self._keeper.want_hosts()
        other = self.other_of(name)
        try:
            await other.info(deadline_s=deadline_s)
        except BaseException:
            await self.end(name)
            raise
        return other

    def other_of(self, name: str) -> Collection:
        """Raises NotFoundError."""
        if (other := self._keeper.find(name).other) is None:
            raise NotFoundError(f"collection `{name}` has no second generation")
        return other

    async def flip(self, name: str, at: float, declared: str, then: Callable[[], None]) -> None:
        """The name means the other generation from now on, on disk first.

        declared: kept with it. then: called in the same turn of the loop in which the name changes its meaning.
        """
        file, other = self._keeper.file_of(name), self.other_of(name)
        if file.other is None:
            raise NotFoundError(f"collection `{name}` has no second generation")
        before = Generation(file.config, file.shards, at)
        await self._keeper.keep_file(
            name, CollectionFile(file.other.config, file.other.shards, before, declared, file.format)
        )
        shard, client = self._clients[name]
        self._clients[name] = self._keeper.exchange(name, shard, client, other)
        then()

    async def end(self, name: str) -> None:
        """The other generation is gone. Raises NotFoundError."""
        other, file = self.other_of(name), self._keeper.file_of(name)
        await self._keeper.keep_file(name, _with_other(file, None))
        shard, client = self._clients.pop(name)
        first = self._keeper.find(name)
        first.other = first.instead = other.other = other.instead = None
        await client.close(UnavailableError(f"collection `{name}`: this generation was dropped", hint="try again"))
        await self._keeper.want_hosts()
        await self._keeper.drop_shard(name, shard)

    async def forget(self, name: str) -> str | None:
        """The whole collection is about to go; the shard of its other generation."""
        if (found := self._clients.pop(name, None)) is None:
            return None
        await found[1].close(NotFoundError(f"collection `{name}` was deleted"))
        return found[0]

    async def close(self) -> None:
        """Ends the connections."""
        for _, client in list(self._clients.values()):
            await client.close()


def _pair(one: Collection, two: Collection) -> None:
    one.other, two.other = two, one
    two.is_strict = one.is_strict


def _with_other(file: CollectionFile, other: Generation | None) -> CollectionFile:
    return CollectionFile(file.config, file.shards, other, file.declared, file.format)
