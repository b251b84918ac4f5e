"""Real links with random faults, for many seeds: see tests/contract/federation/test_over_links.py."""

from pathlib import Path

import pytest

from linked_lives import FAULTS, linked_life

SEEDS = 20
FAULT_COUNT = 6


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_was_promised_holds(tmp_path: Path, seed: int) -> None:
    async with linked_life(tmp_path, seed) as life:
        async with life.going_on():
            layout = await life.to_another_layout()
            for _ in range(FAULT_COUNT):
                await FAULTS[life.rng.choice(sorted(FAULTS))](life)
                life.links.heal()
            await life.until_arrived(layout)
        await life.check_whole()
        assert life.certified
