"""Manifests: what a compiled model (`littoral.model`) and an agent (`littoral.agent`) say of themselves.

A manifest is a claim. `Manifest.check` holds it against the memory it speaks of, so that a lying one is refused before
a host reads or writes an address.
"""

from typing import Any, Literal, TypeVar

import msgspec

from littoral.errors import ArtifactError
from littoral.tensors import DTYPES, RANK_MAX, TensorSpec, element_count

__all__ = [
    "AGENT_SECTION",
    "MODEL_SECTION",
    "PAGE_BYTES",
    "SECTION_BYTES_MAX",
    "THREADS_MAX",
    "AgentManifest",
    "Axis",
    "Layer",
    "Manifest",
    "Memory",
    "Port",
    "Variant",
    "layer_entry",
]

PAGE_BYTES = 65536
ALIGNMENT = 64
MODEL_SECTION = "littoral.model"
AGENT_SECTION = "littoral.agent"
SECTION_BYTES_MAX = 16 << 20
THREADS_MAX = 8

_T = TypeVar("_T")


def layer_entry(index: int) -> str:
    """Of a module whose layers can be called one by one: what calls this one of the first variant."""
    return f"layer{index}"


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output: where it lies in the module's memory.

    shape: the largest shape. dims_offset: address of the actual dimensions (i64 × rank), where they depend on data.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    dims_offset: int | None = None

    @property
    def bytes(self) -> int:
        return element_count(self.shape) * DTYPES[self.dtype].bytes

    @property
    def spec(self) -> TensorSpec:
        shape = self.shape if self.dims_offset is None else (-1,) * len(self.shape)
        return TensorSpec(self.name, self.dtype, shape)


class Variant(msgspec.Struct, frozen=True):
    """One entry point: the shapes it is for (`key`, such as {"batch": 4}) and its ports."""

    entry: str
    key: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class Axis(msgspec.Struct, frozen=True):
    """A dimension in which variants differ, and what a host may do where none has the size that it is given.

    inputs, outputs: the axis by name; an output has the size of the key there, or a multiple of it. pad: what fills an
    input up to that size, a value for each or `repeat` for its last element; the same is cut off the outputs. split:
    several runs one after the other, whose outputs are joined.
    """

    inputs: dict[str, int]
    outputs: dict[str, int]
    pad: Literal["repeat"] | dict[str, int | float] | None = None
    split: bool = False


class Memory(msgspec.Struct, frozen=True):
    """Fixed memory: pages of 64 KiB, and [address, bytes] of the read-only data and of the arena."""

    pages: int
    weights: tuple[int, int]
    arena: tuple[int, int]


