"""When a shard is divided or dissolved."""

import pytest

from littoral.errors import InputError
from littoral.vectors.partition.gain import Latency, Limits, ShardUse, advise, cost, is_worth_it

LATENCY = Latency(((0, 0.05), (10_000, 0.3), (100_000, 2.0)))
LIMITS = Limits(points_max=50_000, points_min=500)


def uses(*rows: tuple[int, float]) -> list[ShardUse]:
    return [ShardUse(at, points, rate) for at, (points, rate) in enumerate(rows)]


def test_latency_goes_straight_between_what_was_measured() -> None:
    found = [LATENCY.ms(points) for points in (0, 5000, 10_000, 55_000, 100_000, 190_000)]
    assert found == pytest.approx([0.05, 0.175, 0.3, 1.15, 2.0, 3.7])
    assert Latency(((10, 1.0), (20, 0.5))).ms(1000) == 0.0


def test_quiet_even_shards_are_left_alone() -> None:
    assert advise(uses((10_000, 1.0), (12_000, 1.0), (9000, 2.0)), LATENCY, LIMITS) == []


def test_a_hot_shard_that_would_gain_is_divided() -> None:
    steep = Latency(((0, 0.0), (1000, 0.1), (40_000, 40.0)))
    found = advise(uses((30_000, 10.0), (9000, 1.0)), steep, LIMITS)
    assert (found[0].kind, found[0].shard) == ("divide", 0)
    assert found[0].gain > 1.0


def test_over_the_limit_comes_first_whatever_it_gains() -> None:
    steep = Latency(((0, 0.0), (1000, 0.1), (40_000, 40.0)))
    found = advise(uses((60_000, 0.0), (30_000, 10.0)), steep, LIMITS)
    assert [(one.kind, one.shard) for one in found] == [("divide", 0), ("divide", 1)]
    assert found[0].gain < 0


def test_a_tiny_shard_is_dissolved_unless_its_receivers_would_overflow() -> None:
    rows = uses((100, 0.1), (20_000, 1.0), (49_990, 1.0))
    assert [(one.kind, one.shard) for one in advise(rows, LATENCY, LIMITS, receivers={0: (1,)})] == [("dissolve", 0)]
    assert advise(rows, LATENCY, LIMITS, receivers={0: (2,)}) == []
    assert advise(rows[:1], LATENCY, LIMITS) == []


def test_what_does_not_keep_its_word_is_taken_back() -> None:
    before = uses((40_000, 10.0))
    good, poor = uses((20_000, 6.0), (20_000, 6.0)), uses((39_000, 10.0), (1000, 10.0))
    assert cost(before, LATENCY, LIMITS) > cost(good, LATENCY, LIMITS)
    assert is_worth_it(before, good, LATENCY, LIMITS)
    assert not is_worth_it(before, poor, LATENCY, LIMITS)
    assert is_worth_it(uses((60_000, 0.0)), uses((30_000, 0.0), (30_000, 0.0)), LATENCY, LIMITS)
    assert is_worth_it(uses((100, 0.0), (9000, 0.0)), uses((9100, 0.0)), LATENCY, LIMITS)


def test_a_latency_of_nothing_is_refused() -> None:
    for measured in (((0, 1.0),), ((5, 1.0), (5, 2.0)), ((0, -1.0), (5, 2.0))):
        with pytest.raises(InputError, match="latency by size"):
            Latency(measured)
