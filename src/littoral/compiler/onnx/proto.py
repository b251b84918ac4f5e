"""ONNX's protobuf messages, read with bounds: a wire-format decoder driven by one table of fields.

Only the fields the compiler uses are kept; others are skipped, as protobuf asks. Every length is checked against what
is left, nesting and the number of messages are bounded, and large data stay views of the file.
Wire format: protobuf encoding guide. Field numbers: onnx.proto of ONNX 1.23.
"""

import struct
from array import array
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from littoral.errors import OnnxFormatError

__all__ = [
    "AttributeProto",
    "DimProto",
    "FunctionProto",
    "GraphProto",
    "ModelProto",
    "NodeProto",
    "OperatorSetProto",
    "StringPairProto",
    "TensorProto",
    "TensorTypeProto",
    "TypeProto",
    "ValueInfoProto",
    "decode_model",
]

MESSAGES_MAX = 500_000  # and texts
NODES_MAX = 50_000
NUMBERS_MAX = 1 << 25  # written as varints in tensors
LISTED_MAX = 1 << 21  # numbers elsewhere
_CHUNK_BYTES = 1 << 20
DEPTH_MAX = 40


@dataclass(slots=True)
class StringPairProto:
    key: str = ""
    value: str = ""


@dataclass(slots=True)
class OperatorSetProto:
    domain: str = ""
    version: int = 0


@dataclass(slots=True)
class TensorProto:
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    name: str = ""
    raw_data: memoryview | None = None
    float_data: "array[float]" = field(default_factory=lambda: array("f"))
    double_data: "array[float]" = field(default_factory=lambda: array("d"))
    int32_data: "array[int]" = field(default_factory=lambda: array("q"))
    int64_data: "array[int]" = field(default_factory=lambda: array("q"))
    uint64_data: "array[int]" = field(default_factory=lambda: array("q"))
    string_data: list[bytes] = field(default_factory=list)
    external_data: list[StringPairProto] = field(default_factory=list)
    data_location: int = 0


@dataclass(slots=True)
class DimProto:
    dim_value: int | None = None
    dim_param: str = ""


@dataclass(slots=True)
class ShapeProto:
    dim: list[DimProto] = field(default_factory=list)


@dataclass(slots=True)
class TensorTypeProto:
    elem_type: int = 0
    shape: ShapeProto | None = None


@dataclass(slots=True)
class TypeProto:
    """tensor_type is None for sequences, maps, optionals and sparse tensors."""

    tensor_type: TensorTypeProto | None = None


@dataclass(slots=True)
class ValueInfoProto:
    name: str = ""
    type: TypeProto | None = None


@dataclass(slots=True)
class AttributeProto:
    name: str = ""
    type: int = 0
    f: float = 0.0
    i: int = 0
    s: bytes = b""
    t: TensorProto | None = None
    g: "GraphProto | None" = None
    floats: list[float] = field(default_factory=list)
    ints: list[int] = field(default_factory=list)
    strings: list[bytes] = field(default_factory=list)
    ref_attr_name: str = ""


@dataclass(slots=True)
class NodeProto:
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    name: str = ""
    op_type: str = ""
    domain: str = ""
    overload: str = ""
    attribute: list[AttributeProto] = field(default_factory=list)


@dataclass(slots=True)
class GraphProto:
    name: str = ""
    node: list[NodeProto] = field(default_factory=list)
    initializer: list[TensorProto] = field(default_factory=list)
    sparse_initializer: list[memoryview] = field(default_factory=list)
    input: list[ValueInfoProto] = field(default_factory=list)
    output: list[ValueInfoProto] = field(default_factory=list)
    value_info: list[ValueInfoProto] = field(default_factory=list)


@dataclass(slots=True)
class FunctionProto:
    name: str = ""
    domain: str = ""
    overload: str = ""
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    attribute: list[str] = field(default_factory=list)
    attribute_proto: list[AttributeProto] = field(default_factory=list)
    node: list[NodeProto] = field(default_factory=list)
    opset_import: list[OperatorSetProto] = field(default_factory=list)


@dataclass(slots=True)
class ModelProto:
    ir_version: int = 0
    producer_name: str = ""
    graph: GraphProto | None = None
    opset_import: list[OperatorSetProto] = field(default_factory=list)
    functions: list[FunctionProto] = field(default_factory=list)


class Field(NamedTuple):
    """kind: int, float, double, text, bytes, view, or a message class; `many` for repeated fields."""

    name: str
    kind: Any
    many: bool = False


