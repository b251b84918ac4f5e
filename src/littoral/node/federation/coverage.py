"""Whom to ask so that every shard is answered for once: the state of one request. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

__all__ = ["Coverage", "Peers"]


class Peers(NamedTuple):
    """What is known of the nodes at this moment. alive: who may be asked. is_silent: who is asked last, for it left
    others waiting of late. cost: smaller is sooner. is_lagging: whether this node's replica of this shard is known to
    lack writes: it is not asked where another has answered that lacks some too.
    """

    alive: Callable[[], frozenset[str]]
    cost: Callable[[str], float]
    is_silent: Callable[[str], bool]
    is_lagging: Callable[[int, str], bool]


class Coverage:
    """Asks go to the fewest nodes, this one first; who fails, is slow or lacks writes is passed over for another
    replica, as long as there is one that was not asked yet.

    places: nodes of each shard. shards: those to be answered for.
    """

    def __init__(self, places: Mapping[int, Sequence[str]], shards: Iterable[int], *, here: str, peers: Peers) -> None:
        self._places = places
        self._here = here
        self._peers = peers
        self._open = set(shards)
        self._waiting: dict[int, set[str]] = {shard: set() for shard in self._open}
        self._tried: dict[int, set[str]] = {shard: set() for shard in self._open}
        self._slow: set[str] = set()
        self._repeated: set[tuple[str, int]] = set()
        self.short: set[int] = set()
        """Answered for by a replica that lacks writes, and by no other."""
        self.asked: set[str] = set()
        self.answered: set[str] = set()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for: who is slow is not waited for where there is an answer."""
        return not self._open and not any(self._is_awaited(shard) for shard in self.short)

    def _is_awaited(self, shard: int) -> bool:
        return bool(self._waiting[shard] - self._slow)

    def next_asks(self) -> dict[str, list[int]]:
        """Nodes to ask now, each for the shards it is to answer for."""
        wanted = {shard for shard in self._open | self.short if not self._is_awaited(shard)}
        if not wanted:
            return {}
        asks = self._chosen(self._candidates(wanted))
        for node, shards in asks.items():
            self.asked.add(node)
            for shard in shards:
                self._tried[shard].add(node)
                self._waiting[shard].add(node)
        return asks

    def _candidates(self, wanted: set[int]) -> dict[str, list[int]]:
        """By node that is here, which of these shards it may be asked for."""
        alive = self._peers.alive() | {self._here}
        found: dict[str, list[int]] = {}
        for shard in sorted(wanted):
            for node in self._places[shard]:
                if node in alive and self._may_help(node, shard):
                    found.setdefault(node, []).append(shard)
        return found

    def _chosen(self, candidates: dict[str, list[int]]) -> dict[str, list[int]]:
        """Of them the fewest that answer for every shard, the best first."""
        chosen: dict[str, list[int]] = {}
        while candidates:
            ranked = sorted(candidates, key=lambda name: self._rank(name, len(candidates[name])))
            if len(set(chain.from_iterable(candidates.values()))) == sum(map(len, candidates.values())):
                return chosen | {node: candidates[node] for node in ranked}
            taken = chosen[ranked[0]] = candidates[ranked[0]]
            rest = {node: [shard for shard in shards if shard not in taken] for node, shards in candidates.items()}
            candidates = {node: shards for node, shards in rest.items() if shards}
        return chosen

    def _may_help(self, node: str, shard: int) -> bool:
        if node in self._tried[shard]:
            return False
        return shard in self._open or not self._peers.is_lagging(shard, node)

    def _rank(self, node: str, count: int) -> tuple[bool, bool, int, float, str]:
        return node != self._here, self._peers.is_silent(node), -count, self._peers.cost(node), node

    def answer(self, node: str, shards: Iterable[int]) -> set[int]:
        """Shards that this node has answered for; those of them that nobody did before, or only in part."""
        fresh = (self._open | self.short).intersection(shards)
        self._open -= fresh
        self.short -= fresh
        self.answered.add(node)
        return fresh

    def answer_in_part(self, node: str, shard: int) -> bool:
        """It has answered, without writes that others have; whether that is better than what there was."""
        self.answered.add(node)
        if shard not in self._open:
            return False
        self._open.discard(shard)
        self.short.add(shard)
        return True

    def done(self, node: str, asked: Iterable[int], *, may_repeat: bool = False) -> None:
        """It says no more; what it was asked and has not answered for is for others.

        may_repeat: it was the way to it that failed, which may be another by now: once more, if nobody else is left.
        """
        for shard in asked:
            self._waiting[shard].discard(node)
            if may_repeat and (node, shard) not in self._repeated:
                self._repeated.add((node, shard))
                self._tried[shard].discard(node)

    def slow(self, node: str) -> None:
        """It has not answered when it should have: another replica may be asked beside it."""
        self._slow.add(node)

    def open_shards(self) -> list[int]:
        """Not answered for."""
        return sorted(self._open)

    def missing(self) -> list[str]:
        """Nodes that hold what is not answered for, by name."""
        return sorted({node for shard in self._open for node in self._places[shard]})
