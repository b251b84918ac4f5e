"""The steps from one layout to another, as the writer of the map takes them by what nodes tell. Pure.

| step | reads, and first writes | a write is told | goes on when |
|---|---|---|---|
| making | the layout it has | | every node here that holds one of the new shards has it |
| copying | the layout it has | to the other, before it is acknowledged | all points were handed over |
| flipping | the new layout | to the other, before it is acknowledged | every node here goes by it |
| kept | the new layout | to the other, before it is acknowledged | it is told to: another model is kept |
| (none) | the new layout | | each holder deletes what it held, once nothing of it is missing in the new one |

Up to the flip a change can be taken back by forgetting it. Nodes that are away are not waited for; what they took
meanwhile they hand over when they are back.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from littoral.errors import ConflictError
from littoral.mesh.shard_map import Change, Layout, Spread
from littoral.node.federation.residency import check_still_pinned
from littoral.vectors.replication.owing import AHEAD

__all__ = [
    "Progress",
    "begun",
    "coming",
    "going",
    "is_done",
    "name_ahead",
    "name_back",
    "name_of",
    "next_step",
    "waits_for",
    "withdrawn",
]


class Progress(NamedTuple):
    """Of a node that is here. settled: map by which everything is in its place there. owed: by shard."""

    settled: int
    owed: Mapping[int, int]


def begun(spread: Spread, layout: Layout, *, number: int) -> Spread:
    """On its way to that layout, whose new shards have numbers that none had. number: of the map that says so.

    Raises ConflictError where it is on its way already, nothing is new, or what is pinned would not be any more.
    """
    if spread.change is not None:
        raise ConflictError(
            f"the collection is on its way to another layout, step `{spread.change.step}`",
            hint="wait until it is there, or take it back",
        )
    check_still_pinned(spread, layout)
    fresh = layout.places.keys() - spread.places.keys()
    if not fresh:
        raise ConflictError("nothing would change")
    if min(fresh) < spread.first_free:
        raise ConflictError(f"shard {min(fresh)} was there already, numbers from {spread.first_free} on are free")
    if moved := [
        shard for shard in layout.places.keys() & spread.places if layout.places[shard] != spread.places[shard]
    ]:
        raise ConflictError(f"shard {moved[0]} has other nodes: a shard's nodes do not change, another takes its place")
    return msgspec.structs.replace(spread, change=Change("making", layout, number))


def withdrawn(spread: Spread) -> Spread:
    """As if it had not been begun. Raises ConflictError from the flip on."""
    if spread.change is None:
        raise ConflictError("the collection is not on its way to another layout")
    if spread.change.is_flipped:
        raise ConflictError("the change can no longer be taken back: nodes may read by the new layout")
    return msgspec.structs.replace(spread, change=None, given=spread.first_free)


def going(spread: Spread) -> list[int]:
    """Shards that are given up when the change is done."""
    return _only(spread, is_old=True)


def coming(spread: Spread) -> list[int]:
    """Shards that take their place."""
    return _only(spread, is_old=False)


def _only(spread: Spread, *, is_old: bool) -> list[int]:
    if spread.change is None:
        return []
    ours, others = spread.places.keys(), spread.change.other.places.keys()
    is_ours = is_old != spread.change.is_flipped
    return sorted(ours - others if is_ours else others - ours)


def name_of(spread: Spread) -> str:
    """Of its change: no other has the same."""
    return f"to {coming(spread)[0]}" if spread.change is not None else ""


def name_ahead(spread: Spread) -> str:
    """Of what is written before all holders of a shard tell the others of their writes."""
    return f"{AHEAD} {coming(spread)[0]}" if spread.change is not None else ""


def name_back(spread: Spread) -> str:
    """Of what its new shards tell those that they take the place of."""
    return f"beside {coming(spread)[0]}" if spread.change is not None else ""


def is_done(spread: Spread, name: str) -> bool:
    """Whether the spread has the layout that the change of that name led to, or a part of it.

    What a shard was to hand over for it, and has, is then there, or was handed on from there.
    """
    towards, _, number = name.partition(" ")
    return towards == "to" and number.isdigit() and int(number) in spread.places


def waits_for(spread: Spread, here: Mapping[str, Progress]) -> list[str]:
    """What its change waits for, in words; nothing = it can go on. here: members of the site that are here."""
    change = spread.change
    if change is None:
        return []
    behind = [
        f"node `{node}` to go by shard map {change.since}" for node in sorted(here) if here[node].settled < change.since
    ]
    places = spread.all_places
    needed = coming(spread) if change.step == "making" else [*coming(spread), *going(spread)]
    if not change.is_flipped:
        behind += [
            f"a node with shard {shard} ({', '.join(places[shard])})"
            for shard in needed
            if not here.keys() & set(places[shard])
        ]
    if change.step == "copying" and not behind:
        behind = [
            f"{here[node].owed.get(shard, 1)} points of shard {shard} on `{node}`"
            for shard in going(spread)
            for node in places[shard]
            if node in here and here[node].owed.get(shard, 1)
        ]
    return behind


def next_step(spread: Spread, here: Mapping[str, Progress], *, number: int) -> Spread | None:
    """What the next map says of it; None where there is something to wait for. number: of that map."""
    change = spread.change
    if change is None or change.step == "kept" or waits_for(spread, here):
        return None
    if change.step == "making":
        return msgspec.structs.replace(spread, change=Change("copying", change.other, number))
    if change.step == "copying":
        flipped = spread.by(change.other)
        left = spread.layout
        if spread.to_another_model:
            left = msgspec.structs.replace(left, generation=spread.generation)
        return msgspec.structs.replace(flipped, change=Change("flipping", left, number), epoch=spread.epoch + 1)
    if spread.to_another_model:
        return msgspec.structs.replace(spread, change=Change("kept", change.other, number))
    return msgspec.structs.replace(spread, change=None, given=spread.first_free)
