"""The shard map that this node goes by: written by one node, pulled by the others from whoever has a newer one."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from pathlib import Path
from random import Random

from littoral.errors import ConflictError, NotFoundError, PeerError, UnavailableError
from littoral.mesh.shard_map import ShardMap, ShardMapFile, Spread, decode_map, encode_map
from littoral.node.federation.signed_site import SignedSite
from littoral.transport import Transport

__all__ = ["MapKeeper"]

MAP = "shard-map"
PULL_S = 2.0
PEERS_ASKED_MAX = 4

Say = Callable[[str], None]


class MapKeeper:
    """members: names of the nodes of the site; the first of them writes. changed: told after another map holds.

    signed: of a site whose nodes have identities: the map is a document then, written by the roster's writer, and one
    that is not signed by the site is not taken. Raises NodeError for a file that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        members: Callable[[], Mapping[str, str]],
        *,
        say: Say,
        changed: Callable[[], None],
        signed: SignedSite | None = None,
    ) -> None:
        self._signed = signed
        self._file = ShardMapFile(folder)
        self._transport = transport
        self._members = members
        self._say = say
        self._changed = changed
        self._pull_from: dict[str, int] = {}
        self._rng = Random(transport.name)  # noqa: S311 (whom to ask)
        self._pulling = asyncio.Lock()
        self._first: tuple[Mapping[str, str], str] = ({}, transport.name)
        self._holders: tuple[int, frozenset[str]] = (0, frozenset())

    @property
    def map(self) -> ShardMap:
        return self._file.map

    @property
    def holders(self) -> frozenset[str]:
        """Nodes that hold some shard."""
        if self._holders[0] != self.map.number:
            places = (spread.all_places for spread in self.map.spreads.values())
            named = (nodes for shards in places for nodes in shards.values())
            self._holders = (self.map.number, frozenset(chain.from_iterable(named)))
        return self._holders[1]

    @property
    def writer(self) -> str:
        """Who writes the map."""
        if self._signed is not None and (writer := self._signed.writer) is not None:
            return writer
        if (members := self._members()) is not self._first[0]:
            self._first = (members, min(members, default=self._transport.name))
        return self._first[1]

    @property
    def is_writer(self) -> bool:
        return self._transport.name == self.writer

    async def open(self) -> None:
        """From now on peers that go by an older map are told."""
        await self._transport.serve(MAP, self._tell)
        if self._signed is not None and self._signed.map() is None and self.is_writer and self.map.spreads:
            self._take(self._signed.write(self.map))  # of the time before the site had identities
        self.refresh()

    def refresh(self) -> None:
        """Takes the signed map that came by another way, as documents do."""
        if self._signed is not None and (found := self._signed.map()) is not None:
            self._take(found)

    def spread_to_write(self, name: str) -> Spread:
        """As the map has it. Raises ConflictError where another node writes the map, NotFoundError."""
        if not self.is_writer:
            raise ConflictError(f"node `{self.writer}` writes the shard map, not `{self._transport.name}`")
        if (spread := self.map.spreads.get(name)) is None:
            raise NotFoundError(f"collection `{name}` is not spread here")
        return spread

    def write(self, spreads: Mapping[str, Spread]) -> None:
        """The writer's: the next map has these, beside those that are there."""
        if spreads:
            self._write(self.map.with_spreads(spreads))

    def remove(self, name: str) -> None:
        """The writer's: the next map has this collection no more. Raises as `spread_to_write`."""
        self.spread_to_write(name)
        self._write(self.map.without(name))

    def write_aliases(self, aliases: Mapping[str, str]) -> None:
        """The writer's: the next map has these, and no others."""
        self._write(self.map.with_aliases(aliases))

    def _write(self, following: ShardMap) -> None:
        self._take(following if self._signed is None else self._signed.write(following))

    def take(self, told: bytes) -> None:
        """What a peer told: it holds from now on, if it is newer. Raises InputError, TrustError for one that the site
        has not signed, ConflictError.
        """
        if self._signed is None:
            self._take(decode_map(told))
        elif (found := self._signed.take(told)) is not None:
            self._take(found)

    def _take(self, shard_map: ShardMap) -> None:
        if self._file.take(shard_map):
            self._say(f"mesh: shard map {shard_map.number}, {len(shard_map.spreads)} collections")
            self._changed()

    def heard(self, peer: str, map_number: int) -> None:
        """This peer goes by that map."""
        if map_number > self.map.number:
            self._pull_from[peer] = map_number
            self._changed()

    async def pull(self, *, also: Collection[str] = ()) -> None:
        """From whoever was heard to have a newer one, and from these, after a pull that is under way; of many from a
        few. Who does not answer is asked again.
        """
        self.refresh()
        async with self._pulling:
            heard = {peer for peer, number in self._pull_from.items() if number > self.map.number}
            self._pull_from = {peer: self._pull_from[peer] for peer in heard}
            if not (heard or also):
                return
            peers = sorted((heard or set(also)) & self._members().keys() - {self._transport.name})
            for peer in self._rng.sample(peers, min(PEERS_ASKED_MAX, len(peers))):
                with contextlib.suppress(PeerError, UnavailableError):
                    body = await self._transport.request(peer, MAP, b"%d" % self.map.number, deadline_s=PULL_S)
                    self._pull_from.pop(peer, None)
                    if body:
                        self.take(body)
                        return

    async def _tell(self, _caller: str, body: bytes) -> bytes:
        known = int(body) if body.isdigit() and len(body) <= 16 else 0
        if self.map.number <= known:
            return b""
        return encode_map(self.map) if self._signed is None else self._signed.signed_map() or b""
