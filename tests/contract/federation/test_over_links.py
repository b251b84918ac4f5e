"""Leases, acknowledgements, anti-entropy and changes of the map over real links that are cut, delayed and healed."""

from pathlib import Path

import pytest

from linked_lives import FAULTS, linked_life

PLAN = ("short cut", "long cut", "slow", "one way")
"""Random ones: `tests/sweep/test_over_links_seeds.py`."""


async def test_what_was_promised_holds_while_links_are_cut_and_after_it(tmp_path: Path) -> None:
    async with linked_life(tmp_path, seed=1) as life:
        async with life.going_on():
            for fault in PLAN:
                await FAULTS[fault](life)
                life.links.heal()
                await life.links.met()
        await life.check_whole()
        assert all(life.acknowledged.values())
        assert life.certified


@pytest.mark.parametrize("fault", ["long cut"])
async def test_a_change_of_layout_goes_through_a_cut(tmp_path: Path, fault: str) -> None:
    async with linked_life(tmp_path, seed=2) as life:
        async with life.going_on():
            layout = await life.to_another_layout()
            await FAULTS[fault](life)
            life.links.heal()
            await life.until_arrived(layout)
        await life.check_whole()
        assert life.acknowledged["alone"]
