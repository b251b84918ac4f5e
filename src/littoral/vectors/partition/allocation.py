"""Which nodes hold which shard: replicas on different nodes, regions respected, even by bytes and by load.

Nothing moves that need not: holders that may stay do, and what is missing goes by rendezvous hashing with bounded loads
(Mirrokni, Thorup, Zadimoghaddam 2018): to the highest-ranking node that is not full. `level` moves what is hot or has
grown where that pays. A first allocation may keep neighbouring shards together, so that a query finds more on one node.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from littoral.errors import InputError
from littoral.vectors.partition.neighbours import Ties, in_blocks
from littoral.vectors.partition.rendezvous import keys, name_key, ranked

__all__ = ["Allocation", "Room", "ShardLoad", "Transfer", "allocate", "level", "transfers"]

FULL = 1.25
"""A node takes no shard above this share of the mean, unless none is below."""

NODES_MAX = 1024
REPLICAS_MAX = 16


class Room(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that may hold shards. weight: its part, against others'. bytes_max: None = as much as comes."""

    node: str
    region: str = ""
    weight: float = 1.0
    bytes_max: int | None = None


class ShardLoad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shard to hold. load: milliseconds of search a second. region: where it is pinned to, None = anywhere."""

    shard: int
    bytes: int
    load: float = 0.0
    region: str | None = None


class Allocation(NamedTuple):
    """holders: nodes of each shard. short: by shard, how many replicas have no node that may hold them."""

    holders: dict[int, tuple[str, ...]]
    short: dict[int, int]


class Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shard from one node to another.

    source: None where no holder is left that has it. drop: whether the source gives it up. gain: of balance, 0 for what
    has to be.
    """

    shard: int
    source: str | None
    target: str
    bytes: int
    drop: bool
    gain: float = 0.0


class _Filling:
    """What nodes hold so far."""

    def __init__(self, shards: Sequence[ShardLoad], rooms: Sequence[Room], replicas: int) -> None:
        _check(shards, rooms, replicas)
        self.rooms = {room.node: room for room in sorted(rooms, key=lambda room: room.node)}
        self.names = list(self.rooms)
        self.keys = [name_key(name) for name in self.names]
        self.shards = {load.shard: load for load in sorted(shards, key=lambda load: load.shard)}
        self.bytes = dict.fromkeys(self.names, 0)
        self.load = dict.fromkeys(self.names, 0.0)
        self.holders: dict[int, list[str]] = {shard: [] for shard in self.shards}
        self.bytes_in_all = max(1, replicas * sum(load.bytes for load in shards))
        self.load_in_all = replicas * sum(load.load for load in shards) or 1.0
        self.weight_in_all = sum(room.weight for room in rooms) or 1.0

    def may_hold(self, node: str, shard: int) -> bool:
        load, room = self.shards[shard], self.rooms[node]
        if node in self.holders[shard] or load.region not in (None, room.region):
            return False
        return room.bytes_max is None or self.bytes[node] + load.bytes <= room.bytes_max

    def parts(self, node: str, shard: int | None = None) -> tuple[float, float]:
        """Bytes and load of a node against its part (1 = just that), with one shard more."""
        part = self.rooms[node].weight / self.weight_in_all
        more = None if shard is None else self.shards[shard]
        held_bytes = self.bytes[node] + (more.bytes if more else 0)
        held_load = self.load[node] + (more.load if more else 0.0)
        return held_bytes / self.bytes_in_all / part, held_load / self.load_in_all / part

    def strain(self, node: str, shard: int | None = None) -> float:
        """What `level` lowers: the squares of both parts."""
        of_bytes, of_load = self.parts(node, shard)
        return of_bytes * of_bytes + of_load * of_load

    def put(self, shard: int, node: str) -> None:
        self.holders[shard].append(node)
        self.bytes[node] += self.shards[shard].bytes
        self.load[node] += self.shards[shard].load

    def take(self, shard: int, node: str) -> None:
        self.holders[shard].remove(node)
        self.bytes[node] -= self.shards[shard].bytes
        self.load[node] -= self.shards[shard].load

    def pick(self, shard: int) -> str | None:
        """By rendezvous among nodes that are not full, else the emptiest that may."""
        order = ranked(int(keys([shard])[0]), self.keys)
        able = [self.names[place] for place in order if self.may_hold(self.names[place], shard)]
        roomy = (node for node in able if max(self.parts(node, shard)) <= FULL)
        return next(roomy, min(able, key=lambda node: max(self.parts(node, shard)), default=None))


