"""One region of a strategy by regions, taken out and put back: what is done to cells is done to those of one region."""

import msgspec

from littoral.errors import InputError
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, Metric, Strategy

__all__ = ["parts_of", "region_with", "with_region", "within_region"]

Part = Hash | Metric | Hybrid


def parts_of(strategy: Strategy) -> dict[str | None, Part]:
    """Its regions; itself, under None, where it has none."""
    return {**strategy.regions} if isinstance(strategy, Geographic) else {None: strategy}


def region_with(strategy: Strategy, shard: int) -> str | None:
    """The region that a shard is of; None where there are none. Raises InputError for a shard that is not there."""
    for region, part in parts_of(strategy).items():
        if shard in part.shards:
            return region
    raise InputError(f"partition: has no shard {shard}")


def within_region(strategy: Strategy, shard: int) -> Part:
    """How the region of a shard is spread. Raises as `region_with`."""
    return parts_of(strategy)[region_with(strategy, shard)]


def with_region(strategy: Strategy, region: str | None, part: Part) -> Strategy:
    """The same, with this region spread in another way."""
    if not isinstance(strategy, Geographic):
        return part
    assert region is not None
    return msgspec.structs.replace(strategy, regions={**strategy.regions, region: part})
