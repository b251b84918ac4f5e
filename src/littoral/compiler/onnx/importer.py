"""From an ONNX model to the IR: names are resolved, shapes bound, and each node handed to its importer.

Importers are registered by operator name, one file per family (`operators/`). Attributes that an importer does not
read, and inputs it cannot take, become an UnsupportedOperatorError that names operator, attribute and node.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from littoral.compiler.ir.expr import Arg
from littoral.compiler.ir.graph import Builder, Graph, Op, Value
from littoral.compiler.ir.narrow import convert
from littoral.compiler.ir.ops import Map
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.broadcast import spread_together
from littoral.compiler.onnx.order import in_order
from littoral.compiler.onnx.proto import AttributeProto, DimProto, GraphProto, ModelProto, NodeProto, ValueInfoProto
from littoral.compiler.onnx.tensors import ONNX_DTYPES, UNHELD_DTYPES, read_tensor
from littoral.errors import LittoralError, OnnxFormatError, ShapeError, UnsupportedOperatorError
from littoral.tensors import Array

__all__ = ["OPERATORS", "Body", "OnnxNode", "import_model", "operator"]

Importer = Callable[["OnnxNode"], Value | Sequence[Value]]
OPERATORS: dict[str, Importer] = {}
KEEPS_HALVES: set[str] = set()
BY_ELEMENT: set[str] = set()
TAKES_ANY_SIZE = frozenset(
    [
        "Concat",
        "Dropout",
        "Gather",
        "Identity",
        "Reshape",
        "Shape",
        "Size",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    ]
)
ELEMENTS_MAX = 1 << 31
OPSET_MAX = 28
_MISFITS = (ArithmeticError, LookupError, MemoryError, ValueError, struct.error)  # importers trust ranks and counts
ATTRIBUTE_KINDS = {0: "none", 1: "float", 2: "int", 3: "string", 4: "tensor", 5: "graph"}
ATTRIBUTE_KINDS |= {6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs"}
_DEFAULT_DOMAINS = ("", "ai.onnx")


def operator(
    *names: str, keeps_halves: bool = False, by_element: bool = False, domain: str = ""
) -> Callable[[Importer], Importer]:
    """Registers an importer for operators of a domain.

    Unless it `keeps_halves`, float16 and bfloat16 are computed in float32 and rounded once, around it. by_element: each
    result depends on the elements at its place alone, so that a tensor of unknown size can be one of the inputs.
    """

    known = [_full_name(name, domain) for name in names]

    def register(importer: Importer) -> Importer:
        OPERATORS.update(dict.fromkeys(known, importer))
        if keeps_halves:
            KEEPS_HALVES.update(known)
        if by_element:
            BY_ELEMENT.update(known)
        return importer

    return register


def _full_name(op: str, domain: str) -> str:
    return op if domain in _DEFAULT_DOMAINS else f"{domain}.{op}"


class OnnxNode:
    """A node as its importer sees it: inputs as values, attributes by name, and the builder."""

    def __init__(
        self,
        proto: NodeProto,
        inputs: list[Value | None],
        build: Builder,
        opset: int,
        label: str,
        import_body: "BodyImporter",
        dims: dict[Value, Value],
    ) -> None:
        self.dims = dims
        self.proto = proto
        self.import_body = import_body
        self.op = proto.op_type
        self.build = build
        self.opset = opset
        self.label = label
        self._inputs = inputs
        self._attributes = {a.name: a for a in proto.attribute}
        self._read: set[str] = set()

    def input(self, index: int) -> Value:
        """A required input."""
        value = self.optional(index)
        if value is None:
            self.unsupported(f"lacks input {index}")
        return value

    def optional(self, index: int) -> Value | None:
        return self._inputs[index] if index < len(self._inputs) else None

    def inputs(self) -> list[Value]:
        """All inputs, each required."""
        return [self.input(i) for i in range(len(self._inputs))]

    def array(self, index: int, what: str) -> Array:
        """Data of an input that must be constant."""
        value = self.input(index)
        if value.data is None:
            self.unsupported(f"needs `{what}` to be constant")
        return value.data

    def optional_array(self, index: int, what: str) -> Array | None:
        return None if self.optional(index) is None else self.array(index, what)

    def attribute(self, name: str, kind: int) -> AttributeProto | None:
        self._read.add(name)
        found = self._attributes.get(name)
        if found is not None and found.type != kind:
            shown, wanted = (ATTRIBUTE_KINDS.get(k, f"number {k}") for k in (found.type, kind))
            raise OnnxFormatError(f"node `{self.label}`: attribute `{name}` is of type {shown}, expected {wanted}")
        return found

    def has(self, name: str) -> bool:
        return name in self._attributes

    def integer(self, name: str, default: int) -> int:
        found = self.attribute(name, 2)
        return default if found is None else found.i

    def number(self, name: str, default: float) -> float:
        found = self.attribute(name, 1)
        return default if found is None else found.f

    def text(self, name: str, default: str) -> str:
        found = self.attribute(name, 3)
        return default if found is None else found.s.decode("utf-8", "replace")

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        found = self.attribute(name, 7)
        return tuple(default) if found is None else tuple(found.ints)

    def optional_integers(self, name: str) -> tuple[int, ...] | None:
        return self.integers(name, ()) if self.has(name) else None

    def numbers(self, name: str, default: Sequence[float]) -> tuple[float, ...]:
        found = self.attribute(name, 6)
        return tuple(default) if found is None else tuple(found.floats)

    def tensor(self, name: str) -> Array | None:
        found = self.attribute(name, 4)
        return None if found is None or found.t is None else read_tensor(found.t, None)[0]

    def graph(self, name: str) -> GraphProto:
        """A graph attribute."""
        found = self.attribute(name, 5)
        if found is None or found.g is None:
            self.unsupported("is missing", attribute=name)
        return found.g

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """A text attribute that must be one of the allowed."""
        value = self.text(name, default)
        if value not in allowed:
            self.unsupported(f"is `{value}`", attribute=name, supported=allowed)
        return value

    def axis(self, name: str, default: int, rank: int) -> int:
        """An axis attribute, counted from the front."""
        return self.normal_axis(self.integer(name, default), rank)

    def normal_axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < max(rank, 1):
            raise ShapeError(f"node `{self.label}`: axis {axis} of rank {rank}")
        return axis % rank if rank else 0

    def ignore(self, *names: str) -> None:
        """Attributes without a meaning here."""
        self._read.update(names)

    def add(self, op: Op, *inputs: Value) -> Value:
        return self.build.add(op, *inputs)

    def constant(self, data: Any, dtype: str | None = None) -> Value:
        return self.build.constant(np.asarray(data), dtype)

    def as_operator(self, name: str, *inputs: Value | None, opset: int | None = None) -> Value:
        """What the operator of another name makes of the inputs with this node's attributes; its first result."""
        proto = replace(self.proto, op_type=name, output=self.proto.output[:1])
        other = OnnxNode(proto, list(inputs), self.build, opset or self.opset, self.label, self.import_body, self.dims)
        result = OPERATORS[name](other)
        self._read |= other._read
        return result if isinstance(result, Value) else result[0]

    def unsupported(self, why: str, attribute: str | None = None, supported: Sequence[str] = ()) -> NoReturn:
        raise UnsupportedOperatorError(
            self.op, self.label, why=why, opset=self.opset, attribute=attribute, supported=supported
        )

    def check_all_read(self) -> None:
        for name in self._attributes.keys() - self._read:
            self.unsupported("is not supported", attribute=name)


