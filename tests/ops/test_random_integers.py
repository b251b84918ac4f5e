"""Random models in integers, a sample; `make sweep` runs more. The seed in a failure replays it."""

import pytest

from integer_ways import check_integers, feeds_for
from littoral.compiler.driver import planned
from littoral.compiler.ir.ops import IntegerConv
from littoral.compiler.plan import parallel
from random_models import random_model
from random_networks import random_network
from random_quantised import random_quantised


@pytest.fixture
def everything_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a step is."""
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)


@pytest.mark.parametrize("seed", range(16))
def test_a_random_network(seed: int) -> None:
    check_integers(random_network(seed), bits=7 + seed % 2)


@pytest.mark.parametrize("seed", range(16))
def test_a_random_model(seed: int) -> None:
    check_integers(random_model(seed), bits=7 + seed % 2)


@pytest.mark.parametrize("seed", range(16))
def test_a_random_network_that_comes_quantised(seed: int) -> None:
    check_integers(random_quantised(seed), bits=None)


@pytest.mark.parametrize("seed", range(100, 108))
@pytest.mark.usefixtures("everything_is_divided")
def test_a_random_network_in_threads(seed: int) -> None:
    check_integers(random_network(seed), bits=7 + seed % 2, threads=(2, 3))
    check_integers(random_quantised(seed), bits=None, threads=(2, 3))


def test_most_networks_multiply_bytes() -> None:
    """Or nothing would be tested."""
    networks = [random_network(seed) for seed in range(16)]
    found = [planned(m.model.SerializeToString(), int8=feeds_for(m)) for m in networks]
    found += [planned(random_quantised(seed).model.SerializeToString()) for seed in range(16)]
    assert sum(any(isinstance(node.op, IntegerConv) for node in f.graphs[0].nodes) for f in found) > 20
