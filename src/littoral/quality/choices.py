"""What quantisation says in the manifest of each layer: a claim, read with bounds."""

from typing import Any

import msgspec

from littoral.artifact import Manifest
from littoral.errors import ArtifactError

__all__ = ["Choice", "Choices", "choices_of"]

LAYERS_MAX = 1000


class Choice(msgspec.Struct, frozen=True):
    """bits: 32 where the layer stayed float32. loss: of the outputs' cosine by this layer alone, where measured."""

    layer: str
    bits: int
    saved_ms: float
    reason: str
    loss: float | None = None


class Choices(msgspec.Struct, frozen=True):
    """cosine: of the outputs to float32's on the feeds that were looked at; budget: what was asked for."""

    cosine: float
    layers: tuple[Choice, ...]
    budget: float | None = None


def choices_of(manifest: Manifest) -> Choices | None:
    """None where nothing is said. Raises ArtifactError for what is no such report."""
    report: Any = (manifest.int8 or {}).get("report")
    if report is None:
        return None
    try:
        found = msgspec.convert(report, Choices)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"manifest: `int8.report`: {error}") from error
    if len(found.layers) > LAYERS_MAX:
        raise ArtifactError(f"manifest: `int8.report`: {len(found.layers)} layers, at most {LAYERS_MAX}")
    return found
