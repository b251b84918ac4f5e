"""Which shards a point belongs to, as the collection's strategy has it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from littoral.errors import InputError, NotOfferedError
from littoral.mesh.shard_map import Spread
from littoral.vectors.partition.points import Points, Vectors
from littoral.vectors.partition.strategy import Geographic, Hash, Strategy, decode_strategy
from littoral.vectors.records import CollectionConfig, Payload, PointBatch, PointId, VectorParams, vectors_of

__all__ = ["Placing", "cells_of", "may_have_copies", "placing_of", "strategy_of"]

STRATEGY_COUNT_MAX = 128
FLOAT_BYTES = 4


class Placing:
    """Pure, and the same on every node that goes by the same map. region: where this node's points come from. vector:
    name of that which cells are of; points that have none lie in cells by their ids.
    """

    def __init__(self, strategy: Strategy, config: CollectionConfig, region: str, vector: str) -> None:
        self._strategy = strategy
        self._config = config
        self._region = region
        self.vector = vector

    @property
    def is_by_id(self) -> bool:
        """Whether who knows the id knows where the point is, or would be."""
        return self._strategy.by_id

    @property
    def is_by_vector(self) -> bool:
        """Whether another vector may mean another shard."""
        return self._strategy.by_vector

    def goes_by(self, names: Iterable[str]) -> bool:
        """Whether one of these vectors says where a point lies."""
        return self.is_by_vector and self.vector in names

    @property
    def has_copies(self) -> bool:
        """Whether a point may lie in several shards."""
        return self._strategy.has_copies

    @property
    def payload_key(self) -> str | None:
        """Of the payload, which says where a point lies."""
        return self._strategy.key if isinstance(self._strategy, Geographic) else None

    def of_ids(self, ids: Sequence[PointId]) -> list[int]:
        """Where `is_by_id`: the shard of each."""
        found: list[int] = self._strategy.place(Points(ids)).home.tolist()
        return found

    def of_points(self, batch: PointBatch) -> list[list[int]]:
        """The shards of each point, the one that it is at home in first. Raises InputError."""
        if self.is_by_id:
            return [[shard] for shard in self.of_ids(batch.ids)]
        vectors, has_vector = self._vectors(batch)
        placement = self._strategy.place(Points(batch.ids, vectors, self._regions(batch), has_vector))
        return [placement.shards_of(row) for row in range(len(batch.ids))]

    def _vectors(self, batch: PointBatch) -> tuple[Vectors | None, npt.NDArray[np.bool_] | None]:
        """float32[n, size], and which points have one; None where all have."""
        if not self.is_by_vector:
            return None, None
        params = cells_of(self._config, self.vector)
        if isinstance(batch.vectors, bytes) and not self.vector:
            return np.frombuffer(batch.vectors, "<f4").reshape(len(batch.ids), params.size), None
        rows = vectors_of(batch, self.vector)
        lacking = bytes(params.size * FLOAT_BYTES)
        vectors = np.frombuffer(b"".join(row or lacking for row in rows), "<f4").reshape(len(rows), params.size)
        return vectors, None if all(rows) else np.array([row is not None for row in rows], bool)

    def _regions(self, batch: PointBatch) -> list[str]:
        if (key := self.payload_key) is None:
            return [self._region] * len(batch.ids)
        payloads = batch.payloads or [None] * len(batch.ids)
        return [_named(point, payload, key) for point, payload in zip(batch.ids, payloads, strict=True)]


def _named(point: PointId, payload: Payload | None, key: str) -> str:
    region = (payload or {}).get(key)
    if not isinstance(region, str):
        raise InputError(
            f"point `{point}`: payload has no text at `{key}`, which says in which region the point lies",
            hint="`spread.region` names the key; without it, the region is that of the node that takes the write",
        )
    return region


def cells_of(config: CollectionConfig, vector: str) -> VectorParams:
    """Of the vector that cells are made of. Raises InputError where there is none of that name, or one of several."""
    params = config.dense.get(vector)
    if params is None or params.multivector_config is not None:
        known = ", ".join(f"`{name}`" for name in config.dense) or "none"
        raise InputError(f"spread: cells need one dense vector a point, `{vector}` is none; the collection has {known}")
    return params


@lru_cache(maxsize=STRATEGY_COUNT_MAX)
def _decoded(parameters: bytes) -> Strategy:
    return decode_strategy(parameters)


@lru_cache(maxsize=STRATEGY_COUNT_MAX)
def _hash(shards: tuple[int, ...]) -> Strategy:
    return Hash(shards)


def strategy_of(spread: Spread) -> Strategy:
    """Raises InputError for parameters that cannot be read, NotOfferedError for a strategy without any."""
    if spread.parameters:
        return _decoded(spread.parameters)
    if spread.strategy != "hash":
        raise NotOfferedError(f"spread: strategy `{spread.strategy}` has not been fitted")
    return _hash(tuple(spread.shards))


def may_have_copies(spread: Spread) -> bool:
    """Whether points may lie in several of its shards, by either of its layouts while it changes. As `strategy_of`."""
    return any(strategy_of(one).has_copies for one in spread.both)


def placing_of(spread: Spread, config: CollectionConfig, region: str = "") -> Placing:
    """region: of the node whose points these are. Raises as `strategy_of`."""
    return Placing(strategy_of(spread), config, region, spread.vector)
