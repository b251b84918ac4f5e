"""Which nodes get a rollout when: rings by name, by labels, by share of all. Pure."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence

from littoral.errors import InputError
from littoral.orchestrator.store.rows import NodeRow, Ring

__all__ = ["REST", "check_rings", "ring_names", "rings_of"]

REST = "rest"
RING_COUNT_MAX = 32
PERCENT_MAX = 100.0


def check_rings(rings: Sequence[Ring]) -> None:
    """Raises InputError."""
    if len(rings) > RING_COUNT_MAX:
        raise InputError(f"{len(rings)} rings, at most {RING_COUNT_MAX}")
    if len({ring.name for ring in rings}) < len(rings):
        raise InputError("two rings have the same name")
    reached = 0.0
    for ring in rings:
        ways = sum((ring.percent is not None, bool(ring.nodes), bool(ring.labels)))
        if ways != 1:
            raise InputError(f"ring `{ring.name[:64]}`: one of `percent`, `nodes` and `labels` says who is in it")
        if ring.percent is None:
            continue
        if not reached < ring.percent <= PERCENT_MAX:
            raise InputError(
                f"ring `{ring.name[:64]}`: `percent` is {ring.percent:g}, must be above {reached:g}, at most 100",
                hint="rings count all nodes up to and with their own: 5, 25, 100",
            )
        reached = ring.percent


def rings_of(rollout: str, rings: Sequence[Ring], nodes: Mapping[str, NodeRow]) -> dict[str, int]:
    """Index of the ring of each node; those in none are in one more, the last.

    Shares are of all nodes, rings before included, rounded up. Who is in them is stable: by a hash of rollout and node,
    so that not always the same sites are first.
    """
    found: dict[str, int] = {}
    left = sorted(nodes, key=lambda name: hashlib.sha256(f"{rollout}/{name}".encode()).digest())
    for index, ring in enumerate(rings):
        for name in _chosen(ring, left, len(nodes) - len(left), nodes):
            found[name] = index
        left = [name for name in left if name not in found]
    return found | dict.fromkeys(left, len(rings))


def ring_names(rings: Sequence[Ring], indexes: Collection[int]) -> list[str]:
    """With the last one, where somebody is in it, or there is no other."""
    names = [ring.name for ring in rings]
    return [*names, REST] if len(rings) in indexes or not names else names


def _chosen(ring: Ring, left: Sequence[str], taken_count: int, nodes: Mapping[str, NodeRow]) -> Sequence[str]:
    if ring.percent is not None:
        reached = math.ceil(ring.percent / PERCENT_MAX * len(nodes))
        return left[: max(0, reached - taken_count)]
    if ring.nodes:
        return [name for name in left if name in ring.nodes]
    return [name for name in left if nodes[name].labels.items() >= ring.labels.items()]
