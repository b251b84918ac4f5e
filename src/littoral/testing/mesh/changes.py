"""Other layouts of a simulated collection, asked for at any node while clients go on, and what must come of them."""

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from littoral.errors import LittoralError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.copies import MARK
from littoral.node.federation.moving.wishes import Asked, Dissolve, Divide, Move, ToSpread, Wish
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.site import COLLECTION, SimulatedSite

if TYPE_CHECKING:
    from littoral.vectors.records import PointId

__all__ = ["change_layout", "check_places", "unfinished_changes"]

WISH_S = 10.0
SHARDS_MAX = 16


async def change_layout(site: SimulatedSite, node: SimulatedNode, rng: Random) -> str | None:
    """Asked for at this node. The node that a crash would hurt most: source, target or writer; None where nothing was
    begun.
    """
    spread = site.spread()
    if not node.is_up or node.federation is None or spread is None:
        return None
    wish, changes = _wish(spread, list(site.nodes), rng), node.federation.changes
    try:
        plan = await node.call(changes.ask(Asked(wish, is_applied=True)), WISH_S)
    except LittoralError as error:
        site.trace.note(f"{wish} at {node.name}: {type(error).__name__}: {str(error)[:100]}")
        return None
    site.trace.note(f"{wish} at {node.name}: {plan.why}")
    coming = [name for nodes in plan.coming.values() for name in nodes]
    going = [name for shard in plan.going for name in spread.places.get(shard, [])]
    return rng.choice([*coming, *going, node.federation.writer])


def _wish(spread: Spread, names: list[str], rng: Random) -> Wish:
    shard = rng.choice(spread.shards)
    held = spread.places[shard]
    others = [name for name in names if name not in held]
    what = rng.choice(("spread", "strategy", "move", "move", "divide", "dissolve"))
    if what == "move" and others:
        return Move(COLLECTION, shard, rng.choice(held), rng.choice(others))
    if what == "divide" and len(spread.shards) < SHARDS_MAX:
        return Divide(COLLECTION, shard)
    if what == "dissolve" and len(spread.shards) > 1:
        return Dissolve(COLLECTION, shard)
    if what == "strategy":
        return ToSpread(COLLECTION, strategy="metric" if spread.strategy == "hash" else "hash")
    replicas = rng.randrange(1, min(4, len(names) + 1))
    return ToSpread(COLLECTION, shards=rng.randrange(2, 9), replicas=replicas)


def unfinished_changes(site: SimulatedSite) -> Iterator[str]:
    """What is still on its way, and who still has what it should have handed over."""
    if (spread := site.spread()) is None or spread.change is not None:
        yield f"the layout is {'unknown' if spread is None or spread.change is None else spread.change.step}"
    for node in site.up():
        assert node.federation is not None
        if owed := node.federation.moving.owed:
            yield f"{node.name}: owes {owed}"


def check_places(site: SimulatedSite) -> None:
    """A point lies in one shard, but for copies over borders, and nowhere but there.

    What a write left that failed half-way may lie in two until it is repeated, and where clocks were set after it too.
    """
    shards: dict[PointId, set[int]] = {}
    for shard, _, store in site.stores():
        for point, stored in store.points.items():
            if not (stored.payload or {}).get(MARK):
                shards.setdefault(point, set()).add(shard)
    for lies, some in shards.items():
        if len(some) > 1 and site.ledger.is_settled(lies):
            site.breaks(f"point {lies}: lies in the shards {sorted(some)}")
    held = {(node.name, shard) for shard, nodes in site.holders().items() for node in nodes}
    for node in site.up():
        for part in node.disk.by_part():
            name, _, number = part.rpartition(".")
            if name == COLLECTION and (node.name, int(number)) not in held:
                site.breaks(f"{node.name}: still has shard {number}")
