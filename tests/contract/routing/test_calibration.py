"""Levels keep what they promise, on ways whose losses are known; where none does, every shard is asked."""

import math

import numpy as np
import pytest

from littoral.errors import InputError
from littoral.vectors.routing.calibration import calibrate, losses_at
from littoral.vectors.routing.levels import ALL, Class, class_of
from littoral.vectors.routing.rehearsal import Ways

ROUNDS = 4


def ways(count: int, seed: int, *, optimism: float = 0.0) -> Ways:
    """Recall grows from round to round; what is thought to be found is the truth with noise, and with optimism."""
    rng = np.random.default_rng(seed)
    recalls = np.sort(rng.integers(0, 11, (count, ROUNDS)) / 10, axis=1)
    recalls[:, -1] = 1.0
    found = np.clip(recalls + rng.normal(size=recalls.shape) * 0.1 + optimism, 0, 0.999)
    found[:, -1] = np.inf
    return Ways(found, recalls, np.tile(np.arange(ROUNDS, dtype=float), (count, 1)))


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("optimism", [0.0, 0.2])
def test_the_mean_form_keeps_the_target_on_average(target: float, optimism: float) -> None:
    recalls = []
    for seed in range(30):
        made = ways(1200, seed, optimism=optimism)
        level = calibrate(made.rows(slice(0, 200)), target, form="mean").level
        recalls.append(1 - losses_at(made.rows(slice(200, 1200)), level).mean())
    assert target - 0.005 <= np.mean(recalls) <= target + 0.05


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_the_high_form_keeps_it_in_nearly_every_run(target: float) -> None:
    missed = 0
    for seed in range(40):
        made = ways(4000, seed)
        found = calibrate(made.rows(slice(0, 2000)), target)
        assert not found.is_exhaustive
        missed += losses_at(made.rows(slice(2000, 4000)), found.level).mean() > 1 - target
    assert missed <= 2


@pytest.mark.parametrize("form", ["mean", "high"])
def test_too_few_queries_show_nothing(form: str) -> None:
    found = calibrate(ways(20, 1), 0.99, form=form)  # type: ignore[arg-type]
    assert found.is_exhaustive
    assert (found.level, found.recall, found.below, found.asks_every) == (ALL, 1.0, 0.0, False)
    none = calibrate(ways(20, 1).rows(slice(0, 0)), 0.9, form=form)  # type: ignore[arg-type]
    assert none.is_exhaustive


@pytest.mark.parametrize("form", ["mean", "high"])
def test_losses_that_do_not_grow_with_the_level_are_taken_at_their_worst(form: str) -> None:
    """Shards that answer from an index may lose what they had: a strict level may be the worse one."""
    made = ways(3000, 2)
    made.recalls[:, 2] = 0.5
    found = calibrate(made, 0.9, form=form)  # type: ignore[arg-type]
    strictest = [level for level in (0.9, 0.99, 0.9999) if level >= found.level]
    assert all(losses_at(made, level).mean() <= 0.1 for level in strictest)


def test_a_loss_after_all_were_asked_ends_trust_in_summaries() -> None:
    made = ways(1000, 3)
    made.recalls[:200, -1] = 0.4
    found = calibrate(made, 0.99)
    assert found.is_exhaustive
    assert found.asks_every


def test_what_was_found_is_told_as_what_it_meant() -> None:
    found = calibrate(ways(4000, 5, optimism=0.2), 0.9)
    told = [found.expected(share) for share in np.linspace(0, 1, 50)]
    assert told == sorted(told)
    assert found.expected(0.8) == pytest.approx(0.6, abs=0.1)
    assert found.below == pytest.approx((losses_at(ways(4000, 5, optimism=0.2), found.level) > 0.1001).mean())


@pytest.mark.parametrize("target", [0.0, 1.0, math.nan, -1.0])
def test_a_target_is_a_share(target: float) -> None:
    with pytest.raises(InputError, match="recall target must be between 0 and 1"):
        calibrate(ways(10, 1), target)


def test_classes() -> None:
    assert class_of("notes", "metric", 10) == Class("notes", "metric", 10, "none")
    assert class_of("notes", "metric", 7, 0.5) == Class("notes", "metric", 10, "many")
    assert class_of("notes", "hash", 5000, 0.01) == Class("notes", "hash", 5000, "few")
    assert class_of("notes", "hash", 1, 0.05).filter == "some"
