"""A compiled model's variants as numpy views of one instance's memory.

The memory is fixed (min = max), so the views are made once. No view may be used after its instance is closed.
"""

from dataclasses import dataclass

import numpy as np

from littoral.artifact.manifest import Port, Variant
from littoral.errors import ArtifactError, SandboxError
from littoral.runtime.inputs import as_named
from littoral.tensors import DTYPES, Array

__all__ = ["BoundOutput", "BoundVariant", "bind_variant"]


@dataclass(frozen=True)
class BoundOutput:
    """One output. dims: the actual dimensions that a call writes (i64[rank]), or None where the shape is fixed."""

    name: str
    dtype: str
    view: Array
    dims: Array | None

    def read(self, label: str) -> Array:
        """A copy of the output. Raises SandboxError for dimensions that the model cannot have meant."""
        if self.dims is None:
            return as_named(self.view.copy(), self.dtype)
        shape = self.dims.tolist()
        if not all(0 <= size <= most for size, most in zip(shape, self.view.shape, strict=True)):
            raise SandboxError(f"{label}: output `{self.name}` has shape {shape}, at most {list(self.view.shape)}")
        count = int(np.prod(shape, dtype=np.int64))
        return as_named(self.view.reshape(-1)[:count].reshape(shape).copy(), self.dtype)


@dataclass(frozen=True)
class BoundVariant:
    """One entry point with its inputs and outputs in memory."""

    entry: str
    inputs: tuple[Array, ...]
    outputs: tuple[BoundOutput, ...]


def bind_variant(variant: Variant, memory: Array, label: str) -> BoundVariant:
    """Views of `memory` (uint8[n]) for every port. The manifest has been checked against the size of that memory."""
    return BoundVariant(
        variant.entry,
        tuple(_view(port, memory, label) for port in variant.inputs),
        tuple(_bind_output(port, memory, label) for port in variant.outputs),
    )


def _bind_output(port: Port, memory: Array, label: str) -> BoundOutput:
    dims = None
    if (at := port.dims_offset) is not None:
        dims = memory[at : at + 8 * len(port.shape)].view("<i8")
    return BoundOutput(port.name, port.dtype, _view(port, memory, label), dims)


def _view(port: Port, memory: Array, label: str) -> Array:
    try:
        return memory[port.offset : port.offset + port.bytes].view(DTYPES[port.dtype].storage).reshape(port.shape)
    except ValueError as error:  # a size of zero beside one that no array can have
        raise ArtifactError(f"{label}: `{port.name}` has impossible shape {list(port.shape)}") from error
