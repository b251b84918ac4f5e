"""Who says first whose embeddings a vector holds, and who says it after him."""

from collections.abc import Sequence

import msgspec

from littoral.vectors.layout import CollectionFile
from littoral.vectors.model_version import ModelVersion, mixed

__all__ = ["claimed"]


def claimed(name: str, file: CollectionFile, models: Sequence[ModelVersion], vector: str) -> CollectionFile:
    """What the file of a collection says from now on, of both generations if there are two.

    Raises ConflictError where the vector is of other models.
    """
    holds = file.config.models_of(vector)
    if holds and not all(any(model.is_same(one) for one in holds) for model in models):
        raise mixed(name, holds, models[0], vector)
    if holds or not models:
        return file
    said, other = {vector: tuple(models)}, file.other
    if other is not None:
        other = msgspec.structs.replace(other, config=other.config.with_models(said))
    return msgspec.structs.replace(file, config=file.config.with_models(said), other=other)
