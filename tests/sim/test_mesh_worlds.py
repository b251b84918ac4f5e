"""Sites with regions, identities, two embedding models, named vectors, made collections: what each promises holds.

`python -m littoral.testing.mesh --nodes N --seed S --with WORLD --trace` replays what fails here.
"""

from pathlib import Path

import pytest

from littoral.testing.clock import SimulatedClock
from littoral.testing.mesh import Fault, Plan, simulate
from littoral.testing.mesh.plan import KINDS, World
from littoral.testing.mesh.regions import MARK
from littoral.testing.mesh.site import SimulatedSite

TROUBLE_S = 8.0


@pytest.mark.parametrize(("world", "seed"), [("regions", 3), ("roster", 4), ("models", 2)])
def test_what_it_promises_holds(world: World, seed: int) -> None:
    report = simulate(Plan.of(seed, 6, trouble_s=TROUBLE_S, kinds=("crash", "cut", "slow"), world=world))
    assert report.broken == []
    assert report.acknowledged_count > 10
    assert report.certified_count > 0


def test_named_vectors_hold_while_cells_of_one_become_cells_of_the_other() -> None:
    """Some points lack the vector that cells are of, some get it, some lose it."""
    plan = Plan.of(4, 5, trouble_s=TROUBLE_S, kinds=("crash", "cut", "layout", "layout"), world="named")
    report = simulate(plan)
    assert report.broken == []
    assert report.acknowledged_count > 10
    assert report.certified_count > 0


def test_collections_that_are_made_and_deleted_are_as_acknowledged() -> None:
    """With power cuts, of the node that writes the map too, and nodes that are away meanwhile."""
    report = simulate(Plan.of(12, 6, trouble_s=14.0, kinds=("crash", "power", "cut", "freeze", "full"), world="made"))
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
    plain, more = Plan.of(5, 8), Plan.of(5, 8, world=world)
    assert [one for one in more.faults if one.kind in KINDS] == list(plain.faults)
    assert more.joining.isdisjoint(more.leaving | more.late)
    assert plain.names[0] not in more.joining | more.leaving


def test_a_word_of_what_is_pinned_is_seen_wherever_it_goes(tmp_path: Path) -> None:
    plan = Plan.of(1, 6, world="regions")
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
