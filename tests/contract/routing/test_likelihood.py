"""The model of shares learns what there is to learn, and stays a number between 0 and 1 whatever it sees."""

import numpy as np
import pytest
from bench.spread_world import World, mixture, strategy_of

from littoral.errors import InputError
from littoral.vectors.routing.likelihood import FEATURES, ShareModel, features, fit_shares
from littoral.vectors.routing.rehearsal import Ways

QUERIES = 900


@pytest.fixture(scope="module")
def world() -> World:
    vectors = mixture(3000 + QUERIES, size=24, inner=12, clusters=60, seed=2)
    points = vectors[:3000]
    return World.made(strategy_of("ungrouped", points, "Euclid", seed=2), points, vectors[3000:], "Euclid")


def nodes_for(ways: Ways, recall: float) -> float:
    """Remote nodes asked on average where the mean recall is this one."""
    rows, levels = np.arange(len(ways.found)), 1 - 10.0 ** -np.linspace(6, 0.02, 60)
    means = [(ways.recalls[rows, at].mean(), ways.nodes[rows, at].mean()) for at in map(ways.at, levels)]
    recalls, nodes = np.array(means)[::-1].T
    return float(np.interp(recall, np.maximum.accumulate(recalls), nodes))


def test_what_is_learned_keeps_the_way_short(world: World) -> None:
    asking = np.random.default_rng(1).integers(0, 4, QUERIES)
    rows = np.arange(QUERIES)
    model = world.learned(rows[:400], asking[:400])
    assert model is not None
    assert model == world.learned(rows[:400], asking[:400])
    plain, learned = (world.ways(rows[400:], asking[400:], of) for of in (None, model))
    print(nodes_for(plain, 0.97), nodes_for(learned, 0.97))
    assert nodes_for(learned, 0.97) <= 1.15 * nodes_for(plain, 0.97)
    assert np.allclose(plain.recalls[:, -1], 1)
    assert np.allclose(learned.recalls[:, -1], 1)


def test_weights_that_are_known_are_found() -> None:
    rng = np.random.default_rng(3)
    told = rng.normal(size=(20_000, len(FEATURES))) * 3 + 1
    weights = np.linspace(-1, 1, len(FEATURES))
    shares = 1 / (1 + np.exp(-((told - 1) / 3 @ weights - 1)))
    model = fit_shares(told, shares)
    assert model is not None
    assert np.allclose(model.weights[:-1], weights, atol=0.05)
    assert np.allclose(model.shares(told[None])[0], shares, atol=0.01)


def test_without_lessons_there_is_no_model() -> None:
    assert fit_shares(np.zeros((0, len(FEATURES))), np.zeros(0)) is None
    assert fit_shares(np.ones((5, len(FEATURES))), np.zeros(5)) is None
    with pytest.raises(InputError, match="2 weights for 10 features and one for none"):
        ShareModel((0.0,), (1.0,), (1.0, 2.0))


def test_unknown_shards_and_no_hits_are_numbers_too() -> None:
    nearest, bounds = np.array([[np.inf, 0.0, 3.0]]), np.array([[-np.inf, 0.0, 2.0]])
    for hits in (np.full((1, 4), np.inf), np.zeros((1, 4)), np.array([[1.0, 2.0, np.inf, np.inf]])):
        for answered in (np.zeros((1, 3), bool), np.ones((1, 3), bool)):
            told = features(nearest, bounds, answered, hits, np.zeros((1, 3)), np.zeros(1))
            assert np.isfinite(told).all()
