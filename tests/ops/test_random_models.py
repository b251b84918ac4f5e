"""Random models three ways, a sample; `make sweep` runs thousands. A failure names the seed and shows a small model."""

import pytest

from random_models import random_model
from three_ways import assert_three_ways


@pytest.mark.parametrize("seed", range(100))
def test_a_random_model(seed: int) -> None:
    assert_three_ways(seed)


def test_the_same_seed_makes_the_same_model() -> None:
    assert random_model(7).model == random_model(7).model
