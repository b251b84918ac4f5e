"""Random models in integers by the hundred; the seed in a failure replays it in tests/ops too."""

from collections.abc import Callable

import pytest

from integer_ways import check_integers
from littoral.compiler.plan import parallel
from model_maker import Made
from random_models import random_model
from random_networks import random_network
from random_quantised import random_quantised

SEEDS, EACH = 1500, 100


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
@pytest.mark.parametrize("nodes", [3, 12, 40])
@pytest.mark.parametrize("make", [random_network, random_model])
def test_random_integers(make: Callable[[int, int], Made], nodes: int, first: int) -> None:
    for seed in range(first, first + EACH):
        check_integers(make(seed, nodes), bits=7 + seed % 2)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
@pytest.mark.parametrize("nodes", [3, 12, 40])
def test_random_quantised(nodes: int, first: int) -> None:
    for seed in range(first, first + EACH):
        check_integers(random_quantised(seed, nodes), bits=None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, SEEDS, EACH))
def test_random_integers_in_threads(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)
    for seed in range(first, first + EACH):
        check_integers(random_network(seed), bits=7 + seed % 2, threads=(2, 3))
        check_integers(random_quantised(seed), bits=None, threads=(2, 3))
