"""Regions that are pinned, by id or in cells, through any changes: pure.

Each case is a site by lot: nodes, regions, shards, replicas, how regions are spread, and a row of changes by lot.
"""

from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from littoral.errors import ConflictError, LittoralError, NotOfferedError
from littoral.mesh.shard_map import Layout, Spread
from littoral.node.federation.layout import laid_out
from littoral.node.federation.loads import Load
from littoral.node.federation.moving import planning
from littoral.node.federation.moving.advice import Use, advised
from littoral.node.federation.moving.routes import routes
from littoral.node.federation.moving.steps import begun, coming
from littoral.node.federation.placing import placing_of, strategy_of
from littoral.node.federation.residency import allowed, pinned_to
from littoral.node.mesh_tables import SpreadTable
from littoral.vectors.partition.strategy import Geographic, Hybrid
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.replication.entries import Change, State

SIZE = 4
CONFIG = CollectionConfig(VectorParams(SIZE, "Euclid"))
CHANGES = 5
POINTS = 60
SAMPLE = np.random.default_rng(3).standard_normal((400, SIZE)).astype("<f4")
CASES = 25


class Case:
    """regions: by node."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        names = self.rng.sample(["eu", "us", "asia"], self.rng.choice((2, 2, 3)))
        nodes = [f"n{at}" for at in range(self.rng.randint(len(names), 6))]
        some = names + [self.rng.choice([*names, ""]) for _ in nodes[len(names) :]]
        self.regions = dict(zip(nodes, some, strict=True))
        self.pinned = self.rng.sample(names, self.rng.randint(1, len(names)))
        self.table = SpreadTable(
            strategy="geographic",
            regions=names,
            region="where",
            pinned=self.pinned,
            within=self.rng.choice(("hash", "metric", "metric", "hybrid")),
            shards=self.rng.randint(len(names), 9),
            replicas=self.rng.randint(1, 3),
            copies=self.rng.choice((1.0, 1.5)),
            sample="sample.npy",
        )
        self.spread = self.fresh(self.table)

    def fresh(self, table: SpreadTable) -> Spread:
        return laid_out("points", table, CONFIG, self.regions, SAMPLE)

    def points(self) -> PointBatch:
        names = list(self.table.regions)
        payloads = [{"where": names[at % len(names)], "secret": at} for at in range(POINTS)]
        rows = np.random.default_rng(self.rng.randrange(1 << 30)).standard_normal((POINTS, SIZE)).astype("<f4")
        return PointBatch(list(range(POINTS)), rows.tobytes(), payloads)

    def layout(self) -> Layout:
        """Of a change by lot; raises what such a change is refused with."""
        spread, rng = self.spread, self.rng
        shard = rng.choice(spread.shards)
        match rng.choice(("divide", "divide", "dissolve", "move", "replicas", "anew", "node")):
            case "divide":
                targets = rng.sample(sorted(self.regions), 1) if rng.random() < 0.5 else []
                planning.check_may_hold(spread, shard, targets, self.regions)
                own = planning.at_home(spread, shard, SAMPLE)
                return planning.divided(spread, shard, own, targets, seed=0)
            case "dissolve":
                return planning.without_shard(spread, shard)
            case "move":
                return planning.moved(
                    spread, shard, spread.places[shard][0], rng.choice(sorted(self.regions)), self.regions
                )
            case "replicas":
                return planning.held_by(spread, self.regions, rng.randint(1, 3))
            case "node":
                self.regions[f"n{len(self.regions)}"] = rng.choice([*self.table.regions, ""])
                return planning.held_by(spread, self.regions, rng.randint(1, 3))
        within = rng.choice(("hash", "metric", "hybrid"))
        shards = rng.randint(len(self.table.regions), 9)
        return planning.fitted_anew(
            spread, self.fresh(msgspec.structs.replace(self.table, within=within, shards=shards))
        )


def check_inside(case: Case, spread: Spread) -> None:
    """Every pinned shard, of both layouts, on nodes of its region, and points of a region in its shards alone."""
    pinned = pinned_to(spread)
    assert set(pinned.values()) == set(case.pinned)
    for shard, region in pinned.items():
        assert {case.regions[node] for node in spread.all_places[shard]} == {region}
    assert allowed(spread, case.regions) == spread
    points = case.points()
    for one in spread.both:
        assert set(strategy_of(one).shards) == one.places.keys()
        for shards, payload in zip(placing_of(one, CONFIG).of_points(points), points.payloads or [], strict=True):
            region = payload["where"] if payload["where"] in case.pinned else None
            assert {pinned.get(shard) for shard in shards} == {region}


def check_bodies(spread: Spread) -> None:
    """What a holder hands over for the other layout: elsewhere nothing but that a point is not there."""
    assert spread.change is not None
    goal, pinned = spread.by(spread.change.other), pinned_to(spread)
    names = [str(name) for name in getattr(strategy_of(spread), "regions", {})]
    rows = np.random.default_rng(1).standard_normal((POINTS, SIZE)).astype("<f4")
    for region in names:
        states = [
            State(9, "a.1", 1, Change(at, row.tobytes(), {"where": region, "secret": at}))
            for at, row in enumerate(rows)
        ]
        for shard, told in routes(states, goal, CONFIG, coming(spread), region).items():
            if pinned.get(shard) != (region if region in pinned.values() else None):
                assert all(state.change.vectors is None and state.change.payload is None for state in told)


@pytest.mark.parametrize("seed", range(CASES))
def test_no_change_puts_what_is_pinned_elsewhere(seed: int) -> None:
    case = Case(seed)
    check_inside(case, case.spread)
    for _ in range(CHANGES):
        before = case.spread
        try:
            layout = case.layout()
            case.spread = begun(before, layout, number=2)
        except LittoralError:
            continue  # refused
        check_inside(case, case.spread)
        check_bodies(case.spread)
        case.spread = msgspec.structs.replace(
            case.spread.by(layout), change=None, given=case.spread.first_free, epoch=before.epoch + 1
        )
        check_inside(case, case.spread)


def geographic(**options: Any) -> Spread:
    regions = {"a": "eu", "b": "eu", "c": "us", "d": "us"}
    table = SpreadTable(strategy="geographic", region="where", pinned=["eu"], sample="x.npy", shards=8, **options)
    return laid_out("points", table, CONFIG, regions, SAMPLE)


def shards_of(spread: Spread, region: str) -> tuple[int, ...]:
    strategy = strategy_of(spread)
    assert isinstance(strategy, Geographic)
    return strategy.regions[region].shards


@pytest.mark.parametrize("region", ["eu", "us"])
def test_a_shard_of_a_region_is_divided_and_dissolved_and_all_others_stay(region: str) -> None:
    spread = geographic(within="metric", replicas=1)
    shard = shards_of(spread, region)[0]
    own = planning.at_home(spread, shard, SAMPLE)
    layout = planning.divided(spread, shard, own, None, seed=0)
    kept = set(spread.places) - {shard}
    assert kept < layout.places.keys()
    assert len(layout.places) == len(spread.places) + 1
    after = spread.by(layout)
    assert set(shards_of(after, region)) - kept == layout.places.keys() - kept
    less = planning.without_shard(after, max(layout.places))
    assert len(less.places) == len(spread.places)
    assert set(shards_of(spread, "us" if region == "eu" else "eu")) <= less.places.keys()


def test_where_cells_are_is_a_matter_of_the_sample_alone() -> None:
    """A pinned region's cells are those that another region would have."""
    spread = geographic(within="metric", replicas=2)
    strategy = strategy_of(spread)
    assert isinstance(strategy, Geographic)
    eu, us = strategy.regions.values()
    assert isinstance(eu, Hybrid)
    assert isinstance(us, Hybrid)
    assert (eu.cells, eu.closure) == (us.cells, us.closure)


