"""Other layouts of a simulated collection, asked for at any node while clients go on, and what must come of them."""

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from littoral.errors import LittoralError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.copies import MARK
from littoral.node.federation.local_shards import part_name
from littoral.node.federation.moving.wishes import Asked, Dissolve, Divide, Move, ToSpread, Wish
from littoral.testing.mesh.models import MODELS, told_model
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.several import IMAGE, TEXT
from littoral.testing.mesh.site import COLLECTION, SimulatedSite
from littoral.testing.mesh.stores import Stored

if TYPE_CHECKING:
    from littoral.vectors.records import PointId

__all__ = ["change_layout", "change_model", "check_models", "check_places", "owing", "unfinished_changes"]

WISH_S = 10.0
SHARDS_MAX = 16


async def change_layout(site: SimulatedSite, node: SimulatedNode, rng: Random) -> str | None:
    """Asked for at this node. The node that a crash would hurt most: source, target or writer; None where nothing was
    begun.
    """
    spread = site.spread()
    if not node.is_up or node.federation is None or spread is None:
        return None
    wish, changes = _wish(spread, list(site.nodes), site.plan.holders, rng), node.federation.changes
    try:
        plan = await node.call(changes.ask(Asked(wish, is_applied=True)), WISH_S)
    except LittoralError as error:
        site.trace.note(f"{wish} at {node.name}: {type(error).__name__}: {str(error)[:100]}")
        return None
    site.trace.note(f"{wish} at {node.name}: {plan.why}")
    coming = [name for nodes in plan.coming.values() for name in nodes]
    going = [name for shard in plan.going for name in spread.places.get(shard, [])]
    return rng.choice([*coming, *going, node.federation.writer])


async def change_model(site: SimulatedSite, rng: Random) -> bool:
    """What can be done to a collection that goes to another model, or does not yet; whether it was begun."""
    nodes, spread = site.up(), site.spread()
    if not nodes or spread is None or (migrations := (node := rng.choice(nodes)).migrations) is None:
        return False
    change = spread.change
    if change is None:
        what, work = "start", migrations.start(COLLECTION, {"": MODELS[told_model(0) == spread.model]})
    elif change.step == "kept" and rng.random() < 0.5:
        what, work = "back", migrations.back(COLLECTION)
    else:
        what, work = "drop", migrations.drop(COLLECTION)
    try:
        await node.call(work, WISH_S)
    except LittoralError as error:
        site.trace.note(f"{what} at {node.name}: {type(error).__name__}: {str(error)[:100]}")
        return False
    site.trace.note(f"{what} at {node.name}: begun")
    return True


def _wish(spread: Spread, names: list[str], replicas_min: int, rng: Random) -> Wish:
    """replicas_min: as many as must have a write; with fewer all writes are refused, and who leaves may be the last."""
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
        if spread.vector:
            return ToSpread(COLLECTION, strategy="metric", by=rng.choice([IMAGE, TEXT]))
        return ToSpread(COLLECTION, strategy="metric" if spread.strategy == "hash" else "hash")
    replicas = rng.randrange(replicas_min, min(4, len(names) + 1))
    return ToSpread(COLLECTION, shards=rng.randrange(2, 9), replicas=replicas)


def unfinished_changes(site: SimulatedSite) -> Iterator[str]:
    """What is still on its way, and who still has what it should have handed over. Where another model is kept, every
    write is owed to it for a moment: see `owing`.
    """
    if (spread := site.spread()) is None:
        yield "the layout is unknown"
    elif spread.change is None:
        for node in site.up():
            assert node.federation is not None
            if owed := node.federation.moving.owed:
                yield f"{node.name}: owes {owed}"
    elif spread.change.step != "kept":
        yield f"the layout is {spread.change.step}"


def owing(site: SimulatedSite) -> Iterator[str]:
    """Once nobody writes any more: who has not handed over everything yet."""
    for node in site.up():
        assert node.federation is not None
        owed = node.federation.moving.owed
        if any(count for shards in owed.values() for count in shards.values()):
            yield f"{node.name}: owes {owed}"


def check_models(site: SimulatedSite) -> None:
    """No shard has a vector of another model than its layout's, and what is kept for the way back lacks nothing.

    Where not the id alone says where a point lies, a write that failed half-way may differ until it is repeated.
    """
    if not site.has_models or (spread := site.spread()) is None:
        return
    found: list[set[tuple[PointId, bytes]]] = []
    for one in spread.both:
        told: set[tuple[PointId, bytes]] = set()
        for shard, names in one.places.items():
            for name in filter(site.is_member, names):
                store = site.nodes[name].disk.by_part()[part_name(COLLECTION, shard)]
                told |= {(point, site.as_told(stored)) for point, stored in store.points.items()}
                if mixed := [at for at, stored in store.points.items() if not _is_of(site, one.model, stored)]:
                    site.breaks(f"{name}: shard {shard} is of {one.model}, point {mixed[0]} is not")
        found.append(told)
    for one, told, others in zip(spread.both, found, reversed(found), strict=True):
        lacking = {it for it in others - told if spread.strategy == "hash" or site.ledger.is_settled(it[0])}
        if lacking:
            point = min(lacking, key=str)[0]
            site.breaks(f"generation of {one.model} lacks {len(lacking)} points as the other has them, such as {point}")


def _is_of(site: SimulatedSite, model: str, stored: Stored) -> bool:
    return site.as_seen(model, site.as_told(stored)) == stored.vector


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
    spread = site.spread()
    held = {(name, shard) for shard, names in ({} if spread is None else spread.all_places).items() for name in names}
    for node in site.up():
        for part in node.disk.by_part():
            name, _, number = part.rpartition(".")
            if name == COLLECTION and (node.name, int(number)) not in held:
                site.breaks(f"{node.name}: still has shard {number}")