class Layer(msgspec.Struct, frozen=True):
    """One step of the computation: which function of the module does it, its multiply-adds, its constant bytes."""

    name: str
    kind: str
    function: int
    macs: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Custom section `littoral.model` (docs/reference/model-format.md)."""

    format: Literal[1] = 1
    name: str
    version: str
    compiler: str
    target: Literal["relaxed", "simd128", "mvp"]
    threads: int
    source_sha256: str
    tuning_sha256: str | None = None
    int8: dict[str, Any] | None = None
    labels: list[str] | None = None
    preprocess: dict[str, Any] | None = None
    memory: Memory
    variants: tuple[Variant, ...]
    layers: tuple[Layer, ...]
    axes: dict[str, Axis] = {}

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> "Manifest":
        """The checked manifest. Raises ArtifactError naming what is wrong, and where."""
        return _decode(payload, cls, MODEL_SECTION).check()

    def check(self) -> "Manifest":
        memory_bytes = self.memory.pages * PAGE_BYTES
        if not 0 < memory_bytes <= 1 << 32:
            raise ArtifactError(f"`{MODEL_SECTION}`: `memory.pages` is {self.memory.pages}, must be 1..65536")
        if not 1 <= self.threads <= THREADS_MAX:
            raise ArtifactError(f"`{MODEL_SECTION}`: `threads` is {self.threads}, must be 1..{THREADS_MAX}")
        for key in ("weights", "arena"):
            start, size = getattr(self.memory, key)
            if start < 0 or size < 0 or start + size > memory_bytes:
                raise ArtifactError(
                    f"`{MODEL_SECTION}`: `memory.{key}` lies outside the {memory_bytes} bytes of memory"
                )
        if not self.variants:
            raise ArtifactError(f"`{MODEL_SECTION}`: no variants")
        for i, variant in enumerate(self.variants):
            for kind in ("inputs", "outputs"):
                ports: tuple[Port, ...] = getattr(variant, kind)
                if len({p.name for p in ports}) != len(ports):
                    raise ArtifactError(f"`{MODEL_SECTION}`: `variants[{i}].{kind}` names a tensor twice")
                for port in ports:
                    _check_port(port, memory_bytes, f"variants[{i}].{kind}")
            for name, axis in self.axes.items():
                _check_axis(axis, variant, f"`{MODEL_SECTION}`: `axes.{name}`", variant.key.get(name, 0))
        return self


def _check_port(port: Port, memory_bytes: int, where: str) -> None:
    place = f"`{MODEL_SECTION}`: `{where}` `{port.name}`"
    if port.dtype not in DTYPES:
        raise ArtifactError(f"{place}: unknown dtype `{port.dtype}`")
    if len(port.shape) > RANK_MAX or any(d < 0 for d in port.shape):
        raise ArtifactError(f"{place}: bad shape {list(port.shape)}")
    if port.offset < 0 or port.offset % ALIGNMENT or port.offset + port.bytes > memory_bytes:
        raise ArtifactError(f"{place}: {port.bytes} bytes at {port.offset} lie outside memory or are not aligned to 64")
    dims = port.dims_offset
    if dims is not None and not (dims >= 0 and dims % 8 == 0 and dims + 8 * len(port.shape) <= memory_bytes):
        raise ArtifactError(f"{place}: `dims_offset` {dims} lies outside memory or is not aligned to 8")


def _check_axis(axis: Axis, variant: Variant, place: str, size: int) -> None:
    if size < 1:
        raise ArtifactError(f"{place}: variant `{variant.entry}` has no such size in its `key`")
    if not axis.inputs:
        raise ArtifactError(f"{place}: no inputs")
    if isinstance(axis.pad, dict) and axis.pad.keys() != axis.inputs.keys():
        raise ArtifactError(f"{place}: `pad` must have a value for each of its inputs, and no other")
    for ports, axes, is_exact in ((variant.inputs, axis.inputs, True), (variant.outputs, axis.outputs, False)):
        known = {port.name: port for port in ports}
        for name, at in axes.items():
            if (port := known.get(name)) is None or not 0 <= at < len(port.shape) or port.dims_offset is not None:
                raise ArtifactError(f"{place}: `{name}` has no axis {at} of a known size")
            if port.shape[at] % size or (is_exact and port.shape[at] != size):
                raise ArtifactError(f"{place}: `{name}` has {port.shape[at]} along axis {at}, `key` says {size}")


class AgentManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Custom section `littoral.agent` (docs/reference/agent-abi.md)."""

    format: Literal[1] = 1
    name: str
    version: str
    input: Literal["bytes"] | tuple[TensorSpec, ...] = "bytes"
    output: Literal["bytes"] | tuple[TensorSpec, ...] = "bytes"
    accepts: tuple[str, ...] = ()
    memory_bytes_max: int = 64 << 20
    deadline_ms: int = 1000
    imports: tuple[str, ...] = ()
    config: dict[str, Any] | None = None

    @classmethod
    def decode(cls, payload: bytes) -> "AgentManifest":
        """The checked manifest. Raises ArtifactError naming what is wrong, and where."""
        manifest = _decode(payload, cls, AGENT_SECTION)
        if not 0 < manifest.memory_bytes_max <= 1 << 30:
            raise ArtifactError(
                f"`{AGENT_SECTION}`: `memory_bytes_max` is {manifest.memory_bytes_max}, must be 1..{1 << 30}"
            )
        if manifest.deadline_ms < 1:
            raise ArtifactError(f"`{AGENT_SECTION}`: `deadline_ms` is {manifest.deadline_ms}, must be at least 1")
        return manifest


def _decode(payload: bytes, kind: type[_T], section: str) -> _T:
    if len(payload) > SECTION_BYTES_MAX:
        raise ArtifactError(f"`{section}`: {len(payload)} bytes, at most {SECTION_BYTES_MAX}")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ArtifactError(f"`{section}`: {error}") from error
