"""A node whose site is exhausted has steps done by the data centre, through the orchestrator; else it does them."""

import json
from pathlib import Path

import pytest

from fallback_rig import SITE, ask, enrolled, fallback_rig, site_of
from littoral.clock import SYSTEM
from littoral.errors import SettingError
from littoral.node.placement import asker, neighbours, scheduler
from littoral.node.placement.fleet_way import FLEET, fleet_way
from littoral.node.site import read_site
from page_pictures import page_pictures
from placed_nodes import informed
from waiting import until_true

PICTURE = page_pictures()[2].data


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy this machine is decides nothing."""
    monkeypatch.setattr(asker, "PATIENCE_MIN_S", 3600.0)
    monkeypatch.setattr(neighbours, "ASK_S", 60.0)
    monkeypatch.setattr(neighbours, "FRESH_S", 3600.0)
    monkeypatch.setattr(scheduler, "LOOK_S", 3600.0)


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


async def test_an_orchestrator_that_is_gone_costs_no_request(tmp_path: Path) -> None:
    """It is asked, does not answer, and the queue here takes the step; then it rests, and is tried with one step."""
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        placement = node.placement
        assert placement is not None
        assert placement.fleet is not None
        await informed(node)
        wanted, _ = await ask(node, "here", PICTURE)
        server = placement.fleet._door._server
        url, server.url = server.url, "https://127.0.0.1:1"
        await server.close()
        found, how = await ask(node, "any", PICTURE, left_s=60.0)
        (told,) = how.placement  # type: ignore[misc]
        assert (told["node"], found.tobytes()) == ("gw-1", wanted.tobytes())
        assert "`fleet:orchestrator` failed" in told["why"]
        _, how = await ask(node, "any", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert [one["node"] for one in told["refused"] if "tried again in" in one["why"]] == [FLEET]
        assert placement.fleet.tally.outcomes["failed"] == 1
        assert placement.asker.neighbours.of(FLEET).is_doubtful

        server.url = url

        async def is_back() -> bool:
            await informed(node)
            _, how = await ask(node, "any", PICTURE)
            return bool(how.placement[0]["node"] == FLEET)  # type: ignore[index]

        await until_true(is_back)
        assert not placement.asker.neighbours.of(FLEET).is_doubtful


async def test_while_it_is_in_doubt_it_gets_one_step_at_a_time(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        assert node.placement is not None
        await informed(node)
        neighbours_seen = node.placement.asker.neighbours
        neighbour = neighbours_seen.of(FLEET)
        neighbour.is_doubtful = True
        assert neighbours_seen.away(FLEET, {FLEET}) == ""
        neighbour.on_the_way[rig.key] = 1
        assert "with one step" in neighbours_seen.away(FLEET, {FLEET})
        _, how = await ask(node, "any", PICTURE)
        assert how.placement[0]["node"] == "gw-1"  # type: ignore[index]


async def test_a_node_that_is_not_enrolled_yet_asks_nobody(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        (tmp_path / "gw-1/data/updates/bearer").unlink()
        await informed(node)
        _, how = await ask(node, "any", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert told["node"] == "gw-1"
        assert any("not enrolled in its fleet yet" in one["why"] for one in told["refused"])


async def test_what_is_too_large_for_it_is_not_sent(tmp_path: Path) -> None:
    """It says how much it takes; a picture of 32 × 32 in float32 has 12 KiB."""
    async with (
        fallback_rig(tmp_path, inference="body_bytes_max = 8192") as rig,
        site_of(rig, tmp_path / "gw-1") as node,
    ):
        await informed(node)
        _, how = await ask(node, "any", PICTURE)
        (told,) = how.placement  # type: ignore[misc]
        assert any("too many for a message" in one["why"] for one in told["refused"])
        assert rig.counted("large") == 0


async def test_another_version_is_not_asked_for(tmp_path: Path) -> None:
    """The data centre has the model; the agent is another one, by its configuration, and it has none."""
    async with fallback_rig(tmp_path) as rig, site_of(rig, tmp_path / "gw-1") as node:
        table = node.placement.asker.candidates(f"agent:{'0' * 64}", 0)  # type: ignore[union-attr]
        assert [one.offer for one in table] == [None, None]
        await informed(node)
        refused = node.placement.asker.candidates(rig.key, 0)  # type: ignore[union-attr]
        assert [one.node for one in refused if one.offer is not None] == ["gw-1", FLEET]


@pytest.mark.parametrize("url", ["http://fleet.example", "http://10.0.0.4:8680", "ftp://x"])
async def test_data_do_not_go_out_in_the_clear(tmp_path: Path, url: str) -> None:
    text = SITE.replace("PLACEMENT", "")
    trust = {"image_root": {}, "director_root": {}, "orchestrator": url}
    site = read_site(enrolled(tmp_path, text, json.dumps(trust), "node_x"))
    with pytest.raises(SettingError, match="must be https: what steps are given goes there"):
        fleet_way(site, SYSTEM)
