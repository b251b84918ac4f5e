"""What is wrong with a site, from what one node knows of it: for the page, `mesh status`, and `doctor`. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from littoral.node.mesh_told import MeshTold, Problem, ShardTold, Weight

if TYPE_CHECKING:
    from littoral.node.federation.sealing import Staying, Waiting

__all__ = ["LAG_S", "problems"]

LAG_S = 10.0
"""A replica that lacks something for longer is told of: a healthy one has it within a few rounds."""

NAMED_MAX = 12

HINTS = {
    "frozen": "its process is stopped or overloaded, or the network passes nothing that is long: look at its log",
    "missing": "is it running, and its network up? `littoral doctor` there tells what keeps it away",
    "left": "it was revoked, or is in no site file here: end it, or add it to `mesh.peers`",
}


def problems(
    told: MeshTold,
    models: Mapping[str, Mapping[str, str]],
    refused: Mapping[str, Mapping[str, str]] = {},
    waiting: "Sequence[Waiting]" = (),
    staying: "Sequence[Staying]" = (),
) -> MeshTold:
    """The same with its problems, the heavier ones first. models: by node and collection, as the node goes by.

    refused: by node and collection, why it is not to be had there. waiting: keys of this node that seal nothing yet.
    staying: fields that this node's site file names no more.
    """
    found = [*_nodes(told), *_links(told), *_desired(told), *_collections(told), *_models(told, models)]
    found += [*_refused(refused), *_waiting(waiting), *_staying(staying), *_leaving(told)]
    return msgspec.structs.replace(told, problems=sorted(found, key=lambda problem: problem.weight != "fail"))


def _nodes(told: MeshTold) -> Iterator[Problem]:
    for member in told.members:
        if member.state == "here":
            continue
        age = "" if member.fact_age_s is None else f", its last word was {member.fact_age_s:.0f} s ago"
        weight: Weight = "warn" if member.state == "left" else "fail"
        words = {"left": "is no member of the site", "frozen": "seems to be here and is silent"}
        yield _problem(
            weight, "node", f"node `{member.name}`", words.get(member.state, "is missing") + age, HINTS[member.state]
        )


def _links(told: MeshTold) -> Iterator[Problem]:
    """Between nodes that are both here, as this one sees it."""
    here = {member.name for member in told.members if member.state == "here"}
    cut = {tuple(sorted((link.node, link.peer))) for link in told.links if not link.is_up}
    for first, second in sorted(cut):
        if first in here and second in here:
            yield _problem(
                "fail",
                "link",
                f"link `{first}` to `{second}`",
                "is cut: one does not reach the other, this node reaches both",
                "look at the network between these two; nodes do not pass on what is for others",
            )


def _desired(told: MeshTold) -> Iterator[Problem]:
    desired = told.desired
    states = {member.name: member.state for member in told.members}
    if states.get(desired.writer) != "here":
        yield _problem(
            "warn",
            "writer",
            f"node `{desired.writer}`",
            "writes the shard map, and is not here: nothing can be placed or moved until it is back",
            "start it again; reads and writes go on without it",
        )
    for member in told.members:
        if member.state == "here" and member.map_number is not None and member.map_number < desired.map_number:
            yield _problem(
                "warn",
                "map",
                f"node `{member.name}`",
                f"goes by shard map {member.map_number}, this node by {desired.map_number}",
                "it pulls the newer one within seconds; if this stays, look at its log",
            )
    if desired.rollover is not None and desired.rollover.waiting == []:
        yield _problem(
            "warn",
            "authority",
            f"site `{told.site}`",
            "has two authorities, and every node has shown a certificate by the new one",
            "`littoral mesh rollover finish` here: until then the key of the old one is worth as much",
        )


def _collections(told: MeshTold) -> Iterator[Problem]:
    for name, collection in told.collections.items():
        yield from _short(name, collection.shards)
        for shard in collection.shards:
            for holder in shard.holders:
                if holder.state == "here" and holder.lag_s > LAG_S:
                    yield _problem(
                        "warn",
                        "lag",
                        f"shard {shard.shard} of `{name}` on `{holder.node}`",
                        f"lacks {holder.lag_entries} write{'s' * (holder.lag_entries != 1)}, for {holder.lag_s:.0f} s",
                        f"look at the link to `{holder.node}` and at its disk; it catches up by itself",
                    )


def _short(name: str, shards: Sequence[ShardTold]) -> Iterator[Problem]:
    """Shards with too few replicas: those with none, then the others, one problem for all that lack alike."""
    groups: dict[tuple[int, int], list[ShardTold]] = {}
    for shard in shards:
        if shard.actual < shard.wanted:
            groups.setdefault((shard.actual, shard.wanted), []).append(shard)
    for (actual, wanted), some in sorted(groups.items()):
        numbers = [str(shard.shard) for shard in some]
        more = f" and {len(numbers) - NAMED_MAX} more" if len(numbers) > NAMED_MAX else ""
        subject = f"shard{'s' * (len(some) > 1)} {', '.join(numbers[:NAMED_MAX])}{more} of `{name}`"
        verb = "have" if len(some) > 1 else "has"
        if actual == 0:
            words = f"{verb} no holder that is here: searches say `missing`, counts and writes are refused"
            yield _problem("fail", "holders", subject, words, _remedy(some))
        else:
            yield _problem("warn", "holders", subject, f"{verb} {actual} of {wanted} replicas here", _remedy(some))


def _remedy(shards: Sequence[ShardTold]) -> str:
    away = sorted({f"`{holder.node}`" for shard in shards for holder in shard.holders if holder.state != "here"})
    if away:
        return f"bring back {', '.join(away)}"
    if any(len(shard.holders) < shard.wanted for shard in shards):
        return "the site has too few nodes for so many replicas: add one, or ask for fewer"
    return "they are being made; if this stays, the log of their nodes says why"


def _models(told: MeshTold, models: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for name, collection in told.collections.items():
        others = {node: of[name] for node, of in models.items() if name in of and of[name] != collection.model}
        for node, model in sorted(others.items()):
            yield _problem(
                "fail",
                "model",
                f"collection `{name}` on `{node}`",
                f"goes by the embeddings of `{model}`, the collection holds those of `{collection.model}`",
                "set `spread.model` in that node's site file, or migrate the collection",
            )


def _refused(refused: Mapping[str, Mapping[str, str]]) -> Iterator[Problem]:
    for node, whys in sorted(refused.items()):
        for name, why in sorted(whys.items()):
            hint = f"give `{node}` the site's keys in `mesh.encryption`, and the same `encrypted.fields` as the others"
            yield _problem("fail", "sealed", f"collection `{name}` on `{node}`", f"is refused there: {why}", hint)


def _waiting(waiting: "Sequence[Waiting]") -> Iterator[Problem]:
    for one in waiting:
        lacking = ", ".join(f"`{node}`" for node in one.nodes)
        yield _problem(
            "warn",
            "keys",
            f"collection `{one.collection}`",
            f"is not sealed by key {one.key} yet" + (f", who lacks it: {lacking}" if lacking else ""),
            "add the key to the file of every node, and start it again; revoke a node that does not come back",
        )


def _staying(staying: "Sequence[Staying]") -> Iterator[Problem]:
    for one in staying:
        nodes = ", ".join(f"`{node}`" for node in one.nodes[:NAMED_MAX])
        yield _problem(
            "warn",
            "sealed",
            f"field `{one.field}` of collection `{one.collection}`",
            f"lies sealed, and the site file here names it no more{': others may, ' if nodes else ''}{nodes}",
            "take it from `encrypted.fields` of every node; revoke a node that does not come back",
        )


def _leaving(told: MeshTold) -> Iterator[Problem]:
    """How far fields are that are to lie plain again."""
    for name, collection in told.collections.items():
        if (sealing := collection.sealing) is None or not sealing.leaving:
            continue
        points = "" if collection.points is None else f" of {collection.points}"
        round_ = f", looked at {sealing.looked_at}{points} points, {sealing.written} values written"
        yield _problem(
            "warn",
            "sealed",
            f"collection `{name}`",
            f"{', '.join(f'`{field}`' for field in sealing.leaving)} leave the sealed fields: "
            f"{sealing.step}{round_ if sealing.looked_at else ''}",
            "it goes on by itself while all members of the site are here and go by its map",
        )


def _problem(weight: Weight, check: str, subject: str, message: str, hint: str) -> Problem:
    return Problem(weight=weight, check=check, subject=subject, message=message, hint=hint)