def test_without_cells_a_shard_of_a_region_is_not_divided() -> None:
    spread = geographic(within="hash", replicas=1)
    with pytest.raises(NotOfferedError, match="by `hash` cannot be divided"):
        planning.divided(spread, shards_of(spread, "eu")[0], SAMPLE, None, seed=0)


def test_what_a_region_has_too_much_of_is_divided_within_it() -> None:
    spread = geographic(within="metric", replicas=1)
    big, small = shards_of(spread, "eu")[0], shards_of(spread, "us")[0]
    uses = {shard: Use(10_000, Load(1.0, 1.0)) for shard in spread.places}
    regions = {"a": "eu", "b": "eu", "c": "us", "d": "us"}
    hot = uses | {big: Use(600_000, Load(1.0, 1.0))}
    found = advised(spread, hot, regions, point_bytes=16)
    assert found is not None
    assert found.divide == big
    few = uses | {small: Use(10, Load(0.0, 0.0))}
    found = advised(spread, few, regions, point_bytes=16)
    assert found is not None
    assert found.dissolve == small


def test_a_region_is_pinned_by_one_key_for_ever() -> None:
    """By another key, a point that is pinned might be said to be from anywhere."""
    spread = geographic(within="metric", replicas=1)
    regions = {"a": "eu", "b": "eu", "c": "us", "d": "us"}
    table = SpreadTable(strategy="geographic", region="land", pinned=["eu"], shards=8, replicas=1)
    layout = planning.fitted_anew(spread, laid_out("points", table, CONFIG, regions))
    with pytest.raises(ConflictError, match="pinned by `where` of a payload, `land` may say otherwise"):
        begun(spread, layout, number=2)


def test_a_half_does_not_go_to_a_node_elsewhere() -> None:
    spread = geographic(within="hybrid", replicas=1)
    with pytest.raises(ConflictError, match="pinned to region `eu`, node `c` is in `us`"):
        planning.check_may_hold(spread, shards_of(spread, "eu")[0], ["c"], {"a": "eu", "c": "us"})
