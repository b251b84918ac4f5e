"""A node whose site is exhausted has steps done by the data centre, through the orchestrator; and else does them here."""

from pathlib import Path

import pytest

from fallback_rig import ask, fallback_rig, site_of
from littoral.node.placement import asker, neighbours
from littoral.node.placement.fleet_way import FLEET
from page_pictures import page_pictures
from placed_nodes import informed

PICTURE = page_pictures()[2].data


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy this machine is decides nothing."""
    monkeypatch.setattr(asker, "PATIENCE_MIN_S", 3600.0)
    monkeypatch.setattr(neighbours, "ASK_S", 60.0)
    monkeypatch.setattr(neighbours, "FRESH_S", 3600.0)


async def test_an_exhausted_site_gets_the_same_bits_from_the_data_centre(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        here, _ = await ask(node, "here", PICTURE)
        await informed(node)
        there, how = await ask(node, "any", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert (told["node"], told["by"], told["why"]) == (FLEET, "dc-1", "the site is exhausted")
        assert here.tobytes() == there.tobytes()
        assert rig.counted("answered") == 1
        readings = {one[:2]: one.value for one in node.placement.readings()}  # type: ignore[union-attr]
        assert readings["littoral_fallback_steps_total", ("answered",)] == 1
        assert readings["littoral_placed_spilled_total", ()] == 1


async def test_data_that_may_not_leave_the_site_do_not(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        await informed(node)
        _, how = await ask(node, "site", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert told["node"] == "gw-1"
        assert {"node": FLEET, "why": "its data stay in the site"} in told["refused"]
        assert rig.counted("answered") == 0


async def test_it_stays_while_the_site_is_fast_enough(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1", placement="spill_ms = 600000") as node:
        await informed(node)
        _, how = await ask(node, "any", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert told["node"] == "gw-1"
        assert {"node": FLEET, "why": "outside, and the site is not exhausted"} in told["refused"]
        assert rig.counted("answered") == 0