def allocate(
    shards: Sequence[ShardLoad],
    rooms: Sequence[Room],
    *,
    replicas: int,
    held: Mapping[int, Sequence[str]] | None = None,
    ties: Ties | None = None,
) -> Allocation:
    """Holders of every shard, `replicas` different nodes each where there are as many that may.

    held: as it is now; who may stay does. ties: how much shards have to do with each other, by their order in `shards`
    (`neighbours.ties_between`): where nothing is held yet, those that have much are put together. Raises InputError.
    """
    filling = _Filling(shards, rooms, replicas)
    _keep(filling, held or {}, replicas)
    if ties is not None and not any(filling.holders.values()):
        _put_together(filling, shards, replicas, ties)
    heavy = sorted(filling.shards, key=lambda shard: (-filling.shards[shard].bytes, shard))
    for _ in range(replicas):
        for shard in heavy:
            if len(filling.holders[shard]) < replicas and (node := filling.pick(shard)) is not None:
                filling.put(shard, node)
    short = {shard: replicas - len(nodes) for shard, nodes in filling.holders.items() if len(nodes) < replicas}
    return Allocation({shard: tuple(nodes) for shard, nodes in filling.holders.items()}, short)


def _keep(filling: _Filling, held: Mapping[int, Sequence[str]], replicas: int) -> None:
    for shard in filling.shards:
        for node in held.get(shard, ()):
            if node in filling.rooms and len(filling.holders[shard]) < replicas and filling.may_hold(node, shard):
                filling.put(shard, node)


def _put_together(filling: _Filling, shards: Sequence[ShardLoad], replicas: int, ties: Ties) -> None:
    """Blocks of neighbours, each on `replicas` nodes that hold the same: one node of each block has it all.

    Only for shards that may lie anywhere, and nodes of equal weight; others go the common way.
    """
    free = [at for at, load in enumerate(shards) if load.region is None]
    weights = {room.weight for room in filling.rooms.values()}
    blocks = len(filling.names) // replicas
    if blocks < 1 or len(weights) != 1 or len(free) < blocks:
        return
    sizes = [max(1, shards[at].bytes) for at in free]
    for block, members in enumerate(in_blocks(ties[free][:, free], sizes, blocks)):
        for node in filling.names[block * replicas : (block + 1) * replicas]:
            for shard in (shards[free[at]].shard for at in members):
                if filling.may_hold(node, shard):
                    filling.put(shard, node)


def level(
    shards: Sequence[ShardLoad],
    rooms: Sequence[Room],
    holders: Mapping[int, Sequence[str]],
    *,
    gain_min: float = 0.05,
    transfers_max: int = 8,
) -> list[Transfer]:
    """Transfers that even nodes out, the best first; none that gains less than `gain_min`.

    A node costs the squares of its bytes and of its load (1 = its part), so what is hot leaves the hottest first. gain:
    by how much the sum over nodes falls.
    """
    replicas = max((len(nodes) for nodes in holders.values()), default=1) or 1
    filling = _Filling(shards, rooms, replicas)
    _keep(filling, holders, replicas)
    found: list[Transfer] = []
    while len(found) < transfers_max:
        best = max(_relocations(filling), key=lambda one: (one.gain, -one.bytes, -one.shard, one.target), default=None)
        if best is None or best.source is None or best.gain < gain_min:
            break
        filling.take(best.shard, best.source)
        filling.put(best.shard, best.target)
        found.append(best)
    return found


def _relocations(filling: _Filling) -> list[Transfer]:
    """Every way to take one shard off the node under most strain."""
    worst = max(filling.names, key=lambda node: (filling.strain(node), node))
    found = []
    for shard, load in filling.shards.items():
        if worst not in filling.holders[shard]:
            continue
        for node in filling.names:
            if filling.may_hold(node, shard):
                before = filling.strain(worst) ** 2 + filling.strain(node) ** 2
                filling.take(shard, worst)
                after = filling.strain(worst) ** 2 + filling.strain(node, shard) ** 2
                filling.put(shard, worst)
                found.append(Transfer(shard, worst, node, load.bytes, drop=True, gain=before - after))
    return found


def transfers(
    before: Mapping[int, Sequence[str]], after: Mapping[int, Sequence[str]], shards: Sequence[ShardLoad]
) -> list[Transfer]:
    """What has to be sent for `after` to hold: shards that have fewest replicas first.

    A node that is to give a shard up is the source, and drops it; else a holder that stays.
    """
    sizes = {load.shard: load.bytes for load in shards}
    found = []
    for shard, nodes in after.items():
        has = list(before.get(shard, ()))
        leaving = [node for node in has if node not in nodes]
        for target in (node for node in nodes if node not in has):
            source = leaving.pop(0) if leaving else next(iter(has), None)
            found.append(Transfer(shard, source, target, sizes.get(shard, 0), drop=source not in (None, *nodes)))
    return sorted(found, key=lambda one: (len(before.get(one.shard, ())), one.shard, one.target))


def _check(shards: Sequence[ShardLoad], rooms: Sequence[Room], replicas: int) -> None:
    if not 1 <= replicas <= REPLICAS_MAX:
        raise InputError(f"allocation: {replicas} replicas, must be 1..{REPLICAS_MAX}")
    if len({load.shard for load in shards}) != len(shards):
        raise InputError("allocation: a shard is named twice")
    if not 1 <= len(rooms) <= NODES_MAX or len({room.node for room in rooms}) != len(rooms):
        raise InputError(f"allocation: {len(rooms)} nodes, must be 1..{NODES_MAX}, each once")
    if any(room.weight <= 0 for room in rooms):
        raise InputError("allocation: the weight of a node must be above 0")
