"""What a snapshot may take the place of."""

from littoral.errors import ConflictError, InputError
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion, mixed
from littoral.vectors.records import CollectionConfig

__all__ = ["recovered"]


def recovered(name: str, existing: Collection, config: CollectionConfig) -> CollectionConfig:
    """What the collection is made with after a snapshot took its place. Raises InputError, ConflictError."""
    if existing.other is not None:
        raise ConflictError(f"collection `{name}` is being taken to another model", hint="let that end, or drop it")
    if _kinds(existing.config) != _kinds(config):
        raise InputError(f"snapshot: its vectors are others than those of collection `{name}`")
    models: dict[str, tuple[ModelVersion, ...]] = {}
    for vector in (*config.dense, *config.sparse):
        holds, given = existing.config.models_of(vector), config.models_of(vector)
        if holds and given and not any(one.is_same(model) for one in holds for model in given):
            raise mixed(name, holds, given[0], vector)
        if holds or given:
            models[vector] = holds or given
    return existing.config.with_models(models)


def _kinds(config: CollectionConfig) -> object:
    return {name: (params.size, params.distance) for name, params in config.dense.items()}, set(config.sparse)
