"""The graph: values with known types, nodes in topological order, and the builder that every importer and pass uses.

Static single assignment: a value has one producer, or is a graph input, or carries constant data. Nodes are never
changed; a pass builds a new graph (`Builder`), which infers types, folds constants and shares equal nodes as it goes.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from littoral.compiler.ir.types import TensorType
from littoral.errors import LittoralError, ShapeError
from littoral.tensors import DTYPES, Array

__all__ = ["Builder", "Graph", "Node", "Op", "Value"]

FOLD_ELEMENTS_MAX = 1 << 23
FOLD_WORK_MAX = 1 << 30
FOLD_BYTES_MAX = 1 << 26  # of all that constants become, beside GROWTH times what the file gives
GROWTH = 8
ELEMENTS_MAX = 1 << 32


class Op:
    """One operation with its attributes: subclasses are frozen dataclasses, so equal operations compare equal.

    `infer` gives the output types for input types and raises ShapeError where they do not fit; `reference` is the
    definition of the operation, on numpy arrays.
    """

    name: ClassVar[str]
    folds: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> tuple[TensorType, ...]:
        raise NotImplementedError

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        raise NotImplementedError

    def work(self, *inputs: TensorType) -> int:
        """About how many elements `reference` goes over: what decides whether constants are computed now."""
        return sum(t.elements for t in (*inputs, *self.infer(*inputs)))

    def text(self) -> str:
        """Attributes for the printer."""
        shown = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return ", ".join(f"{name}={value}" for name, value in shown if value not in (None, (), False, ""))


class Value:
    """One tensor: its type, a name for people, and its data where it is constant."""

    __slots__ = ("data", "name", "producer", "type")

    def __init__(self, type_: TensorType, name: str, data: Array | None = None, producer: "Node | None" = None) -> None:
        self.type = type_
        self.name = name
        self.data = data
        self.producer = producer

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One application of an operation. label: the model's own name for it, in errors and reports."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    label: str


@dataclass(slots=True)
class Graph:
    """A whole model. outputs: (name, value) in the model's order; a value may be an input or a constant.

    dims: for outputs whose shape depends on data, by name, the actual dimensions (int64, one an axis); the value's own
    shape is the largest, and its elements are packed for the actual one.
    room: bytes that what is computed of constants may still take, over all passes.
    """

    inputs: list[Value] = field(default_factory=list)
    outputs: list[tuple[str, Value]] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    dims: dict[str, Value] = field(default_factory=dict)
    room: int = 0

    def results(self) -> Iterator[Value]:
        """Every value that must be there at the end."""
        yield from (v for _, v in self.outputs)
        yield from self.dims.values()

    def use_counts(self) -> Counter[Value]:
        """How many node inputs and graph outputs read each value."""
        counts: Counter[Value] = Counter(v for node in self.nodes for v in node.inputs)
        counts.update(self.results())
        return counts


class Builder:
    """Builds a graph node by node. room: bytes that what is computed of constants may still take."""

    def __init__(self, room: int = FOLD_BYTES_MAX) -> None:
        self.graph = Graph()
        self.room = room
        self.label = ""
        self._known: dict[tuple[Any, ...], tuple[Value, ...]] = {}
        self._count = 0

    def input(self, name: str, type_: TensorType) -> Value:
        value = Value(type_, name)
        self.graph.inputs.append(value)
        return value

    def constant(self, data: Array, dtype: str | None = None, name: str = "") -> Value:
        """A constant; `dtype` where it is not numpy's (raw bits)."""
        array = np.asarray(data)
        kind = dtype or array.dtype.name
        return Value(TensorType(kind, array.shape), name or self._fresh("c"), np.asarray(array, DTYPES[kind].storage))

    def weight(self, data: Array, dtype: str | None = None, name: str = "") -> Value:
        """A constant that the model brings along: what is computed of it may take a multiple of its size."""
        self.room += GROWTH * data.nbytes
        return self.constant(data, dtype, name)

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def add(self, op: Op, *inputs: Value, label: str | None = None) -> Value:
        """The one output of a new node."""
        (output,) = self.add_all(op, *inputs, label=label)
        return output

    def add_all(self, op: Op, *inputs: Value, label: str | None = None) -> tuple[Value, ...]:
        """All outputs of a new node; constants where all inputs are, an earlier node's where it is the same.

        Raises ShapeError naming the node and its input types.
        """
        label = self.label if label is None else label
        try:
            types = op.infer(*(v.type for v in inputs))
        except LittoralError as error:
            shown = ", ".join(str(v.type) for v in inputs)
            raise ShapeError(f"node `{label}`: `{op.name}` of {shown}: {error.message}", hint=error.hint) from error
        for made in types:
            if made.elements > ELEMENTS_MAX:
                raise ShapeError(f"node `{label}`: `{op.name}` gives {made}, at most {ELEMENTS_MAX} elements")
        if op.folds and inputs and all(v.is_constant for v in inputs) and self._folds(op, inputs, types):
            arrays = op.reference(*(v.data for v in inputs if v.data is not None))
            return tuple(self.constant(a, t.dtype) for a, t in zip(arrays, types, strict=True))
        key = (op, *map(id, inputs))
        if (known := self._known.get(key)) is None:
            known = tuple(Value(t, self._fresh("v")) for t in types)
            node = Node(op, inputs, known, label)
            for value in known:
                value.producer = node
            self.graph.nodes.append(node)
            self._known[key] = known
        return known

    def _folds(self, op: Op, inputs: Sequence[Value], types: Sequence[TensorType]) -> bool:
        """Whether constants become constants: it takes neither long nor much more memory than they have."""
        given = [v.type for v in inputs]
        made = sum(t.elements for t in types)
        if made > max(sum(t.elements for t in given), FOLD_ELEMENTS_MAX):
            return False
        if op.work(*given) > FOLD_WORK_MAX:
            return False
        return self.takes(sum(t.bytes for t in types))

    def takes(self, size: int) -> bool:
        """Whether there is room for a constant of so many bytes, which it then takes."""
        if size > self.room:
            return False
        self.room -= size
        return True

    def finish(self, outputs: Iterable[tuple[str, Value]], dims: Mapping[str, Value] | None = None) -> Graph:
        """The graph, without nodes that no output needs."""
        self.graph.outputs = list(outputs)
        self.graph.dims = dict(dims or {})
        self.graph.room = self.room
        needed = set(self.graph.results())
        kept = []
        for node in reversed(self.graph.nodes):
            if any(v in needed for v in node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.graph.nodes = kept[::-1]
        return self.graph


class Rewriter:
    """A pass in the making: a builder for the new graph, and where each value of the old one went."""

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.uses = old.use_counts()
        self.build = Builder(old.room)
        self._new: dict[Value, Value] = {v: self.build.input(v.name, v.type) for v in old.inputs}

    def value(self, old: Value) -> Value:
        """The new graph's value for one of the old graph."""
        return old if old.is_constant else self._new[old]

    def inputs(self, node: Node) -> tuple[Value, ...]:
        return tuple(self.value(v) for v in node.inputs)

    def put(self, node: Node, outputs: Sequence[Value]) -> None:
        """Says what stands for a node's outputs from now on."""
        self._new.update(zip(node.outputs, outputs, strict=True))

    def replace(self, old: Value, new: Value) -> None:
        """Says what stands for a value from now on."""
        self._new[old] = new

    def copy(self, node: Node) -> None:
        """Takes a node over as it is."""
        self.put(node, self.build.add_all(node.op, *self.inputs(node), label=node.label))

    def finish(self) -> Graph:
        outputs = [(name, self.value(v)) for name, v in self.old.outputs]
        return self.build.finish(outputs, {name: self.value(v) for name, v in self.old.dims.items()})
