"""The collections of a node: a folder each, made and removed so that a crash leaves the one or the other.

`<data>/collections/<name>/`. Half-made and half-removed ones have a name that begins with a dot; opening clears them.
"""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from littoral.artifact.model import write_atomically
from littoral.clock import SYSTEM, Clock
from littoral.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    NotOfferedError,
    RequestError,
    ShardError,
    TooLargeError,
    UnavailableError,
)
from littoral.telemetry import Spread
from littoral.vectors import layout
from littoral.vectors.aliases import AliasChange, Aliases
from littoral.vectors.claiming import claimed
from littoral.vectors.client import ShardClient
from littoral.vectors.collection import Collection
from littoral.vectors.collection_folders import check_name, doom, is_part, make, scan, unpack_beside, wait_for_owner
from littoral.vectors.encrypted.fields import SealedFields
from littoral.vectors.encrypted.shard import SealedShard
from littoral.vectors.generations import Generations
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.quota import Bounds, StoreQuota
from littoral.vectors.records import CollectionConfig, VectorParams
from littoral.vectors.recovering import recovered
from littoral.vectors.shard_hosts import ShardHosts
from littoral.vectors.snapshots import config_in
from littoral.vectors.tuning import SparseParams

__all__ = ["Bounds", "Collections", "ShardHosts"]

COLLECTION_COUNT_MAX = 64
PART_COUNT_MAX = 128
CREATE_DEADLINE_S = 20.0
LOOK_S = 0.05
OPENING_TRIES = 3

Ready = Callable[[Collection], Awaitable[None]]