_FIELDS: dict[type, dict[int, Field]] = {
    StringPairProto: {1: Field("key", "text"), 2: Field("value", "text")},
    OperatorSetProto: {1: Field("domain", "text"), 2: Field("version", "int")},
    TensorProto: {
        1: Field("dims", "int", True),
        2: Field("data_type", "int"),
        4: Field("float_data", "float", True),
        5: Field("int32_data", "int", True),
        6: Field("string_data", "bytes", True),
        7: Field("int64_data", "int", True),
        8: Field("name", "text"),
        9: Field("raw_data", "view"),
        10: Field("double_data", "double", True),
        11: Field("uint64_data", "int", True),
        13: Field("external_data", StringPairProto, True),
        14: Field("data_location", "int"),
    },
    DimProto: {1: Field("dim_value", "int"), 2: Field("dim_param", "text")},
    ShapeProto: {1: Field("dim", DimProto, True)},
    TensorTypeProto: {1: Field("elem_type", "int"), 2: Field("shape", ShapeProto)},
    TypeProto: {1: Field("tensor_type", TensorTypeProto)},
    ValueInfoProto: {1: Field("name", "text"), 2: Field("type", TypeProto)},
    AttributeProto: {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "int"),
        4: Field("s", "bytes"),
        5: Field("t", TensorProto),
        6: Field("g", GraphProto),
        7: Field("floats", "float", True),
        8: Field("ints", "int", True),
        9: Field("strings", "bytes", True),
        20: Field("type", "int"),
        21: Field("ref_attr_name", "text"),
    },
    NodeProto: {
        1: Field("input", "text", True),
        2: Field("output", "text", True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: Field("attribute", AttributeProto, True),
        7: Field("domain", "text"),
        8: Field("overload", "text"),
    },
    GraphProto: {
        1: Field("node", NodeProto, True),
        2: Field("name", "text"),
        5: Field("initializer", TensorProto, True),
        11: Field("input", ValueInfoProto, True),
        12: Field("output", ValueInfoProto, True),
        13: Field("value_info", ValueInfoProto, True),
        15: Field("sparse_initializer", "view", True),
    },
    FunctionProto: {
        1: Field("name", "text"),
        4: Field("input", "text", True),
        5: Field("output", "text", True),
        6: Field("attribute", "text", True),
        7: Field("node", NodeProto, True),
        9: Field("opset_import", OperatorSetProto, True),
        10: Field("domain", "text"),
        11: Field("attribute_proto", AttributeProto, True),
        13: Field("overload", "text"),
    },
    ModelProto: {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "text"),
        7: Field("graph", GraphProto),
        8: Field("opset_import", OperatorSetProto, True),
        25: Field("functions", FunctionProto, True),
    },
}

_T = TypeVar("_T")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HINT = "the file is damaged or no ONNX file: export or copy it again"
_WIRE = {"int": _VARINT, "float": _FIXED32, "double": _FIXED64}
_UNPACK: dict[str, tuple[str, int]] = {"float": ("<f", 4), "double": ("<d", 8)}


def decode_model(data: bytes) -> ModelProto:
    """The model in a file's bytes. Raises OnnxFormatError, naming the message and the byte."""
    if not data:
        raise OnnxFormatError("not an ONNX model: the file is empty")
    model = _Decoder(memoryview(data)).message(ModelProto, 0, len(data), 0)
    if model.graph is None or model.ir_version == 0:
        raise OnnxFormatError("not an ONNX model: no graph inside", hint="give a file written by an ONNX exporter")
    return model