class Body(NamedTuple):
    """A graph inside the graph, and what it reads from outside, in the order of its last inputs."""

    graph: Graph
    captured: list[Value]


class BodyImporter(Protocol):
    """Imports a graph attribute: into a graph of its own with inputs of the types, or (None) in place, of `given`."""

    def __call__(
        self, graph: GraphProto, types: Sequence[TensorType] | None, given: Sequence[Value] = ()
    ) -> "Body | list[Value]": ...


class _Scope(dict[str, Value]):
    """Names inside a body; those of the graph around it become inputs when they are first asked for."""

    def __init__(self, build: Builder, outer: Mapping[str, Value]) -> None:
        super().__init__()
        self.build = build
        self.outer = outer
        self.captured: list[Value] = []

    def __missing__(self, name: str) -> Value:
        value = self.outer[name]
        if value.data is None:
            self.captured.append(value)
            value = self.build.input(f"outer {len(self.captured)}", value.type)
        self[name] = value
        return value


class _Importer:
    def __init__(self, model: ModelProto, shapes: Mapping[str, Sequence[int]], folder: Path | None) -> None:
        self.model = model
        self.shapes = {name: tuple(int(d) for d in shape) for name, shape in shapes.items()}
        self.folder = folder
        self.build = Builder()
        self.dims: dict[Value, Value] = {}
        self.opset = next((o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAINS), 1)
        if not 1 <= self.opset <= OPSET_MAX:
            raise OnnxFormatError(f"the model is of operator set {self.opset}, known are 1..{OPSET_MAX}")

    def run(self) -> Graph:
        graph = self.model.graph
        assert graph is not None
        self._check_shape_names(graph)
        values = self._initializers(graph)
        for info in graph.input:
            if info.name not in values:
                values[info.name] = self.build.input(info.name, self._input_type(info))
        self._nodes(graph.node, values, values)
        outputs = []
        for info in graph.output:
            if info.name not in values:
                raise OnnxFormatError(f"output `{info.name}`: no node makes it")
            _check_declared(info, values[info.name])
            outputs.append((info.name, values[info.name]))
        dims = {name: self.dims[value] for name, value in outputs if value in self.dims}
        return self.build.finish(outputs, dims)

    def _initializers(self, graph: GraphProto) -> dict[str, Value]:
        if graph.sparse_initializer:
            raise UnsupportedOperatorError("Constant", graph.name, why="is sparse, which is not supported")
        values = {}
        for tensor in graph.initializer:
            data, dtype = read_tensor(tensor, self.folder)
            values[tensor.name] = self.build.weight(data, dtype, tensor.name)
        return values

    def _input_type(self, info: ValueInfoProto) -> TensorType:
        tensor = info.type.tensor_type if info.type else None
        if tensor is None:
            self._refuse_input(info.name, "a sequence, map or optional")
        if (dtype := ONNX_DTYPES.get(tensor.elem_type)) is None:
            self._refuse_input(info.name, UNHELD_DTYPES.get(tensor.elem_type, f"data type number {tensor.elem_type}"))
        if info.name in self.shapes:
            return self._given_type(info.name, dtype, tensor.shape.dim if tensor.shape else None)
        dims = tensor.shape.dim if tensor.shape else None
        left_open = ["?"] if dims is None else [d.dim_param or "?" for d in dims if _is_open(d)]
        if left_open or dims is None:
            raise ShapeError(
                f"input `{info.name}`: dimensions {', '.join(f'`{d}`' for d in left_open)} are left open",
                hint=f'give its shape: shapes={{"{info.name}": (…)}}, or --shape {info.name}=1,3,…',
            )
        return self._checked(info.name, TensorType(dtype, tuple(d.dim_value or 0 for d in dims)))

    def _refuse_input(self, name: str, what: str) -> NoReturn:
        """Names the first node that reads the input: what the model needs that is not there."""
        assert self.model.graph is not None
        reader = next((n for n in self.model.graph.node if name in n.input), None)
        operator_name, label = ("input", name)
        if reader is not None:
            operator_name, label = _full_name(reader.op_type, reader.domain), _label_of(reader)
        why = f"reads the input `{name}`, {what}, which is not supported"
        raise UnsupportedOperatorError(
            operator_name, label, why=why, opset=self.opset, supported=("tensors of numbers",)
        )

    def _given_type(self, name: str, dtype: str, dims: Sequence[Any] | None) -> TensorType:
        shape = self.shapes[name]
        fits = dims is None or (
            len(dims) == len(shape) and all(_is_open(d) or d.dim_value == s for d, s in zip(dims, shape, strict=True))
        )
        if not fits:
            declared = [d.dim_param or "?" if _is_open(d) else d.dim_value for d in dims or ()]
            raise ShapeError(f"input `{name}`: shape {list(shape)} was given, the model declares {declared}")
        return self._checked(name, TensorType(dtype, shape))

    def _checked(self, name: str, type_: TensorType) -> TensorType:
        if any(d < 0 for d in type_.shape) or type_.elements > ELEMENTS_MAX:
            raise ShapeError(f"input `{name}`: shape {list(type_.shape)} is out of bounds")
        return type_

    def _check_shape_names(self, graph: GraphProto) -> None:
        known = [i.name for i in graph.input]
        for name in self.shapes.keys() - set(known):
            raise ShapeError(f"shapes: the model has no input `{name}`; its inputs: {', '.join(known)}")

    def _nodes(self, nodes: list[NodeProto], values: dict[str, Value], known: Iterable[str]) -> None:
        for proto in in_order(nodes, known):
            label = _label_of(proto)
            inputs = [values[name] if name else None for name in proto.input]
            results = zip(proto.output, self._node(proto, inputs, label, values), strict=False)
            values.update((name, value) for name, value in results if name)

    def _body(
        self,
        outer: dict[str, Value],
        graph: GraphProto,
        types: Sequence[TensorType] | None,
        given: Sequence[Value] = (),
    ) -> Body | list[Value]:
        """A graph attribute, as a graph of its own or (types None) into the graph at hand."""
        if types is None:
            inner = dict(outer) | self._initializers(graph)
            inner.update((info.name, v) for info, v in zip(graph.input, given, strict=True))
            self._nodes(graph.node, inner, inner)
            return [_declared(info, inner) for info in graph.output]
        before, self.build = self.build, Builder(self.build.room)
        try:
            scope = _Scope(self.build, outer)
            inputs = [self.build.input(f"in {i}", t) for i, t in enumerate(types)]
            scope.update(zip((info.name for info in graph.input), inputs, strict=False))
            scope.update(self._initializers(graph))
            self._nodes(graph.node, scope, {*outer, *scope})
            for info, value in zip(graph.input, inputs, strict=False):
                _check_declared(info, value)
            results = [_declared(info, scope) for info in graph.output]
            self._refuse_open([*scope.captured, *results])
            return Body(self.build.finish((f"out {i}", v) for i, v in enumerate(results)), scope.captured)
        finally:
            before.room, self.build = self.build.room, before

    def _refuse_open(self, values: Iterable[Value]) -> None:
        """A body neither reads nor gives tensors of unknown size."""
        if found := next((v for v in values if v in self.dims), None):
            why = f"is a tensor of unknown size (at most {found.type}), read or made by a body, which is not supported"
            raise UnsupportedOperatorError("body", found.name, why=why, opset=self.opset)

    def _node(
        self, proto: NodeProto, inputs: list[Value | None], label: str, scope: dict[str, Value]
    ) -> Sequence[Value]:
        full_name = _full_name(proto.op_type, proto.domain)
        if (importer := OPERATORS.get(full_name)) is None:
            raise UnsupportedOperatorError(full_name, label, opset=self.opset if full_name == proto.op_type else None)
        self.build.label = label
        dims, inputs = self._sized(proto, full_name, inputs)
        half = None if full_name in KEEPS_HALVES else _half_of(inputs)
        widened = [self._converted(v, half, "float32") for v in inputs] if half else inputs
        node = OnnxNode(proto, widened, self.build, self.opset, label, partial(self._body, scope), self.dims)
        try:
            result = importer(node)
        except TypeError as error:  # the expression table has no such operation for these dtypes
            kinds = ", ".join(v.dtype for v in inputs if v is not None)
            raise UnsupportedOperatorError(
                proto.op_type, label, why=f"of {kinds}: {error}", opset=self.opset
            ) from error
        except _MISFITS as error:
            shown = ", ".join(str(v.type) if v else "nothing" for v in inputs)
            raise ShapeError(
                f"node `{label}`: `{proto.op_type}` (opset {self.opset}) of {shown}: inputs or attributes do not fit",
                hint="onnx.checker says what the file has wrong",
            ) from error
        except UnsupportedOperatorError as error:
            if error.node == label or not any(a.g for a in proto.attribute):
                raise
            why = f"has a body that cannot be compiled: {error.message}"
            raise UnsupportedOperatorError(proto.op_type, label, why=why, opset=self.opset, hint=error.hint) from error
        except LittoralError as error:
            shown = ", ".join(str(v.type) if v else "nothing" for v in inputs)
            error.add_note(f"{proto.op_type} `{label}`, opset {self.opset}, inputs: {shown}")
            raise
        node.check_all_read()
        results = [result] if isinstance(result, Value) else list(result)
        if half:
            results = [self._narrowed(v, half) for v in results]
        if dims is not None:
            self.dims.update((v, dims) for v in results)
        if any(name for name in proto.output[len(results) :]):
            node.unsupported(f"has more than {len(results)} outputs")
        return results

    def _sized(
        self, proto: NodeProto, full_name: str, inputs: list[Value | None]
    ) -> tuple[Value | None, list[Value | None]]:
        """The actual dimensions of an operator's results by element, where inputs are of unknown size; and its inputs.

        Inputs of different shapes are spread over the dimensions that they have together.
        """
        open_ = [v for v in inputs if v is not None and v in self.dims]
        if not open_ or full_name in TAKES_ANY_SIZE:
            return None, inputs
        if full_name not in BY_ELEMENT:
            why = "of a tensor whose shape depends on data"
            raise UnsupportedOperatorError(proto.op_type, self.build.label, why=why, opset=self.opset)
        if full_name == "CastLike":
            return self.dims.get(open_[0]) if inputs[0] in self.dims else None, inputs
        rank = open_[0].type.rank
        others = [v for v in inputs if v is not None and v not in self.dims]
        alike = all(v.shape == open_[0].shape and self.dims[v] is self.dims[open_[0]] for v in open_)
        if alike and all(v.type.elements == 1 and v.type.rank <= rank for v in others):
            return self.dims[open_[0]], inputs
        return spread_together(self.build, self.dims, inputs)

    def _narrowed(self, value: Value, half: str) -> Value:
        found = self._converted(value, "float32", half) or value
        if value in self.dims:
            self.dims[found] = self.dims[value]
        return found

    def _converted(self, value: Value | None, source: str, target: str) -> Value | None:
        if value is None or value.dtype != source:
            return value
        return self.build.add(Map(convert(Arg(source, 0), target)), value)