class Collections:
    """Made by `Collections.open`. For one event loop, and one process per data folder."""

    def __init__(
        self,
        data: Path,
        hosts: ShardHosts,
        clock: Clock,
        encrypted: Mapping[str, SealedFields] | None = None,
        bounds: Bounds | None = None,
        owner: str = "",
    ) -> None:
        self._data = data
        self._encrypted = encrypted or {}
        self.count_max = COLLECTION_COUNT_MAX if bounds is None else bounds.collections_max
        self.quota = None if bounds is None else self._quota_of(bounds, owner, clock)
        self._folder = data / layout.COLLECTIONS
        self._hosts = hosts
        self._clock = clock
        self._collections: dict[str, Collection] = {}
        self._clients: dict[str, tuple[str, ShardClient]] = {}
        self._files: dict[str, layout.CollectionFile] = {}
        self.generations = Generations(self)
        self.alias_table = Aliases(data / layout.COLLECTIONS, self._is_here)
        self._stand_ins: dict[str, Collection] = {}
        self._changing = asyncio.Lock()
        self.damaged: dict[str, ShardError] = {}

    @classmethod
    async def open(
        cls,
        data: Path,
        hosts: ShardHosts,
        clock: Clock = SYSTEM,
        encrypted: Mapping[str, SealedFields] | None = None,
        *,
        bounds: Bounds | None = None,
        owner: str = "",
    ) -> "Collections":
        """What lies in the data folder; asks for its hosts, and does not wait for them.

        encrypted: fields whose values lie sealed, by collection. bounds: what they may hold together; None: as much as
        there is room for. owner: whose they are, for messages.
        A collection whose file cannot be read is in `damaged`, and `get` raises its error.
        """
        collections = cls(data, hosts, clock, encrypted, bounds, owner)
        found = await asyncio.to_thread(scan, collections._folder)
        await asyncio.to_thread(collections.alias_table.load)
        for name, file in found.items():
            if isinstance(file, ShardError):
                collections.damaged[name] = file
            else:
                collections._add(name, file)
        await collections.want_hosts()
        return collections

    async def close(self) -> None:
        """Ends the connections; the hosts are the supervisor's."""
        if self.quota is not None:
            await self.quota.close()
        for _, client in list(self._clients.values()):
            await client.close()
        await self.generations.close()

    def __contains__(self, name: str) -> bool:
        return self._is_here(name := self.alias_table.of(name)) and name not in self.damaged and not is_part(name)

    def names(self) -> list[str]:
        """In alphabetical order, without the damaged ones."""
        return sorted([*self._stand_ins, *(name for name in self._collections if not is_part(name))])

    def stand_in(self, collection: Collection) -> None:
        """From now on its name means this one, whose points lie in parts, here and elsewhere. Raises ConflictError."""
        if collection.name in self._collections or collection.name in self.damaged:
            raise ConflictError(f"collection `{collection.name}` exists already")
        self._stand_ins[collection.name] = collection

    async def stand_down(self, name: str) -> None:
        """The name means that one no more, and is free; its aliases go too."""
        async with self._changing:
            self._stand_ins.pop(name, None)
            await asyncio.to_thread(self.alias_table.forget, name)

    def part(self, name: str) -> Collection | None:
        """A part that lies here; None if it does not."""
        return self._collections.get(name)

    def parts(self) -> list[str]:
        """Names of what lies here for collections that are spread: `NAME.PART`, which no request can name."""
        return sorted(name for name in self._collections if is_part(name))

    async def change_aliases(self, changes: Sequence[AliasChange]) -> None:
        """All of them or none. Raises NotFoundError, ConflictError for a name that is taken, InputError."""
        async with self._changing:
            for change in changes:
                if change.alias is not None:
                    check_name(change.alias)
            await asyncio.to_thread(self.alias_table.change, changes, {*self.names(), *self.damaged})

    def request_times(self) -> Iterator[tuple[str, str, Spread]]:
        """Of every shard host: its collection, what was asked, how long answers took."""
        for name, (_, client) in self._clients.items():
            for request, spread in client.times.items():
                yield name, request, spread

    def get(self, name: str) -> Collection:
        """By its name or an alias. Raises NotFoundError, InputError for a name that none can have, ShardError for a
        damaged one.
        """
        name = self.alias_table.of(name)
        if (found := self._stand_ins.get(name) or self._collections.get(name)) is not None and not is_part(name):
            return found
        if name in self.damaged:
            raise self.damaged[name]
        check_name(name)
        raise NotFoundError(f"collection `{name}` does not exist")

    async def create(self, name: str, config: CollectionConfig, *, deadline_s: float = CREATE_DEADLINE_S) -> Collection:
        """A new, empty collection that answers. Raises ConflictError, InputError for the name, UnavailableError if its
        host does not come up in time (nothing is left of it then).
        """
        check_name(name)
        return await self._create(name, config, deadline_s)

    async def create_part(
        self, name: str, config: CollectionConfig, *, deadline_s: float = CREATE_DEADLINE_S
    ) -> Collection:
        """As `create`, for `NAME.PART`."""
        if not is_part(name):
            raise InputError(f"name of a part is `{name[:80]}`, must be NAME.PART")
        return await self._create(name, config, deadline_s)

    async def _create(self, name: str, config: CollectionConfig, deadline_s: float) -> Collection:
        async with self._changing:
            if self._is_here(name) or name in self.alias_table.all():
                raise ConflictError(f"collection `{name}` exists already")
            self._check_room(name)
            if self.quota is not None:
                await self.quota.check_room()
            file = layout.CollectionFile(config, [f"shard-0-{secrets.token_hex(4)}"])
            await asyncio.to_thread(make, self._folder, name, file)
            collection = self._add(name, file)
            await self.want_hosts()
            try:
                await collection.info(deadline_s=deadline_s)
            except BaseException:
                await asyncio.shield(self._remove(name))
                raise
            return collection

    async def delete(self, name: str) -> None:
        """After it the name is free, and stays so after a crash. Raises NotFoundError."""
        check_name(name)
        self._refuse_stand_in(name, "deleted")
        await self.delete_part(name)

    async def delete_part(self, name: str) -> None:
        """As `delete`, for `NAME.PART`."""
        async with self._changing:
            if name not in self.damaged and name not in self._collections:
                raise NotFoundError(f"collection `{name}` does not exist")
            await asyncio.to_thread(self.alias_table.forget, name)
            await self._remove(name)

    async def configure(self, name: str, config: CollectionConfig, *, deadline_s: float = CREATE_DEADLINE_S) -> None:
        """Other options for the same vectors. They are kept first: a host that is restarted in between has them."""
        self._refuse_stand_in(name, "changed")
        await self.configure_part(self.get(name).name, config, deadline_s)

    async def configure_part(self, name: str, config: CollectionConfig, deadline_s: float = CREATE_DEADLINE_S) -> None:
        """As `configure`, for `NAME.PART`."""
        async with self._changing:
            if (collection := self._collections.get(name)) is None:
                raise NotFoundError(f"collection `{name}` does not exist")
            former = collection.config
            await self._keep(collection.name, config)
            try:
                await collection.configure(config, deadline_s=deadline_s)
            except RequestError:
                await self._keep(collection.name, former)
                raise

    async def add_vector(
        self, name: str, vector: str, params: VectorParams | SparseParams, *, deadline_s: float = CREATE_DEADLINE_S
    ) -> int:
        """From now on points may have this vector; the epoch after it. A host makes what its collection's file has and
        its store lacks, so that the file comes first. Raises ConflictError.
        """
        self._refuse_stand_in(name, "changed")
        async with self._changing:
            collection = self.get(name)
            config = collection.config
            if vector in config.dense or vector in config.sparse:
                raise ConflictError(f"collection `{collection.name}` has a vector `{vector}` already")
            added = (
                msgspec.structs.replace(config, named={**config.named, vector: params})
                if isinstance(params, VectorParams)
                else msgspec.structs.replace(config, sparse={**config.sparse, vector: params})
            )
            await self._keep(collection.name, added)
            try:
                return await collection.add_vector(vector, params, deadline_s=deadline_s)
            except RequestError:
                await self._keep(collection.name, config)
                raise

    async def drop_vector(self, name: str, vector: str, *, deadline_s: float = CREATE_DEADLINE_S) -> int:
        """No point has this vector any more; the epoch after it. Raises NotFoundError, InputError for the last one."""
        self._refuse_stand_in(name, "changed")
        async with self._changing:
            collection = self.get(name)
            config = collection.config
            if vector not in config.named and vector not in config.sparse:
                raise NotFoundError(f"collection `{collection.name}` has no vector `{vector}` by that name")
            if len(config.dense) + len(config.sparse) == 1:
                raise InputError(f"vector `{vector}` is the only one of collection `{collection.name}`")
            epoch = await collection.drop_vector(vector, deadline_s=deadline_s)
            await self._keep(collection.name, config.without(vector))
            return epoch

    async def claim(self, name: str, models: Sequence[ModelVersion], vector: str = "") -> None:
        """The vectors of that name were embedded by these, and none by others from now on.

        Raises ConflictError where they are embeddings of others.
        """
        self._refuse_stand_in(name, "claimed")
        async with self._changing:
            collection = self.get(name)
            file = claimed(collection.name, self._files[collection.name], models, vector)
            if file is not self._files[collection.name]:
                await self.keep_file(collection.name, file)
                collection.config = file.config
                if collection.other is not None and file.other is not None:
                    collection.other.config = file.other.config

    async def begin_generation(
        self, name: str, config: CollectionConfig, *, deadline_s: float = CREATE_DEADLINE_S
    ) -> Collection:
        """As `Generations.begin`."""
        self._refuse_stand_in(name, "embedded anew")
        async with self._changing:
            return await self.generations.begin(self.get(name).name, config, deadline_s)

    async def flip_generations(self, name: str, declared: str, then: Callable[[], None]) -> None:
        """As `Generations.flip`."""
        async with self._changing:
            await self.generations.flip(name, self._clock.wall(), declared, then)

    async def end_generation(self, name: str) -> None:
        """As `Generations.end`."""
        async with self._changing:
            await self.generations.end(name)

    def file_of(self, name: str) -> layout.CollectionFile:
        """What its file says."""
        return self._files[name]

    async def keep_file(self, name: str, file: layout.CollectionFile) -> None:
        """Replaces its file; what runs is the caller's."""
        path = self._folder / name / layout.COLLECTION_FILE
        await asyncio.to_thread(write_atomically, path, msgspec.json.encode(file))
        self._files[name] = file

    def find(self, name: str) -> Collection:
        """One that lies here, by its own name."""
        return self._collections[name]

    def exchange(self, name: str, shard: str, client: ShardClient, collection: Collection) -> tuple[str, ShardClient]:
        """From now on the name means this one; the shard that it meant before."""
        before, self._clients[name] = self._clients[name], (shard, client)
        self._collections[name] = collection
        return before

    async def make_shard(self, name: str, shard: str) -> None:
        """A folder beside that of the first one."""
        await asyncio.to_thread((self._folder / name / shard).mkdir, mode=0o700)

    async def drop_shard(self, name: str, shard: str) -> None:
        """One whose host is to end already."""
        folder = self._folder / name / shard
        await asyncio.to_thread(wait_for_owner, folder, self._clock)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def recover(
        self, name: str, archive: Path, *, sha256: str | None = None, deadline_s: float = CREATE_DEADLINE_S
    ) -> None:
        """Takes the points of a snapshot in the place of those that are there; makes a collection that is not.

        Nothing changes before a host answers for the new ones. Raises InputError for a file that is no snapshot, has
        another digest or other vectors, UnavailableError if the host does not come up.
        """
        check_name(name)
        self._refuse_stand_in(name, "recovered")
        await self._recover(self.alias_table.of(name), archive, sha256, deadline_s)

    async def recover_part(
        self, name: str, archive: Path, ready: Ready, *, deadline_s: float = CREATE_DEADLINE_S
    ) -> None:
        """As `recover`, for a part that is there. ready: is given what is to take its place, and changes what it likes
        before it does; if it raises, everything is as before.
        """
        if name not in self._collections:
            raise NotFoundError(f"collection `{name}` does not exist")
        await self._recover(name, archive, None, deadline_s, ready)

    async def _recover(
        self, name: str, archive: Path, sha256: str | None, deadline_s: float, ready: Ready | None = None
    ) -> None:
        config = await asyncio.to_thread(config_in, archive, sha256)
        async with self._changing:
            if name in self.damaged:
                raise self.damaged[name]
            existing = self._collections.get(name)
            if existing is None:
                self._check_room(name)
            if existing is not None:
                config = recovered(name, existing, config)
            shard = f"shard-0-{secrets.token_hex(4)}"
            folder = self._folder / name
            if existing is None:
                file = layout.CollectionFile(config, [shard])
                await asyncio.to_thread(make, self._folder, name, file, archive)
            else:
                former = folder / self._clients[name][0]
                await asyncio.to_thread(unpack_beside, archive, former, folder / shard)
            await self._take_over(name, existing, layout.CollectionFile(config, [shard]), deadline_s, ready)

    async def _take_over(
        self,
        name: str,
        former: Collection | None,
        file: layout.CollectionFile,
        deadline_s: float,
        ready: Ready | None,
    ) -> None:
        """A host on the new shard; when it answers, the name means that one."""
        shard = file.shards[0]
        client = self.client_of(name, shard)
        kept = self._clients.get(name)
        try:
            await self.want_hosts(f"{layout.COLLECTIONS}/{name}/{shard}")
            fresh = self.collection_of(name, file.config, client)
            await self._see_opened(name, shard, fresh, deadline_s)
            if ready is not None:
                await ready(fresh)
        except BaseException:
            await client.close()
            await self.want_hosts()
            await asyncio.to_thread(wait_for_owner, self._folder / name / shard, self._clock)
            doomed = self._folder / name / shard if former else await asyncio.to_thread(doom, self._folder, name)
            await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)
            raise
        self._clients[name] = (shard, client)
        self._collections[name] = self.collection_of(name, file.config, client)
        self._collections[name].is_strict = former is not None and former.is_strict
        declared = self._files[name].declared if name in self._files else ""
        await self.keep_file(name, msgspec.structs.replace(file, declared=declared))
        await self.want_hosts()
        if kept is not None:
            await kept[1].close(
                UnavailableError(f"collection `{name}` was recovered from a snapshot", hint="try again")
            )
            await asyncio.to_thread(wait_for_owner, self._folder / name / kept[0], self._clock)
            await asyncio.to_thread(shutil.rmtree, self._folder / name / kept[0], ignore_errors=True)

    async def _see_opened(self, name: str, shard: str, collection: Collection, deadline_s: float) -> None:
        """Returns when its host answers. Raises InputError as soon as it is clear that none can open what is there."""
        path = f"{layout.COLLECTIONS}/{name}/{shard}"
        asking = asyncio.create_task(collection.info(deadline_s=deadline_s))
        while not (await asyncio.wait({asking}, timeout=LOOK_S))[0]:
            if self._hosts.restart_count(path) >= OPENING_TRIES:
                asking.cancel()
                raise InputError(f"snapshot: its points cannot be opened: {self._hosts.state_of(path)}")
        asking.result()

    def _is_here(self, name: str) -> bool:
        return name in self._collections or name in self._stand_ins or name in self.damaged

    def _refuse_stand_in(self, name: str, what: str) -> None:
        if self.alias_table.of(name) in self._stand_ins:
            raise NotOfferedError(f"collection `{name}` is spread over nodes: it cannot be {what} as one")

    def _check_room(self, name: str) -> None:
        same = [known for known in self._collections if is_part(known) == is_part(name)]
        if len(same) >= (most := PART_COUNT_MAX if is_part(name) else self.count_max):
            raise TooLargeError(f"{most} collections are there, which is the most")

    async def _keep(self, name: str, config: CollectionConfig) -> None:
        await self.keep_file(name, msgspec.structs.replace(self._files[name], config=config))
        self._collections[name].config = config

    async def _remove(self, name: str) -> None:
        """The host ends first; the rename is what makes it so; what a crash leaves behind is cleared at opening."""
        self.damaged.pop(name, None)
        self._files.pop(name, None)
        if self._collections.pop(name, None) is not None:
            shard, client = self._clients.pop(name)
            other = await self.generations.forget(name)
            await client.close(NotFoundError(f"collection `{name}` was deleted"))
            await self.want_hosts()
            for ended in (shard, *([other] if other else [])):
                await asyncio.to_thread(wait_for_owner, self._folder / name / ended, self._clock)
        doomed = await asyncio.to_thread(doom, self._folder, name)
        await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)

    def _add(self, name: str, file: layout.CollectionFile) -> Collection:
        shard = file.shards[0]
        client = self.client_of(name, shard)
        self._clients[name] = (shard, client)
        self._files[name] = file
        self._collections[name] = self.collection_of(name, file.config, client)
        if file.other is not None:
            self.generations.add(name, file.other)
        return self._collections[name]

    def _quota_of(self, bounds: Bounds, owner: str, clock: Clock) -> StoreQuota:
        return StoreQuota(owner, bounds, count=self._count, folder=self._data / layout.COLLECTIONS, clock=clock)

    async def _count(self) -> int:
        """Points of all of them."""
        return sum(await asyncio.gather(*(self._collections[name].count() for name in self.names())))

    def client_of(self, name: str, shard: str) -> ShardClient:
        """To a shard's host."""
        path = f"{layout.COLLECTIONS}/{name}/{shard}"
        return ShardClient(self._folder / name / shard, self._clock, state=lambda: self._hosts.state_of(path))

    def collection_of(self, name: str, config: CollectionConfig, client: ShardClient) -> Collection:
        """Over the shard of this client; what is to lie sealed does."""
        fields = self._encrypted.get(name)
        found = Collection(name, config, client if fields is None else SealedShard(client, fields))
        found.quota = self.quota
        return found

    def sealed_shards(self) -> list[tuple[str, SealedShard]]:
        """Of the collections that are there and have sealed fields; both generations of one that has two."""
        here = [self._collections[name] for name in self._encrypted if name in self._collections]
        shards = [(one.name, one.shard) for own in here for one in (own, own.other) if one is not None]
        return [(name, shard) for name, shard in shards if isinstance(shard, SealedShard)]

    async def want_hosts(self, *more: str) -> None:
        """Of all shards that are there, and of these."""
        shards = [*((name, shard) for name, (shard, _) in self._clients.items()), *self.generations.shards()]
        await self._hosts.want([*(f"{layout.COLLECTIONS}/{name}/{shard}" for name, shard in shards), *more])
