"""The shard map that this node goes by: written by one node, pulled by the others from whoever has a newer one."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random

from littoral.errors import PeerError, UnavailableError
from littoral.mesh.shard_map import ShardMap, ShardMapFile, Spread, decode_map, encode_map
from littoral.transport import Transport

__all__ = ["MapKeeper"]

MAP = "shard-map"
PULL_S = 2.0
PEERS_ASKED_MAX = 4

Say = Callable[[str], None]


class MapKeeper:
    """members: names of the nodes of the site; the first of them writes. changed: told after another map holds.

    Raises NodeError for a file that cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        members: Callable[[], Mapping[str, str]],
        *,
        say: Say,
        changed: Callable[[], None],
    ) -> None:
        self._file = ShardMapFile(folder)
        self._transport = transport
        self._members = members
        self._say = say
        self._changed = changed
        self._pull_from: dict[str, int] = {}
        self._rng = Random(transport.name)  # noqa: S311 (whom to ask)
        self._pulling = asyncio.Lock()

    @property
    def map(self) -> ShardMap:
        return self._file.map

    @property
    def writer(self) -> str:
        """Who writes the map."""
        return min(self._members())

    @property
    def is_writer(self) -> bool:
        return self._transport.name == self.writer

    async def open(self) -> None:
        """From now on peers that go by an older map are told."""
        await self._transport.serve(MAP, self._tell)

    def write(self, spreads: Mapping[str, Spread]) -> None:
        """The writer's: the next map has these, beside those that are there."""
        if spreads:
            self.take(self.map.with_spreads(spreads))

    def take(self, shard_map: ShardMap) -> None:
        """It holds from now on, if it is newer."""
        if self._file.take(shard_map):
            self._say(f"mesh: shard map {shard_map.number}, {len(shard_map.spreads)} collections")
            self._changed()

    def heard(self, peer: str, map_number: int) -> None:
        """This peer goes by that map."""
        if map_number > self.map.number:
            self._pull_from[peer] = map_number
            self._changed()

    async def pull(self, *, also: Iterable[str] = ()) -> None:
        """From whoever was heard to have a newer one, and from these, after a pull that is under way; of many from a
        few. Who does not answer is asked again.
        """
        async with self._pulling:
            heard = {peer for peer, number in self._pull_from.items() if number > self.map.number}
            self._pull_from = {peer: self._pull_from[peer] for peer in heard}
            peers = sorted((heard or set(also)) & self._members().keys() - {self._transport.name})
            for peer in self._rng.sample(peers, min(PEERS_ASKED_MAX, len(peers))):
                with contextlib.suppress(PeerError, UnavailableError):
                    body = await self._transport.request(peer, MAP, b"%d" % self.map.number, deadline_s=PULL_S)
                    self._pull_from.pop(peer, None)
                    if body:
                        self.take(decode_map(body))
                        return

    async def _tell(self, _caller: str, body: bytes) -> bytes:
        known = int(body) if body.isdigit() and len(body) <= 16 else 0
        return encode_map(self.map) if self.map.number > known else b""
