"""Whom to ask so that every shard is answered for once: the state of one request. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Coverage"]


class Coverage:
    """Asks go to the fewest nodes, this one first; who fails or is slow is passed over for another replica.

    places: nodes of each shard. shards: those to be answered for. alive: who may be asked. cost: smaller is sooner.
    """

    def __init__(
        self,
        places: Mapping[int, Sequence[str]],
        shards: Iterable[int],
        *,
        here: str,
        alive: frozenset[str],
        cost: Callable[[str], float],
    ) -> None:
        self._places = places
        self._here = here
        self._alive = alive | {here}
        self._cost = cost
        self._open = set(shards)
        self._waiting: dict[int, set[str]] = {shard: set() for shard in self._open}
        self._tried: dict[int, set[str]] = {shard: set() for shard in self._open}
        self._slow: set[str] = set()
        self.asked: set[str] = set()
        self.answered: set[str] = set()

    @property
    def is_done(self) -> bool:
        return not self._open

    def next_asks(self) -> dict[str, list[int]]:
        """Nodes to ask now, each for the shards it is to answer for."""
        wanted = {shard for shard in self._open if not (self._waiting[shard] - self._slow)}
        asks: dict[str, list[int]] = {}
        while wanted:
            by_node: dict[str, list[int]] = {}
            for shard in sorted(wanted):
                for node in self._places[shard]:
                    if node in self._alive and node not in self._tried[shard]:
                        by_node.setdefault(node, []).append(shard)
            if not by_node:
                break
            node = min(by_node, key=lambda name: (name != self._here, -len(by_node[name]), self._cost(name), name))
            asks[node] = by_node[node]
            wanted -= set(by_node[node])
        for node, shards in asks.items():
            self.asked.add(node)
            for shard in shards:
                self._tried[shard].add(node)
                self._waiting[shard].add(node)
        return asks

    def answer(self, node: str, shards: Iterable[int]) -> set[int]:
        """Shards that this node has answered for; those of them that nobody did before."""
        fresh = self._open & set(shards)
        self._open -= fresh
        self.answered.add(node)
        return fresh

    def done(self, node: str, asked: Iterable[int]) -> None:
        """It says no more; what it was asked and has not answered for is for others."""
        for shard in asked:
            self._waiting[shard].discard(node)

    def slow(self, node: str) -> None:
        """It has not answered when it should have: another replica may be asked beside it."""
        self._slow.add(node)

    def open_shards(self) -> list[int]:
        """Not answered for."""
        return sorted(self._open)

    def missing(self) -> list[str]:
        """Nodes that hold what is not answered for, by name."""
        return sorted({node for shard in self._open for node in self._places[shard]})
