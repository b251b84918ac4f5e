"""What a snapshot may take the place of."""

import msgspec

from littoral.errors import ConflictError, InputError
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import mixed
from littoral.vectors.records import CollectionConfig

__all__ = ["recovered"]


def recovered(name: str, existing: Collection, config: CollectionConfig) -> CollectionConfig:
    """What the collection is made with after a snapshot took its place. Raises InputError, ConflictError."""
    if existing.other is not None:
        raise ConflictError(f"collection `{name}` is being taken to another model", hint="let that end, or drop it")
    if _kinds(existing.config) != _kinds(config):
        raise InputError(f"snapshot: its vectors are others than those of collection `{name}`")
    holds = existing.config.models
    if holds and config.models and not any(one.is_same(model) for one in holds for model in config.models):
        raise mixed(name, holds, config.models[0])
    return msgspec.structs.replace(existing.config, models=holds or config.models)


def _kinds(config: CollectionConfig) -> object:
    return {name: (params.size, params.distance) for name, params in config.dense.items()}, set(config.sparse)
