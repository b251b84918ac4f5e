"""Sites with regions, identities, two embedding models, named vectors, made collections: what each promises holds.

`python -m littoral.testing.mesh --nodes N --seed S --with WORLD,WORLD --trace` replays what fails here.
"""

from pathlib import Path

import pytest

from littoral.errors import InputError
from littoral.testing.clock import SimulatedClock
from littoral.testing.mesh import Fault, Plan, simulate
from littoral.testing.mesh.models import embedded, told_model
from littoral.testing.mesh.plan import KINDS, Kind, World
from littoral.testing.mesh.regions import MARK, is_marked
from littoral.testing.mesh.site import SimulatedSite

TROUBLE_S = 8.0
TOGETHER: tuple[World, ...] = ("regions", "roster", "models", "made")


@pytest.mark.parametrize(("world", "seed"), [("regions", 3), ("roster", 4), ("models", 2)])
def test_what_it_promises_holds(world: World, seed: int) -> None:
    report = simulate(Plan.of(seed, 6, trouble_s=TROUBLE_S, kinds=("crash", "cut", "slow"), worlds=[world]))
    assert report.broken == []
    assert report.acknowledged_count > 10
    assert report.certified_count > 0


def test_what_they_promise_holds_of_all_in_one_site() -> None:
    """Texts of pinned points go to another model, a region's node is revoked, collections come and go."""
    report = simulate(Plan.of(1, 9, trouble_s=TROUBLE_S, kinds=("crash", "cut", "slow"), worlds=TOGETHER))
    assert report.broken == []
    assert report.acknowledged_count > 10
    assert report.certified_count > 0
    assert report.made_count > 3


@pytest.mark.parametrize(
    ("worlds", "nodes", "told"),
    [(["models", "named"], 9, "cannot have `models` too"), (["roster", "regions"], 8, "9 are the fewest")],
)
def test_worlds_that_do_not_go_together_are_refused(worlds: list[World], nodes: int, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Plan.of(1, nodes, worlds=worlds)


def test_a_site_whose_nodes_do_not_start_is_told_and_ends() -> None:
    """Nobody of its pinned region is there."""
    plan = Plan.of(1, 4, trouble_s=1.0, kinds=("slow",), worlds=["regions"])
    report = simulate(plan._replace(regions=dict.fromkeys(plan.names, "east"), pinned=("west",), faults=()))
    assert any("have not started in 60 s" in what for what in report.broken)


def test_named_vectors_hold_while_cells_of_one_become_cells_of_the_other() -> None:
    """Some points lack the vector that cells are of, some get it, some lose it."""
    plan = Plan.of(4, 5, trouble_s=TROUBLE_S, kinds=("crash", "cut", "layout", "layout"), worlds=["named"])
    report = simulate(plan)
    assert report.broken == []
    assert report.acknowledged_count > 10
    assert report.certified_count > 0


def test_collections_that_are_made_and_deleted_are_as_acknowledged() -> None:
    """With power cuts, of the node that writes the map too, and nodes that are away meanwhile."""
    kinds: tuple[Kind, ...] = ("crash", "power", "cut", "freeze", "full")
    report = simulate(Plan.of(12, 6, trouble_s=14.0, kinds=kinds, worlds=["made"]))
    assert report.broken == []
    assert report.made_count > 3


def test_a_node_whose_disk_is_full_takes_nothing_and_goes_on_when_there_is_room() -> None:
    """A map that comes meanwhile is taken afterwards, and what was acknowledged is there."""
    plan = Plan.of(1, 4, trouble_s=TROUBLE_S, kinds=("slow",))
    faults = [Fault(4.0, 4.0, "full", (name,), 0.0) for name in plan.names[1:]]
    report = simulate(plan._replace(faults=(*faults, Fault(5.0, 3.0, "layout", plan.names[:1], 0.9))))
    assert report.broken == []
    assert report.refused_count > 0
    assert report.acknowledged_count > 10


@pytest.mark.parametrize("world", ["regions", "roster", "models", "named", "made"])
def test_faults_of_a_seed_are_the_same_whatever_else_the_site_has(world: World) -> None:
    plain, more = Plan.of(5, 8), Plan.of(5, 8, worlds=[world])
    assert [one for one in more.faults if one.kind in KINDS] == list(plain.faults)
    assert more.joining.isdisjoint(more.leaving | more.late)
    assert plain.names[0] not in more.joining | more.leaving


def test_a_word_of_what_is_pinned_is_seen_wherever_it_goes(tmp_path: Path) -> None:
    plan = Plan.of(1, 6, worlds=["regions"])
    site = SimulatedSite(plan, tmp_path, SimulatedClock())
    point = next(at for at in range(9) if site.region_of(at) in plan.pinned)
    home = next(node for node in site.nodes.values() if site.may_see(node.name, point))
    away = next(name for name, region in plan.regions.items() if region not in plan.pinned)
    home.disk.saw(point)
    assert site.broken == []
    site.nodes[away].disk.saw(point)
    assert f"{away}: has point {point}" in site.broken[-1]
    assert site.vector_of(point).endswith(MARK)
    assert not site.vector().endswith(MARK)


def test_a_text_of_what_is_pinned_is_seen_too_and_both_models_mark_it(tmp_path: Path) -> None:
    plan = Plan.of(1, 9, worlds=TOGETHER)
    site = SimulatedSite(plan, tmp_path, SimulatedClock())
    point = next(at for at in range(9) if site.region_of(at) in plan.pinned)
    text = site.vector_of(point)
    assert is_marked(text)
    assert all(embedded(told_model(at), text).endswith(MARK) for at in range(2))
    free = next(at for at in range(9) if site.region_of(at) not in plan.pinned)
    assert not is_marked(site.vector_of(free))
