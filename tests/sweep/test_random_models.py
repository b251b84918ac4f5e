"""Random models three ways by the thousand, small and large; the seed in a failure replays it in tests/ops too."""

import pytest

from three_ways import assert_three_ways

SEEDS, EACH = 6000, 200


@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
@pytest.mark.parametrize("nodes", [3, 12, 40])
def test_random_models(first: int, nodes: int) -> None:
    for seed in range(first, first + EACH):
        assert_three_ways(seed, nodes)