class _Decoder:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.messages = 0
        self.nodes = 0
        self.numbers = 0
        self.listed = 0

    def message(self, kind: type[_T], at: int, stop: int, depth: int) -> _T:
        self._count(kind, at, depth)
        found = kind()
        fields = _FIELDS[kind]
        while at < stop:
            tag, at = self._varint(at, stop, kind)
            wire = tag & 7
            if (row := fields.get(tag >> 3)) is None:
                at = self._skip(wire, at, stop, kind)
            elif wire == _BYTES:
                size, at = self._varint(at, stop, kind)
                if size > stop - at:
                    raise self._wrong(kind, at, f"field `{row.name}` of {size} bytes, {stop - at} are left")
                self._delimited(found, row, at, at + size, depth)
                at += size
            else:
                at = self._scalar(found, row, wire, at, stop)
        return found

    def _count(self, kind: type, at: int, depth: int) -> None:
        self.messages += 1
        self.nodes += kind is NodeProto
        if self.messages > MESSAGES_MAX or self.nodes > NODES_MAX:
            raise self._wrong(kind, at, f"more than {NODES_MAX} nodes or {MESSAGES_MAX} messages and texts")
        if depth > DEPTH_MAX:
            raise self._wrong(kind, at, f"nested deeper than {DEPTH_MAX}")

    def _delimited(self, found: Any, row: Field, start: int, stop: int, depth: int) -> None:
        value: Any
        if isinstance(row.kind, type):
            value = self.message(row.kind, start, stop, depth + 1)
            self._put(found, row, value)
            return
        if row.kind in ("view", "bytes", "text"):
            self._count(type(found), start, depth)
        if row.kind == "view":
            value = self.data[start:stop]
        elif row.kind == "bytes":
            value = bytes(self.data[start:stop])
        elif row.kind == "text":
            try:
                value = str(self.data[start:stop], "utf-8")
            except UnicodeDecodeError as error:
                raise self._wrong(type(found), start, f"field `{row.name}` is no UTF-8") from error
        elif row.many:
            self._packed(getattr(found, row.name), row, start, stop, type(found))
            return
        else:
            raise self._wrong(type(found), start, f"field `{row.name}` has another wire type")
        self._put(found, row, value)

    def _packed(self, into: Any, row: Field, at: int, stop: int, kind: type) -> None:
        """Appends numbers that lie one after the other."""
        if row.kind in _UNPACK:
            form, size = _UNPACK[row.kind]
            if (stop - at) % size:
                raise self._wrong(kind, at, f"field `{row.name}` of {stop - at} bytes, not a multiple of {size}")
            if isinstance(into, array):
                into.frombytes(self.data[at:stop])
                return
            self._tell(into, (stop - at) // size, kind, at)
            into.extend(struct.unpack(f"<{(stop - at) // size}{form[1]}", self.data[at:stop]))
            return
        while at < stop:
            end = self._whole_varints(at, min(at + _CHUNK_BYTES, stop), kind)
            values = _varints(self.data[at:end])
            self._tell(into, len(values), kind, at)
            if isinstance(into, array):
                into.frombytes(values.tobytes())
            else:
                into.extend(values.tolist())
            at = end

    def _whole_varints(self, at: int, stop: int, kind: type) -> int:
        """Where the last number that ends before `stop` ends."""
        for end in range(stop, max(at, stop - 11), -1):
            if self.data[end - 1] < 0x80:
                return end
        raise self._wrong(kind, at, "a number is cut off or too long")

    def _tell(self, into: Any, count: int, kind: type, at: int) -> None:
        """Counts numbers that are held one by one."""
        if isinstance(into, array):
            self.numbers += count
        else:
            self.listed += count
        if self.numbers > NUMBERS_MAX or self.listed > LISTED_MAX:
            hint = "write the data of tensors as `raw_data`"
            raise self._wrong(kind, at, f"more than {NUMBERS_MAX} numbers in tensors or {LISTED_MAX} elsewhere", hint)

    def _scalar(self, found: Any, row: Field, wire: int, at: int, stop: int) -> int:
        if _WIRE.get(row.kind) != wire:
            raise self._wrong(type(found), at, f"field `{row.name}` has wire type {wire}")
        if wire == _VARINT:
            value, at = self._varint(at, stop, type(found))
            self._put(found, row, _signed(value))
            return at
        form, size = _UNPACK[row.kind]
        if size > stop - at:
            raise self._wrong(type(found), at, f"field `{row.name}` is cut off")
        self._put(found, row, struct.unpack(form, self.data[at : at + size])[0])
        return at + size

    def _put(self, found: Any, row: Field, value: Any) -> None:
        if row.many:
            into = getattr(found, row.name)
            if row.kind in _WIRE:
                self._tell([], 1, type(found), 0)
            into.append(value)
        else:
            setattr(found, row.name, value)

    def _varint(self, at: int, stop: int, kind: type) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= stop:
                break
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
        raise self._wrong(kind, at, "a number is cut off or too long")

    def _skip(self, wire: int, at: int, stop: int, kind: type) -> int:
        if wire == _VARINT:
            return self._varint(at, stop, kind)[1]
        if wire == _BYTES:
            size, at = self._varint(at, stop, kind)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise self._wrong(kind, at, f"wire type {wire}")
        if size > stop - at:
            raise self._wrong(kind, at, f"a field of {size} bytes, {stop - at} are left")
        return at + size

    def _wrong(self, kind: type, at: int, why: str, hint: str = _HINT) -> OnnxFormatError:
        name = kind.__name__.removesuffix("Proto")
        return OnnxFormatError(f"not a readable ONNX model: byte {at}, in a {name}: {why}", hint=hint)


def _varints(data: memoryview) -> Any:
    """Numbers of one to ten bytes, the last of which is below 128, as int64."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if len(octets) == len(ends):
        return octets.astype(np.int64)
    if sizes.max() > 10:
        raise OnnxFormatError("not a readable ONNX model: a number is too long")
    values = np.zeros(len(ends), np.uint64)
    for i in range(int(sizes.max())):
        here = sizes > i
        part = octets[starts[here] + i].astype(np.uint64) & np.uint64(0x7F)
        values[here] |= part << np.uint64(7 * i)
    return values.view(np.int64)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
