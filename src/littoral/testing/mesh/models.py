"""Two embedding models of a simulated site: what each makes of a text, and a node's real part in going to the other."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np

from littoral.clock import Clock
from littoral.errors import InputError
from littoral.node.federation.federation import Federation
from littoral.node.migrate_tables import MigrateTable
from littoral.node.migration.bindings import Bindings, Parts
from littoral.node.migration.sources import Source
from littoral.node.migration.spread.members import Members
from littoral.node.migration.spread.migrations import SpreadMigrations
from littoral.node.migration.spread.writer import Writer
from littoral.node.site_tables import CollectionTable
from littoral.testing.mesh.regions import TEXT_MARK, marked
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion, heard_over_the_mesh, told_over_the_mesh
from littoral.vectors.records import CollectionConfig, Payload

__all__ = ["MIGRATE", "MODELS", "TEXT", "SimulatedMigrations", "embedded", "told_model"]

TEXT = "text"
"""Key of the payload that keeps what was embedded."""

MIGRATE = MigrateTable(source=f"payload:{TEXT}", pipeline="embed", points_per_s=1_000.0)
MODELS = (ModelVersion("small", "5a" * 32), ModelVersion("large", "1a" * 32))
SIZES = {"small": 4, "large": 6}
OPENS_S_MAX, EMBEDS_S_MAX = 1.0, 0.003


def told_model(at: int) -> str:
    """As nodes name one of `MODELS` to each other."""
    return told_over_the_mesh([MODELS[at]])


@lru_cache(100_000)
def embedded(told: str, text: bytes) -> bytes:
    """float32[size], unlike what the other model makes of it."""
    (model,) = heard_over_the_mesh(told)
    seed = hashlib.blake2b(b"%s %s" % (model.name.encode(), text), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed))
    vector = rng.standard_normal(SIZES[model.name]).astype("<f4").tobytes()
    return marked(vector) if text.startswith(TEXT_MARK) else vector


class _Embedding:
    """As `Embedding`, after a while."""

    def __init__(self, model: ModelVersion, rng: Random) -> None:
        self.size = SIZES[model.name]
        self._told = told_over_the_mesh([model])
        self._rng = rng

    async def __call__(self, payload: Payload | None) -> bytes:
        text = (payload or {}).get(TEXT)
        if not isinstance(text, str):
            raise InputError(f"payload has no text at `{TEXT}`")
        await asyncio.sleep(self._rng.random() * EMBEDS_S_MAX)
        return embedded(self._told, text.encode())


class _Bindings(Bindings):
    """Models that take a while to open; there are no pipelines but the one that embeds."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._opened: set[str] = set()

    def table(self, _name: str) -> MigrateTable:
        return MIGRATE

    def source(self, _name: str, vector: str = "") -> Source:
        return Source.of(MIGRATE.ways[vector], MIGRATE.folder, Path())

    def in_its_place(self, _name: str, model: ModelVersion, _vector: str = "") -> ModelVersion:
        return model

    async def open_versions(self, models: Iterable[ModelVersion]) -> None:
        for model in models:
            if model.name not in self._opened:
                await asyncio.sleep(self._rng.random() * OPENS_S_MAX)
                self._opened.add(model.name)

    async def close_unheld(self, _models: Iterable[ModelVersion]) -> None:
        return

    def embeddings(self, _name: str, config: CollectionConfig, vectors: Iterable[str]) -> Mapping[str, Any]:
        return {vector: _Embedding(config.models_of(vector)[0], self._rng) for vector in vectors}

    def bound(self, _name: str, _config: CollectionConfig) -> Mapping[str, Any]:
        return {}


def _here(heard: ModelVersion) -> ModelVersion:
    return next(model for model in MODELS if model.is_same(heard))


class _Members(Members):
    """Every node has both models."""

    def version(self, _name: str, heard: CollectionConfig, vector: str) -> ModelVersion:
        return _here(heard.models_of(vector)[0])

    def as_here(self, _name: str, config: CollectionConfig) -> CollectionConfig:
        return msgspec.structs.replace(config, models=tuple(map(_here, config.models)))


class SimulatedMigrations(SpreadMigrations):
    """Of one life of a node: the real ones, but for what opens models and runs them."""

    def __init__(
        self,
        tables: Mapping[str, CollectionTable],
        collections: Collections,
        federation: Federation,
        *,
        clock: Clock,
        say: Callable[[str], None],
        rng: Random,
    ) -> None:
        site = SimpleNamespace(collections=tables)
        repository = SimpleNamespace(turn=asyncio.Lock())
        parts = Parts(
            cast(Any, site), cast(Any, None), cast(Any, None), collections, {}, cast(Any, repository), clock, say
        )
        bindings = _Bindings(rng)
        self._parts = parts
        self._there = federation
        self._beginning = None
        self._members = _Members(parts, bindings, federation)
        self._writer = Writer(parts, bindings, federation, self._members)
