"""What dividing or dissolving a shard is worth, before it is done, and whether it kept its word.

The cost model of Quake (arXiv 2506.03437): a shard costs its rate of searches times what one takes in a shard of that
size, `C = Σ rate · λ(points) + overhead · shards`. Something is done only where it lowers C by more than a threshold;
it is predicted roughly, then again with the real sizes, and taken back if the second says no.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from littoral.errors import InputError

__all__ = ["Advice", "Latency", "Limits", "ShardUse", "advise", "cost", "is_worth_it"]


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a search takes by size of shard: (points, milliseconds) as measured, growing; straight between."""

    measured: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        sizes = [points for points, _ in self.measured]
        if len(sizes) < 2 or sizes != sorted(set(sizes)) or min(ms for _, ms in self.measured) < 0:
            raise InputError("latency by size: needs at least two sizes, growing, with times not below 0")

    def ms(self, points: float) -> float:
        """Of a search in a shard of that size; goes on straight beyond the ends, never below 0."""
        sizes = [size for size, _ in self.measured]
        at = min(max(bisect.bisect_left(sizes, points), 1), len(sizes) - 1)
        (left, low), (right, high) = self.measured[at - 1], self.measured[at]
        return max(0.0, low + (high - low) * (points - left) / (right - left))


class ShardUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """points: that lie in it, copies too. searches_per_s: of late."""

    shard: int
    points: int
    searches_per_s: float


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a shard is divided or dissolved whatever it gains, and from which gain on otherwise.

    gain_min: milliseconds of search a second. kept_share: of a shard's searches that each half will still get, until it
    is known better. overhead: milliseconds a second that one more shard costs every query's plan.
    """

    points_max: int
    points_min: int
    gain_min: float = 1.0
    kept_share: float = 0.9
    overhead: float = 0.05


class Advice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """gain: milliseconds of search a second, by what is known now; below 0 where a limit alone asks for it."""

    kind: Literal["divide", "dissolve"]
    shard: int
    gain: float


def cost(uses: Iterable[ShardUse], latency: Latency, limits: Limits) -> float:
    """Milliseconds of search a second."""
    return sum(use.searches_per_s * latency.ms(use.points) + limits.overhead for use in uses)


def advise(
    uses: Sequence[ShardUse], latency: Latency, limits: Limits, *, receivers: Mapping[int, Sequence[int]] | None = None
) -> list[Advice]:
    """What to do, the most urgent first: over a limit, then by gain.

    receivers: shards that would get the points of each; without, all others in equal parts.
    """
    found = [
        advice
        for use in uses
        for advice in (_division(use, latency, limits), _dissolution(use, uses, latency, limits, receivers))
        if advice is not None
    ]
    sizes = {use.shard: use.points for use in uses}
    return sorted(found, key=lambda one: (sizes[one.shard] <= limits.points_max, -one.gain, one.shard))


def is_worth_it(before: Sequence[ShardUse], after: Sequence[ShardUse], latency: Latency, limits: Limits) -> bool:
    """Whether what was done, or is about to be, lowers the cost enough by real sizes and rates; if not, take it back.

    A shard over `points_max` before, and none after, is reason enough.
    """
    if max(use.points for use in before) > limits.points_max >= max(use.points for use in after):
        return True
    if min(use.points for use in before) < limits.points_min <= min(use.points for use in after):
        return True
    return cost(before, latency, limits) - cost(after, latency, limits) >= limits.gain_min


def _division(use: ShardUse, latency: Latency, limits: Limits) -> Advice | None:
    halves = 2 * limits.kept_share * use.searches_per_s * latency.ms(use.points / 2)
    gain = use.searches_per_s * latency.ms(use.points) - halves - limits.overhead
    if use.points < 2 * limits.points_min or (gain < limits.gain_min and use.points <= limits.points_max):
        return None
    return Advice("divide", use.shard, gain)


def _dissolution(
    use: ShardUse,
    uses: Sequence[ShardUse],
    latency: Latency,
    limits: Limits,
    receivers: Mapping[int, Sequence[int]] | None,
) -> Advice | None:
    others = [one for one in uses if one.shard != use.shard]
    if receivers is not None:
        named = frozenset(receivers.get(use.shard, ()))
        others = [one for one in others if one.shard in named]
    if not others or use.points >= limits.points_max / 2:
        return None
    points, rate = use.points / len(others), use.searches_per_s / len(others)
    added = sum(
        (one.searches_per_s + rate) * latency.ms(one.points + points) - one.searches_per_s * latency.ms(one.points)
        for one in others
    )
    gain = use.searches_per_s * latency.ms(use.points) + limits.overhead - added
    if max(one.points + points for one in others) > limits.points_max:
        return None
    if gain < limits.gain_min and use.points >= limits.points_min:
        return None
    return Advice("dissolve", use.shard, gain)
