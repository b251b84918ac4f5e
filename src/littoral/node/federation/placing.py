"""Which shards a point belongs to, as the collection's strategy has it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from littoral.errors import InputError, NotOfferedError, SettingError
from littoral.mesh.shard_map import Spread
from littoral.node.mesh_tables import SpreadTable
from littoral.vectors.partition.points import Points
from littoral.vectors.partition.strategy import Hash, Strategy, decode_strategy, encode_strategy, fit_metric
from littoral.vectors.records import CollectionConfig, PointBatch, PointId

__all__ = ["Placing", "fitted", "placing_of"]


class Placing:
    """Pure, and the same on every node that goes by the same map. region: where this node's points come from."""

    def __init__(self, strategy: Strategy, config: CollectionConfig, region: str) -> None:
        self._strategy = strategy
        self._config = config
        self._region = region

    @property
    def is_by_id(self) -> bool:
        """Whether who knows the id knows where the point is, or would be."""
        return self._strategy.by_id

    def of_ids(self, ids: Sequence[PointId]) -> list[int]:
        """Where `is_by_id`: the shard of each."""
        found: list[int] = self._strategy.place(Points(ids)).home.tolist()
        return found

    def of_points(self, batch: PointBatch) -> list[list[int]]:
        """The shards of each point, the one that it is at home in first. Raises InputError."""
        if self.is_by_id:
            return [[shard] for shard in self.of_ids(batch.ids)]
        if not isinstance(batch.vectors, bytes) or self._config.vectors is None:
            raise InputError("upsert: a strategy that goes by vectors needs the one without a name, of every point")
        vectors = np.frombuffer(batch.vectors, "<f4").reshape(len(batch.ids), self._config.vectors.size)
        placement = self._strategy.place(Points(batch.ids, vectors, [self._region] * len(batch.ids)))
        return [placement.shards_of(row) for row in range(len(batch.ids))]


def fitted(table: SpreadTable, config: CollectionConfig, sample: Path | None) -> bytes:
    """Parameters of a new collection's strategy; `metric` is fitted to a sample of what will come.

    sample: a file of numpy, float32[n, size]. Raises SettingError for one that cannot be read or does not fit.
    """
    if table.strategy == "hash":
        return b""
    params = config.vectors
    if sample is None or params is None:
        raise SettingError(f"`spread.strategy` is `{table.strategy}`, which needs `spread.sample`")
    try:
        vectors = np.load(sample, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SettingError(f"`spread.sample`: `{sample}` is no file of numpy: {error}") from error
    if vectors.ndim != 2 or vectors.shape[1] != params.size:
        raise SettingError(f"`spread.sample`: `{sample}` has shape {list(vectors.shape)}, must be [n, {params.size}]")
    shards = range(table.shards)
    return encode_strategy(
        fit_metric(
            vectors.astype(np.float32), distance=params.distance, shards=shards, seed=0, replication=1.0, copies=0
        )
    )


def placing_of(spread: Spread, config: CollectionConfig, region: str = "") -> Placing:
    """Raises InputError for parameters that cannot be read, NotOfferedError for a strategy without any."""
    if spread.parameters:
        return Placing(decode_strategy(spread.parameters), config, region)
    if spread.strategy != "hash":
        raise NotOfferedError(f"spread: strategy `{spread.strategy}` has not been fitted")
    return Placing(Hash(tuple(spread.shards)), config, region)
