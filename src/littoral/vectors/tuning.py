"""How a collection is stored and indexed: options in the JSON of Qdrant's REST interface, as typed structs.

A value that is None is the store's own default. Options that the store lacks are not here: they are refused by name.
"""

from typing import Annotated, Literal

import msgspec

__all__ = [
    "Binary",
    "HnswTuning",
    "Memory",
    "MultiVector",
    "OptimizerTuning",
    "Placement",
    "Product",
    "Quantization",
    "Scalar",
    "SparseIndex",
    "SparseParams",
    "Turbo",
]

Memory = Literal["cold", "cached", "pinned"]

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Root of the structs below."""


class HnswTuning(_Options, frozen=True):
    """The graph. m: neighbours of a point. ef_construct: breadth while building. full_scan_threshold: in KB."""

    m: Annotated[int, msgspec.Meta(ge=0, le=512)] | None = None
    ef_construct: Annotated[int, msgspec.Meta(ge=4, le=10_000)] | None = None
    full_scan_threshold: _Count | None = None
    max_indexing_threads: Annotated[int, msgspec.Meta(ge=0, le=64)] | None = None
    on_disk: bool | None = None
    payload_m: Annotated[int, msgspec.Meta(ge=0, le=512)] | None = None
    inline_storage: bool | None = None
    memory: Memory | None = None


class OptimizerTuning(_Options, frozen=True):
    """When segments are rebuilt. indexing_threshold: KB of vectors from which a graph is built, 0 = never."""

    deleted_threshold: _Share | None = None
    vacuum_min_vector_number: Annotated[int, msgspec.Meta(ge=100, lt=2**31)] | None = None
    default_segment_number: Annotated[int, msgspec.Meta(ge=0, le=64)] | None = None
    max_segment_size: _Count | None = None
    indexing_threshold: _Count | None = None
    prevent_unoptimized: bool | None = None


class Scalar(_Options, frozen=True):
    type: Literal["int8"]
    quantile: Annotated[float, msgspec.Meta(ge=0.5, le=1)] | None = None
    always_ram: bool | None = None
    memory: Memory | None = None


class Product(_Options, frozen=True):
    compression: Literal["x4", "x8", "x16", "x32", "x64"]
    always_ram: bool | None = None
    memory: Memory | None = None


class Binary(_Options, frozen=True):
    always_ram: bool | None = None
    memory: Memory | None = None
    encoding: Literal["one_bit", "two_bits", "one_and_half_bits"] | None = None
    query_encoding: Literal["default", "binary", "scalar4bits", "scalar8bits"] | None = None


class Turbo(_Options, frozen=True):
    always_ram: bool | None = None
    memory: Memory | None = None
    bits: Literal["bits1", "bits1_5", "bits2", "bits4", "bits8"] | None = None


class Quantization(_Options, frozen=True):
    """Smaller copies of the vectors, for the first pass of a search; exactly one kind."""

    scalar: Scalar | None = None
    product: Product | None = None
    binary: Binary | None = None
    turbo: Turbo | None = None


class MultiVector(_Options, frozen=True):
    """Several vectors per point; nearness is the sum, over the query's vectors, of each one's best."""

    comparator: Literal["max_sim"]


class SparseIndex(_Options, frozen=True):
    full_scan_threshold: _Count | None = None
    on_disk: bool | None = None
    memory: Memory | None = None
    datatype: Literal["float32", "float16", "uint8"] | None = None


class SparseParams(_Options, frozen=True):
    """A sparse vector of a point. modifier idf: weights by how rare an index is among the points."""

    index: SparseIndex | None = None
    modifier: Literal["none", "idf"] | None = None


class Placement(_Options, frozen=True):
    """Where a part of the store lies."""

    memory: Memory | None = None
