"""One region of a strategy by regions, taken out and put back: what is done to cells is done to those of one region."""

import msgspec

from littoral.errors import InputError
from littoral.vectors.partition.strategy import Geographic, Hash, Hybrid, Metric, Strategy

__all__ = ["parts_of", "region_with", "with_region", "within_region"]

Part = Hash | Metric | Hybrid


def parts_of(strategy: Strategy) -> dict[str, Part]:
    """Its regions; itself, under an empty name, where it has none."""
    return strategy.regions if isinstance(strategy, Geographic) else {"": strategy}


def region_with(strategy: Strategy, shard: int) -> str:
    """The region that a shard is of; empty where there are none. Raises InputError for a shard that is not there."""
    for region, part in parts_of(strategy).items():
        if shard in part.shards:
            return region
    raise InputError(f"partition: has no shard {shard}")


def within_region(strategy: Strategy, shard: int) -> Part:
    """How the region of a shard is spread. Raises as `region_with`."""
    return parts_of(strategy)[region_with(strategy, shard)]


def with_region(strategy: Strategy, region: str, part: Part) -> Strategy:
    """The same, with this region spread in another way."""
    if not isinstance(strategy, Geographic):
        return part
    return msgspec.structs.replace(strategy, regions={**strategy.regions, region: part})
