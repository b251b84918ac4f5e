"""What a node tells of its site: members, links, shards, and what is wrong with them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from littoral.clock import SYSTEM
from littoral.mesh.facts import Fact, Known
from littoral.mesh.membership import MemberState
from littoral.mesh.shard_map import Change, Layout, Spread
from littoral.node.federation.placing import placing_of
from littoral.node.mesh_api import mesh_readings
from littoral.node.mesh_moves import move
from littoral.node.mesh_told import MemberTold, MeshTold, State, schema
from littoral.node.mesh_view import SILENT_S, state_of, view
from littoral.telemetry import METRICS
from nodes_in_process import Wires
from spread_nodes import SpreadNode, spread_nodes, spread_table
from tracked import ROOT
from waiting import until_async

NAMES = ("a", "b", "c")
NOW_S = 1_800_000_000.0

Nodes = dict[str, SpreadNode]


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def nodes(tmp_path: Path, wires: Wires) -> AsyncIterator[Nodes]:
    """Three, each of three shards on two of them, with ten points, and all have heard it of each other."""
    tables = {"points": spread_table(2, shards=3, replicas=2)}
    async with spread_nodes(tmp_path, NAMES, tables, wires=wires) as found:
        await found["a"]["points"].upsert(range(10), [[i, 1.0] for i in range(10)])
        await until_async(lambda: all(is_whole(told(node)) for node in found.values()))
        yield found


def told(node: SpreadNode) -> MeshTold:
    return view(node.federation, now_s=NOW_S)


def is_whole(seen: MeshTold) -> bool:
    is_met = len(seen.links) == 6 and all(
        link.is_up and link.round_trip_ms is not None and link.sent_bytes and link.received_bytes for link in seen.links
    )
    points = seen.collections["points"]
    are_alike = all(len({holder.points for holder in shard.holders}) == 1 for shard in points.shards)
    are_alike = are_alike and all(holder.disk_bytes for shard in points.shards for holder in shard.holders)
    return is_met and are_alike and is_caught_up(seen) and not seen.problems and points.points == 10


def member(seen: MeshTold, name: str) -> MemberTold:
    return next(one for one in seen.members if one.name == name)


def checks(seen: MeshTold) -> set[tuple[str, str]]:
    return {(problem.check, problem.subject) for problem in seen.problems}


async def test_a_node_tells_of_every_node_link_and_shard(nodes: Nodes) -> None:
    seen = told(nodes["b"])
    assert [(one.name, one.state, one.boot, one.map_number) for one in seen.members] == [
        (n, "here", 1, 1) for n in NAMES
    ]
    assert all(one.version and one.since_s is not None and NOW_S - 600 < one.since_s <= NOW_S for one in seen.members)
    assert {(link.node, link.peer) for link in seen.links} == {(a, b) for a in NAMES for b in NAMES if a != b}
    assert all(link.sent_bytes and link.received_bytes for link in seen.links)
    points = seen.collections["points"]
    assert (points.strategy, points.words, points.epoch) == ("hash", "by id, over 3 shards", 1)
    for shard in points.shards:
        assert (shard.wanted, shard.actual) == (2, 2)
        assert len({holder.points for holder in shard.holders}) == 1
        assert all(holder.disk_bytes and holder.lag_entries == 0 for holder in shard.holders)
    assert seen.desired.writer == "a"
    assert (seen.lacking, seen.moves) == ([], [])


async def test_what_one_node_does_not_reach_another_tells_of(nodes: Nodes, wires: Wires) -> None:
    """A cut link is seen by a node that reaches both ends."""
    wires.cut("a", "b")
    await until_async(lambda: ("link", "link `a` to `b`") in checks(told(nodes["c"])))
    assert {one.state for one in told(nodes["c"]).members} == {"here"}
    seen = told(nodes["a"])
    assert member(seen, "b").state == "missing"
    assert ("node", "node `b`") in checks(seen)
    wires.heal()
    await until_async(lambda: all(not told(node).problems for node in nodes.values()))


async def test_a_dead_node_is_missing_and_its_shards_are_short(nodes: Nodes, wires: Wires) -> None:
    wires.kill("a")
    await until_async(lambda: ("writer", "node `a`") in checks(told(nodes["c"])))
    seen = told(nodes["c"])
    assert member(seen, "a").state == "missing"
    assert member(seen, "a").points is not None, "what it said last stays known"
    short = [shard for shard in seen.collections["points"].shards if shard.actual < shard.wanted]
    assert short
    assert all("a" in {holder.node for holder in shard.holders} for shard in short)
    assert [problem.hint for problem in seen.problems if problem.check == "holders"] == ["bring back `a`"]
    assert [problem.weight for problem in seen.problems] == sorted(problem.weight for problem in seen.problems)


async def test_a_frozen_node_seems_to_be_here_and_is_told_apart(nodes: Nodes, wires: Wires) -> None:
    """Its links are down as soon as it does not answer; it is frozen once it was silent for three rounds."""
    wires.frozen.add("c")

    def down() -> bool:
        links = [link for link in told(nodes["a"]).links if (link.node, link.peer) == ("a", "c")]
        return [link.is_up for link in links] == [False]

    await until_async(down)


def test_states_follow_from_roster_liveness_and_silence() -> None:
    def state(name: str = "b", *, is_member: bool = True, is_here: bool = True, age_s: float | None = 1.0) -> State:
        member = MemberState(name, "", is_member, is_here, {}, None, None, None, age_s, "")
        return state_of(member, "a", "far")

    assert (state(), state(age_s=None)) == ("here", "here")
    assert (state(is_here=False), state(is_here=False, age_s=None)) == ("missing", "missing")
    assert (state(age_s=SILENT_S + 1), state("a", age_s=SILENT_S + 1)) == ("frozen", "here")
    assert (state(is_member=False), state(is_member=False, is_here=False)) == ("left", "left")
    assert (state("far", is_member=False), state("far", is_member=False, is_here=False)) == ("here", "missing")


async def test_a_replica_that_lags_is_told_with_what_it_lacks(nodes: Nodes, wires: Wires) -> None:
    wires.cut("a", "b")
    wires.cut("a", "c")
    spread = nodes["a"].federation.map.spreads["points"]
    placing, held = placing_of(spread, nodes["a"]["points"].config), spread.held_by("a")
    ids = [i for i in range(100, 200) if placing.of_ids([i])[0] in held][:3]
    await nodes["a"]["points"].upsert(ids, [[1.0, 2.0]] * len(ids))

    def lags() -> bool:
        holders = [holder for shard in told(nodes["a"]).collections["points"].shards for holder in shard.holders]
        return sum(holder.lag_entries for holder in holders if holder.node != "a") > 0

    await until_async(lags)
    wires.heal()
    await until_async(lambda: is_caught_up(told(nodes["a"])))


def is_caught_up(seen: MeshTold) -> bool:
    return all(not holder.lag_entries for shard in seen.collections["points"].shards for holder in shard.holders)


async def test_the_answer_is_what_the_schema_says(nodes: Nodes) -> None:
    """Decoding is strict: unknown and missing fields are errors."""
    seen = told(nodes["a"])
    assert msgspec.convert(json.loads(msgspec.json.encode(seen)), MeshTold) == seen
    file = ROOT / "docs/reference/mesh.schema.json"
    assert json.loads(file.read_text()) == schema()


async def test_metrics_tell_of_links_and_members(nodes: Nodes) -> None:
    found = mesh_readings(nodes["a"].federation, now_s=SYSTEM.wall())
    assert {reading.name for reading in found} <= METRICS.keys()
    values = {(reading.name, reading.labels): reading.value for reading in found}
    assert values["littoral_mesh_members_by_state", ("here",)] == 3
    assert values["littoral_mesh_link_up", ("b",)] == 1
    assert 0 < values["littoral_mesh_round_trip_seconds", ("c",)] < 5
    assert values["littoral_mesh_shards_short", ()] == 0


def test_a_change_is_told_with_the_share_of_points_that_are_handed_over() -> None:
    def known(node: str, points: dict[int, int], owed: dict[int, int]) -> Known:
        return Known(Fact(node, 1, 1, points={"notes": points}, owed={"notes": owed}), 0.0)

    before = Spread("hash", {0: ["a"], 1: ["b"]})
    after = Layout("hash", {1: ["b"], 2: ["a"], 3: ["c"]})
    facts = {"a": known("a", {0: 40, 2: 20}, {0: 10}), "b": known("b", {1: 7}, {}), "c": known("c", {3: 10}, {})}
    copying = msgspec.structs.replace(before, change=Change("copying", after))
    seen = move("notes", copying, facts)
    assert (seen.what, seen.shards, seen.sources, seen.targets) == ("shard 0 divides", [2, 3], ["a"], ["a", "c"])
    assert (seen.stage, seen.share) == ("copying", 0.75)
    flipping = msgspec.structs.replace(before.by(after), change=Change("flipping", before.layout))
    assert move("notes", flipping, facts) == msgspec.structs.replace(seen, stage="flipping", share=1.0)
    making = msgspec.structs.replace(before, change=Change("making", Layout("metric", {2: ["a"]})))
    assert move("notes", making, facts).what == "from hash to metric, 2 shards become 1"
