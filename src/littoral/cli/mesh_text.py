"""A site as a node sees it, as text: what `littoral mesh members` and `littoral mesh status` print."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from littoral.cli.console import bytes_text
from littoral.node.mesh_told import CollectionTold, LinkTold, MemberTold, MeshTold, MoveTold, RoutingTold, ShardTold

__all__ = ["headline", "member_lines", "status_lines"]

MATRIX_NODES_MAX = 10
MOVE_NODES_MAX = 4
DIGEST_CHARACTERS = 16
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

Row = Sequence[str]


def headline(told: MeshTold) -> str:
    """The site in one line."""
    members = [member for member in told.members if member.is_member]
    here = sum(member.state == "here" for member in members)
    signed = f", signed by `{told.desired.signed_by}`" if told.desired.signed_by else ""
    roster = (
        ""
        if told.desired.roster_number is None
        else f", roster {told.desired.roster_number} by `{told.desired.roster_writer}`"
    )
    return (
        f"site `{told.site}`, seen by `{told.node}`: {here} of {len(members)} nodes here, "
        f"shard map {told.map_number} by `{told.desired.writer}`{signed}{roster}"
    )


def status_lines(told: MeshTold, *, now_s: float) -> Iterator[str]:
    """All of it. now_s: Unix seconds."""
    yield headline(told)
    yield from _part("nodes", member_lines(told, now_s=now_s))
    yield from _part("links, round trip in ms", _links(told))
    for name, collection in told.collections.items():
        yield from _part(_collection_title(name, collection), _shards(collection))
    yield from _part("moves", map(_move, told.moves))
    yield from _part("authority", _rollover(told, now_s))
    yield from _part("searches by this node", _routing(told.routing))
    yield from _part("not here yet", [", ".join(told.lacking)] if told.lacking else [])
    yield from _part("problems", _problems(told))


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Nothing where there is nothing to tell."""
    found = list(lines)
    if found:
        yield title
        yield from (f"  {line}".rstrip() for line in found)


def member_lines(told: MeshTold, *, now_s: float) -> list[str]:
    """A line a node. now_s: Unix seconds."""
    head = ("node", "state", "region", "version", "up", "map", "shards", "points", "on disk")
    return _aligned([head, *(_member(member, now_s) for member in told.members)], right=5)


def _rollover(told: MeshTold, now_s: float) -> Iterator[str]:
    if (change := told.desired.rollover) is None:
        return
    older = ", ".join(f"{digest[:DIGEST_CHARACTERS]}…" for digest in change.older)
    since = _duration(now_s - change.begun_at_s)
    yield f"{change.authority[:DIGEST_CHARACTERS]}… takes the place of {older}, for {since} now"
    if change.waiting is None:
        yield f"`{told.desired.roster_writer}` knows who has still to show a certificate by it"
    elif change.waiting:
        yield f"waiting for {', '.join(change.waiting)}"
    else:
        yield "every node has shown a certificate by it: littoral mesh rollover finish"


def _member(member: MemberTold, now_s: float) -> Row:
    return (
        member.name,
        member.state,
        member.region or "-",
        member.version or "-",
        "-" if member.since_s is None or member.state != "here" else _duration(now_s - member.since_s),
        _known(member.map_number),
        str(sum(map(len, member.shards.values()))),
        _known(member.points),
        _known(member.disk_bytes, bytes_text),
    )


def _links(told: MeshTold) -> list[str]:
    """A table of all of them; of many nodes a line each, with the slowest link and those that are cut."""
    links = {(link.node, link.peer): link for link in told.links}
    names = [member.name for member in told.members]
    away = {member.name for member in told.members if member.state != "here"}
    if not links:
        return []
    if len(names) > MATRIX_NODES_MAX:
        near = [link for link in told.links if link.peer not in away]
        return [_summed(name, [link for link in near if link.node == name]) for name in names if name not in away]
    head = ("from", *names)
    rows = [(name, *(_link(links.get((name, peer)), is_away=peer in away) for peer in names)) for name in names]
    return _aligned([head, *(row for row in rows if row[0] not in away)], right=1)


