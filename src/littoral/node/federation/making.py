"""Collections that lie on all nodes together, made and deleted by requests, as the node that writes the map does it.

Any node may be asked. What was made is in the shard map with its definition, so that nodes that were away learn of it
with the map; what was deleted is not there any more, and its shards go wherever they still lie, because shards to come
have higher numbers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from collections.abc import Collection as Names
from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.clock import Clock
from littoral.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    LittoralError,
    NotFoundError,
    NotOfferedError,
    PeerError,
    SettingError,
    ShardError,
    TooLargeError,
    UnavailableError,
)
from littoral.mesh.shard_map import (
    DEFINITION_BYTES_MAX,
    DOCUMENT_BYTES_MAX,
    SPREAD_COUNT_MAX,
    Spread,
    encode_map,
)
from littoral.node.federation.local_shards import LocalShards, part_name
from littoral.node.federation.made import MadeTable, defined, definition_of
from littoral.node.federation.map_keeper import MapKeeper
from littoral.node.federation.messages import decoded, encode
from littoral.node.federation.site_aliases import AliasWish, Wanted, following, wanted
from littoral.node.federation.stand_ins import StandIns
from littoral.node.mesh_tables import SpreadTable
from littoral.node.site_tables import CollectionTable
from littoral.transport import Transport
from littoral.vectors.aliases import AliasChange
from littoral.vectors.collection_folders import check_name
from littoral.vectors.records import CollectionConfig

__all__ = ["Making"]

WISH, FREE, KNOW = "collection-wish", "collection-free", "collection-known"
WISH_S, FREE_S, KNOW_S = 30.0, 2.0, 20.0
LOOK_S = 0.05
NAME_CHARACTERS_MAX = 64
"""Of a collection in the shard map."""

Say = Callable[[str], None]
LaidOut = Callable[[str, CollectionTable], Spread]
Change = Callable[[CollectionConfig], CollectionConfig]


class _Make(msgspec.Struct, array_like=True, tag="make"):
    collection: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    definition: Annotated[bytes, Meta(min_length=1, max_length=DEFINITION_BYTES_MAX)]


class _Delete(msgspec.Struct, array_like=True, tag="delete"):
    collection: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class _Configure(msgspec.Struct, array_like=True, tag="configure"):
    """was: the definition that it goes by."""

    collection: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
    was: Annotated[bytes, Meta(min_length=1, max_length=DEFINITION_BYTES_MAX)]
    definition: Annotated[bytes, Meta(min_length=1, max_length=DEFINITION_BYTES_MAX)]


_Wish = _Make | _Delete | _Configure | AliasWish
_wishes = msgspec.msgpack.Decoder(_Wish)


class Making:
    """Of one node. tables: of its spread collections, those of its site file at first. lay_out: where the shards of a
    new one lie; may take its time. members: names of the nodes of the site. hold: sees to it that this
    node has what the map says, and nothing else.
    """

    def __init__(
        self,
        transport: Transport,
        keeper: MapKeeper,
        tables: MutableMapping[str, CollectionTable],
        stand_ins: StandIns,
        local: LocalShards,
        members: Callable[[], Mapping[str, str]],
        lay_out: LaidOut,
        *,
        clock: Clock,
        say: Say,
        hold: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._keeper = keeper
        self._tables = tables
        self._stand_ins = stand_ins
        self._local = local
        self._members = members
        self._lay_out = lay_out
        self._clock = clock
        self._say = say
        self._hold = hold
        self._writing, self._adopting, self._renaming = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._cleared = 0
        self.is_default = False
        """Whether a collection is spread of which a request does not say where it is to lie."""
        self.hidden: dict[str, str] = {}
        """Collections of the map that are not to be had here, and why."""

    async def open(self) -> None:
        """From now on other nodes' wishes are heard."""
        await self._transport.serve(WISH, self._answer)
        await self._transport.serve(FREE, self._is_free)
        await self._transport.serve(KNOW, self._known)
        await self.adopt()

    @property
    def default(self) -> SpreadTable | None:
        """How such a collection is spread; None = it lies on the node that is asked."""
        return SpreadTable(replicas=min(SpreadTable().replicas, len(self._members()))) if self.is_default else None

    def is_made(self, name: str) -> bool:
        """Whether it is here because of a request."""
        return isinstance(self._tables.get(name), MadeTable)

    async def create(
        self,
        name: str,
        config: CollectionConfig,
        spread: SpreadTable,
        *,
        ready: Callable[[float], Awaitable[object]],
        deadline_s: float,
    ) -> None:
        """It is there, and answers as a whole here; nodes that are here know of it. ready: asks it, with a deadline.

        Raises ConflictError for a name that is taken on a node that is here, InputError, TooLargeError, PeerError where
        the node that writes the map cannot be reached, UnavailableError where it is made and does not answer yet.
        """
        end_s = self._clock.monotonic() + deadline_s
        check_name(name)
        if len(name) > NAME_CHARACTERS_MAX:
            raise InputError(f"collection name has {len(name)} characters, spread at most {NAME_CHARACTERS_MAX}")
        self._stand_ins.check(name)
        await self._follow(await self._wish(_Make(name, definition_of(config, spread))), end_s)
        why: LittoralError | None = None
        while (left_s := end_s - self._clock.monotonic()) > 0:
            try:
                await ready(left_s)
                return
            except (UnavailableError, ShardError, PeerError, NotFoundError) as error:
                why = error
            await asyncio.sleep(LOOK_S)
        raise UnavailableError(
            f"collection `{name}` is made, its shards do not all answer yet{f': {why.message}' if why else ''}",
            hint="it needs no second request; `GET /api/mesh` tells what is missing",
        )

    async def delete(self, name: str, *, deadline_s: float) -> None:
        """It is gone here and on nodes that are here, and goes from others when they come.

        Raises NotFoundError, NotOfferedError for a site file's, and PeerError as `create`.
        """
        if not self.is_made(name):
            raise _of_a_site_file(name, self._transport.name)
        await self._follow(await self._wish(_Delete(name)), self._clock.monotonic() + deadline_s)

    async def configure(self, name: str, change: Change, *, deadline_s: float) -> None:
        """Other options for the same vectors, on all nodes; those that are away take them when they come. change: of
        what it was made with; may be asked again where somebody else changes it meanwhile.

        Raises NotOfferedError for a site file's, InputError for what the store refuses, PeerError as `create`.
        """
        end_s = self._clock.monotonic() + deadline_s
        tried = b""
        while True:
            table = self._tables.get(name)
            if not isinstance(table, MadeTable) or table.spread is None:
                raise _options_of_a_site_file(name)
            if table.definition == tried:
                raise ConflictError(f"collection `{name}` is changed by somebody else too", hint="try again")
            config = change(table.made)
            wish = _Configure(name, table.definition, definition_of(config, table.spread))
            await self._local.try_options(name, config)
            try:
                await self._follow(await self._wish(wish), end_s)
                return
            except ConflictError:
                tried = table.definition
                await self._keeper.pull(also=[self._keeper.writer])
                await self.adopt()

    async def change_aliases(self, changes: Sequence[AliasChange], names: Names[str], *, deadline_s: float) -> None:
        """All of them or none, in their order: those of spread collections on all nodes, others on this one alone.

        names: of this node's collections. Raises NotFoundError, ConflictError for a name that is taken or where
        somebody else changes the same, InputError, TooLargeError, ShardError, PeerError as `create`.
        """
        end_s = self._clock.monotonic() + deadline_s
        own = self._stand_ins.aliases
        async with self._renaming:
            before = own.own()
            todo = wanted(before, self._keeper.map.aliases, changes, names, self._keeper.map.spreads)
            while todo.wish is not None:
                await asyncio.to_thread(own.replace, {**before, **todo.own})
                try:
                    await self._follow(await self._wish(todo.wish), end_s)
                    break
                except LittoralError as error:
                    await asyncio.to_thread(own.replace, before)
                    todo = await self._once_more(todo, error, changes, names)
            await asyncio.to_thread(own.replace, todo.own)

    async def _once_more(
        self, todo: Wanted, error: LittoralError, changes: Sequence[AliasChange], names: Names[str]
    ) -> Wanted:
        """By the newest map, if it says something else of these aliases; else the error."""
        if not isinstance(error, ConflictError):
            raise error
        with contextlib.suppress(PeerError, UnavailableError):
            await self._keeper.pull(also=[self._keeper.writer])
        own, shard_map = self._stand_ins.aliases.own(), self._keeper.map
        again = wanted(own, shard_map.aliases, changes, names, shard_map.spreads)
        if again == todo:
            raise error
        return again

    async def adopt(self) -> None:
        """The collections that requests have made are those of the map."""
        async with self._adopting:
            await self._adopt()

    async def _adopt(self) -> None:
        spreads = self._keeper.map.spreads
        for name, table in list(self._tables.items()):
            if isinstance(table, MadeTable) and not table.is_of(spreads.get(name)):
                del self._tables[name]
                await self._stand_ins.remove(name)
        hidden: dict[str, str] = {}
        for name, spread in spreads.items():
            try:
                self._take(name, spread)
            except LittoralError as error:
                hidden[name] = error.message
        for name, why in hidden.items():
            if self.hidden.get(name) != why:
                self._say(f"mesh: `{name}`, which a request has made, is not to be had here: {why}")
        self.hidden = hidden

    def _take(self, name: str, spread: Spread) -> None:
        if not spread.definition:
            return
        if (table := self._tables.get(name)) is None:
            self._stand_ins.check(name)
            self._tables[name] = defined(spread.definition, spread.born)
            self._stand_ins.add(name)
        elif isinstance(table, MadeTable) and table.definition != spread.definition:
            self._tables[name] = defined(spread.definition, spread.born)
            self._stand_ins.renew(name)

    async def clear(self) -> None:
        """Shards that lie here of collections that were deleted are gone from the disk."""
        shard_map = self._keeper.map
        if not shard_map.given or self._cleared == shard_map.number:
            return
        for name, shard in self._local.all_here():
            if shard_map.is_over(name, shard):
                await self._local.let_go(name, shard)
                self._say(f"mesh: `{part_name(name, shard)}` is gone, its collection was deleted")
        self._cleared = shard_map.number

    async def _wish(self, wish: _Wish) -> int:
        """Number of the map after it."""
        if self._keeper.is_writer:
            return await self._done(wish, self._transport.name)
        writer = self._keeper.writer
        told = await self._transport.request(writer, WISH, encode(wish), deadline_s=WISH_S)
        if not told.isdigit() or len(told) > 16:
            raise InputError(f"answer of `{writer}` to a wish: no number of a map")
        self._keeper.heard(writer, int(told))
        return int(told)

    async def _answer(self, caller: str, body: bytes) -> bytes:
        self._check_member(caller)
        if not self._keeper.is_writer:
            raise ConflictError(f"node `{self._keeper.writer}` writes the shard map, not `{self._transport.name}`")
        return b"%d" % await self._done(decoded(_wishes, body, f"wish of `{caller}`"), caller)

    async def _done(self, wish: _Wish, caller: str) -> int:
        """As the writer of the map. Nodes that are here have done their part when it returns, unless they are slow."""
        async with self._writing:
            match wish:
                case _Make():
                    await self._write(wish)
                case _Delete():
                    self._remove(wish.collection)
                case _Configure():
                    self._write_options(wish)
                case AliasWish():
                    await self._write_aliases(wish, caller)
            number = self._keeper.map.number
        await asyncio.gather(self._hold(), self._tell(number))
        return number

    async def _tell(self, number: int) -> None:
        async for _ in self._transport.fan_out(self._others(), KNOW, b"%d" % number, deadline_s=KNOW_S):
            pass

    async def _write(self, wish: _Make) -> None:
        name, shard_map = wish.collection, self._keeper.map
        check_name(name)
        table = defined(wish.definition)
        if name in shard_map.spreads or name in self._tables:
            raise ConflictError(f"collection `{name}` exists already")
        if len(shard_map.spreads) >= SPREAD_COUNT_MAX:
            raise TooLargeError(f"{SPREAD_COUNT_MAX} collections are spread over the nodes, which is the most")
        self._stand_ins.check(name)
        await self._see_free(f"collection `{name}`", name, self._others())
        try:
            spread = await asyncio.to_thread(self._lay_out, name, table)
        except SettingError as error:
            raise InputError(error.message, hint=error.hint) from error
        spread = msgspec.structs.replace(spread, definition=wish.definition)
        if len(encode_map(self._keeper.map.with_spreads({name: spread}))) > DOCUMENT_BYTES_MAX:
            raise TooLargeError(f"collection `{name}`: the shard map has no room for it")
        self._keeper.write({name: spread})

    def _write_options(self, wish: _Configure) -> None:
        spread = self._keeper.map.spreads.get(wish.collection)
        if spread is None or not self.is_made(wish.collection):
            raise _options_of_a_site_file(wish.collection)
        if spread.definition != wish.was:
            raise ConflictError(f"collection `{wish.collection}` was changed by somebody else meanwhile")
        before, after = defined(spread.definition).made, defined(wish.definition).made
        if _vectors_of(before) != _vectors_of(after):
            raise InputError(f"collection `{wish.collection}`: other options are of the same vectors")
        self._keeper.write({wish.collection: msgspec.structs.replace(spread, definition=wish.definition)})

    async def _write_aliases(self, wish: AliasWish, caller: str) -> None:
        shard_map = self._keeper.map
        aliases = following(shard_map.aliases, wish, shard_map.spreads)
        fresh = sorted(wish.wanted.keys() - wish.was.keys())
        for alias in fresh:
            check_name(alias)
            if caller != self._transport.name:
                self._stand_ins.check(alias)
        others = [node for node in self._others() if node != caller]
        await asyncio.gather(*(self._see_free(f"alias `{alias}`: the name", alias, others) for alias in fresh))
        if len(encode_map(self._keeper.map.with_aliases(aliases))) > DOCUMENT_BYTES_MAX:
            raise TooLargeError("aliases: the shard map has no room for them")
        self._keeper.write_aliases(aliases)

    async def _see_free(self, what: str, name: str, nodes: Sequence[str]) -> None:
        told = self._transport.fan_out(nodes, FREE, name.encode(), deadline_s=FREE_S)
        if taken := [reply.peer async for reply in told if reply.body == b"0"]:
            raise ConflictError(f"{what} exists already on {', '.join(f'`{node}`' for node in sorted(taken))}")

    def _remove(self, name: str) -> None:
        spread = self._keeper.map.spreads.get(name)
        if spread is None:
            raise NotFoundError(f"collection `{name}` does not exist")
        if not spread.definition or (name in self._tables and not self.is_made(name)):
            raise _of_a_site_file(name, self._transport.name)
        self._keeper.remove(name)

    async def _is_free(self, caller: str, body: bytes) -> bytes:
        """`0` where a collection of this node alone has the name, or one of its site file."""
        self._check_member(caller)
        name = body.decode(errors="replace")
        if self.is_made(name):
            return b"1"
        try:
            self._stand_ins.check(name)
        except ConflictError:
            return b"0"
        return b"0" if name in self._tables else b"1"

    async def _known(self, caller: str, body: bytes) -> bytes:
        self._check_member(caller)
        if body.isdigit() and len(body) <= 16:
            self._keeper.heard(caller, int(body))
            await self._keeper.pull()
            await self._hold()
        return b""

    async def _follow(self, number: int, end_s: float) -> None:
        """Until this node goes by that map, or a later one."""
        while self._keeper.map.number < number and self._clock.monotonic() < end_s:
            with contextlib.suppress(PeerError, UnavailableError):
                await self._keeper.pull(also=[self._keeper.writer])
            if self._keeper.map.number < number:
                await asyncio.sleep(LOOK_S)
        await self.adopt()

    def _others(self) -> list[str]:
        """Members that are here."""
        return sorted((self._transport.alive() & self._members().keys()) - {self._transport.name})

    def _check_member(self, caller: str) -> None:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")


def _vectors_of(config: CollectionConfig) -> dict[str, object]:
    """What no options change."""
    dense = {name: (params.size, params.distance, params.multivector_config) for name, params in config.dense.items()}
    return {**dense, **dict.fromkeys(config.sparse)}


def _options_of_a_site_file(name: str) -> NotOfferedError:
    return NotOfferedError(
        f"collection `{name}` is spread over nodes by site files: no request changes its options",
        hint="change them in the site file of each node, and start one after the other",
    )


def _of_a_site_file(name: str, node: str) -> NotOfferedError:
    return NotOfferedError(
        f"collection `{name}` is spread over nodes by the site file of `{node}`: no request deletes it",
        hint="those that a request has made are deleted by one",
    )
