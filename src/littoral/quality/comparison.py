"""What came out when two models were run side by side, and its place in a model's file."""

import msgspec

from littoral.artifact import Model, custom_section
from littoral.artifact.sections import with_custom_section, without_custom_section
from littoral.errors import ArtifactError, TooLargeError

__all__ = [
    "LAYERS_MAX",
    "SECTION",
    "Agreement",
    "Comparison",
    "LayerError",
    "Side",
    "bare",
    "comparison_of",
    "with_comparison",
]

SECTION = "littoral.comparison"
BYTES_MAX = 1 << 18
LAYERS_MAX = 1000


class Side(msgspec.Struct, frozen=True):
    """One of the two. sha256, bytes: without the section that this is written into. run_ms: median of a call."""

    name: str
    sha256: str
    bytes: int
    weights_bytes: int
    memory_bytes: int
    run_ms: float


class Agreement(msgspec.Struct, frozen=True):
    """How near an output comes over all feeds.

    cosine, cosine_min: mean and least of the feeds, each output as one vector. top_1: share of rows (along the last
    axis) whose largest element is the same; None where a row has one element. error: largest difference of two
    elements; magnitude: largest magnitude of the reference. not_finite: elements that are left out, because one of the
    two is not finite.
    """

    output: str
    cosine: float
    cosine_min: float
    top_1: float | None
    error: float
    magnitude: float
    not_finite: int = 0


class LayerError(msgspec.Struct, frozen=True):
    """What a layer's output is off by, with all layers before it as they are.

    bits: of its weights; None where it stayed in float32. error: length of the difference to the exact output, of the
    exact output's length.
    """

    name: str
    kind: str
    bits: int | None
    error: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """exact: the reference. feeds: how many both ran on; layer_feeds: on how many of them layers were compared."""

    format: int = 1
    feeds: int
    exact: Side
    other: Side
    outputs: tuple[Agreement, ...]
    layers: tuple[LayerError, ...] = ()
    layer_feeds: int = 0


def with_comparison(model: Model, found: Comparison) -> Model:
    """The model with the comparison in its file, in the place of an older one. Raises TooLargeError."""
    payload = msgspec.json.encode(found)
    if len(payload) > BYTES_MAX:
        raise TooLargeError(f"comparison: {len(payload)} bytes, at most {BYTES_MAX}")
    return Model(with_custom_section(model.wasm, SECTION, payload))


def bare(model: Model) -> Model:
    """The model without any comparison: what it was before."""
    return Model(without_custom_section(model.wasm, SECTION))


def comparison_of(model: Model) -> Comparison | None:
    """What the file says, if it says anything. Raises ArtifactError for what is no comparison."""
    payload = custom_section(model.wasm, SECTION)
    if payload is None:
        return None
    if len(payload) > BYTES_MAX:
        raise ArtifactError(f"`{SECTION}`: {len(payload)} bytes, at most {BYTES_MAX}")
    try:
        found = msgspec.json.decode(payload, type=Comparison)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ArtifactError(f"`{SECTION}`: {error}") from error
    if len(found.layers) > LAYERS_MAX:
        raise ArtifactError(f"`{SECTION}`: {len(found.layers)} layers, at most {LAYERS_MAX}")
    return found