def _declared(info: ValueInfoProto, values: Mapping[str, Value]) -> Value:
    """The value of a body's output."""
    value = values[info.name]
    _check_declared(info, value)
    return value


def _check_declared(info: ValueInfoProto, value: Value) -> None:
    """Raises OnnxFormatError where the file says that the tensor is of another dtype. Many files say nothing."""
    tensor = info.type.tensor_type if info.type else None
    if tensor is None or tensor.elem_type == 0:
        return
    if (dtype := ONNX_DTYPES.get(tensor.elem_type)) != value.dtype:
        said = dtype or UNHELD_DTYPES.get(tensor.elem_type, f"data type number {tensor.elem_type}")
        raise OnnxFormatError(f"tensor `{info.name}` is declared as {said}, it is {value.dtype}")


def _label_of(proto: NodeProto) -> str:
    """What a node is called in errors and reports."""
    return proto.name or (proto.output[0] if proto.output else proto.op_type)


def _is_open(dim: DimProto) -> bool:
    """Whether a dimension is left to the caller; some exporters write that as −1."""
    return dim.dim_value in (None, -1)


def _half_of(inputs: Sequence[Value | None]) -> str | None:
    """The half-precision dtype among the inputs."""
    return next((v.dtype for v in inputs if v is not None and v.dtype in ("float16", "bfloat16")), None)


def import_model(model: ModelProto, shapes: Mapping[str, Sequence[int]], folder: Path | None) -> Graph:
    """The model as a graph with every dimension known.

    shapes: for inputs whose dimensions are left open. folder: where external data lie.
    Raises OnnxFormatError, ShapeError or UnsupportedOperatorError.
    """
    return _Importer(model, shapes, folder).run()