def _link(link: LinkTold | None, *, is_away: bool) -> str:
    """A link to a node that is not here is not called cut."""
    if link is None or (link.is_up and link.round_trip_ms is None):
        return "-"
    if not link.is_up:
        return "away" if is_away else "cut"
    return f"{link.round_trip_ms:.2f}"


def _summed(name: str, links: Sequence[LinkTold]) -> str:
    times = {link.peer: link.round_trip_ms for link in links if link.is_up and link.round_trip_ms is not None}
    cut = [link.peer for link in links if not link.is_up]
    words = []
    if times:
        slowest = max(times, key=lambda peer: (times[peer], peer))
        words.append(f"{len(times)} links, the slowest {times[slowest]:.2f} to {slowest}")
    if cut:
        words.append(f"cut to {', '.join(cut)}")
    return f"{name}: {', '.join(words) or 'no link yet'}"


def _collection_title(name: str, collection: CollectionTold) -> str:
    points = _known(collection.points, "{} points".format) if collection.points is not None else "points not known"
    model = f", model `{collection.model}`" if collection.model else ""
    return f"collection `{name}`: {collection.strategy}, {collection.words}; {points}, epoch {collection.epoch}{model}"


def _shards(collection: CollectionTold) -> list[str]:
    rows = [
        (
            str(shard.shard),
            f"{shard.actual}/{shard.wanted}",
            _most(shard, "points", str),
            _most(shard, "disk_bytes", bytes_text),
            ", ".join(_holder(shard, i) for i in range(len(shard.holders))),
        )
        for shard in collection.shards
    ]
    return _aligned([("shard", "replicas", "points", "on disk", "holders"), *rows], right=0, last=True)


def _most(shard: ShardTold, field: str, text: Callable[[int], str]) -> str:
    told = [value for holder in shard.holders if (value := getattr(holder, field)) is not None]
    return text(max(told)) if told else "-"


def _holder(shard: ShardTold, index: int) -> str:
    holder = shard.holders[index]
    notes: list[str] = [] if holder.state == "here" else [holder.state]
    if holder.lag_entries:
        notes.append(f"{holder.lag_entries} write{'s' * (holder.lag_entries != 1)} behind for {holder.lag_s:.1f} s")
    return f"{holder.node} ({', '.join(notes)})" if notes else holder.node


def _move(move: MoveTold) -> str:
    share = "" if move.share is None else f", {move.share:.0%} done"
    ways = f", from {', '.join(move.sources)} to {', '.join(move.targets)}"
    is_short = max(len(move.sources), len(move.targets)) <= MOVE_NODES_MAX
    return f"`{move.collection}`: {move.what}{ways if is_short else ''}: {move.stage}{share}"


def _routing(routing: RoutingTold) -> Iterator[str]:
    if routing.nodes_per_read is None:
        return
    yield (
        f"{routing.reads} reads asked {routing.nodes_per_read:.2f} other nodes each, {routing.writes} writes, "
        f"{routing.incomplete} with a shard missing"
    )
    for found in routing.classes:
        level = "not calibrated" if found.level is None else f"level {found.level:.4f}"
        recall = "" if found.recall is None else f", recall {found.recall:.4f}"
        yield f"{found.name}: target {found.target:g}, {level}, {found.audited} audited{recall}, {found.alarms} alarms"


def _problems(told: MeshTold) -> Iterator[str]:
    for problem in told.problems:
        yield f"{problem.weight:<4}  {problem.subject}: {problem.message}"
        yield f"      hint: {problem.hint}"


def _aligned(rows: Sequence[Row], *, right: int, last: bool = False) -> list[str]:
    """Columns; numbers of them from the column `right` on, without the last one if `last`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = len(widths) - last
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right <= i < ends else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _known(value: float | None, text: Callable[[int], str] = str) -> str:
    return "-" if value is None else text(value)  # type: ignore[arg-type]


def _duration(seconds: float) -> str:
    """The largest unit."""
    name, size = next(((name, size) for name, size in UNITS if seconds >= size), UNITS[-1])
    return f"{max(0, int(seconds / size))} {name}"
