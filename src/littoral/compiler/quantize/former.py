"""What was chosen for a model before, so that one of which most layers are the same keeps it for these.

Every scale behind a changed layer depends on what that layer makes, and so would all bytes: whoever has the file before
would fetch nearly all of the next. A layer whose weights in float32 did not change, and that reads bytes with the same
scale, keeps its bytes; a scale is kept as long as it holds what the feeds show nearly as well as one found anew.
"""

import hashlib
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from littoral.compiler.ir.graph import Graph, Node, Value
from littoral.compiler.ir.quanta import Scheme
from littoral.compiler.quantize.corrections import Whole
from littoral.compiler.quantize.marks import ROWS, Marks
from littoral.compiler.quantize.observe import Seen
from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.ranges import HIGHEST, error_of, widened
from littoral.compiler.quantize.tables import looked_up
from littoral.compiler.quantize.wanted import is_product
from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["Fit", "Former", "decode_fit", "encode_fit", "noted"]

FORM = "littoral-fit-1"
ERROR_MAX = 1.5
"""Times the square error of a range found anew: more is not kept."""

SLACK_MAX, COARSER_MAX = 0.05, 1.25
"""Of a range that a table reads: what may lie outside, and how much coarser its steps may be."""

_Count = Annotated[int, Meta(ge=0, le=1 << 32)]


class LayerFit(msgspec.Struct, forbid_unknown_fields=True):
    """A product's weights in whole numbers. sha256: of its weights and bias in float32."""

    sha256: bytes
    bits: _Count
    by_row: bool
    shape: list[_Count]
    weights: bytes
    scale: bytes
    bias: bytes


class ValueFit(msgspec.Struct, forbid_unknown_fields=True):
    """scheme: dtype, scale, zero, low, high of the bytes that hold it. unit: float32 by which channels are divided.
    ranges: how the range was found.
    """

    scheme: tuple[str, float, int, int, int] | None = None
    unit: bytes | None = None
    ranges: str = ""


class Fit(msgspec.Struct, forbid_unknown_fields=True):
    """nodes: what each does, but for its weights. layers: products by the node. values: by node, −1 = the inputs, and
    output. lost: of the cosine to float32.
    """

    form: str
    bits: int | str
    lost: float
    nodes: list[bytes]
    layers: dict[int, LayerFit]
    values: list[tuple[int, int, ValueFit]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Fit)


def encode_fit(fit: Fit) -> bytes:
    """As a file has it."""
    return _encoder.encode(fit)


def decode_fit(data: bytes, where: str) -> Fit:
    """where: for the error. Raises InputError for what is no fit."""
    try:
        fit = _decoder.decode(data)
        if fit.form != FORM:
            raise InputError(f"{where}: form `{fit.form[:40]}`, this version reads `{FORM}`", hint="build without it")
        for layer in fit.layers.values():
            _whole(layer)
        for _, _, value in fit.values:
            _scheme(value), _unit(value)
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{where}: not a fit that `littoral build` has written: {error}") from error
    return fit


def _whole(layer: LayerFit) -> Whole:
    weights = np.frombuffer(layer.weights, np.int8).reshape(layer.shape)
    scale, bias = (np.frombuffer(data, "<f4").astype(np.float32) for data in (layer.scale, layer.bias))
    if len(scale) != len(bias) or not (np.isfinite(scale).all() and np.isfinite(bias).all()):
        raise ValueError("a layer's scales or biases are no numbers, or not as many")
    return Whole(weights, scale, bias)


def _unit(value: ValueFit) -> Array | None:
    if value.unit is None:
        return None
    unit: Array = np.frombuffer(value.unit, "<f4").astype(np.float32)
    if not (np.isfinite(unit).all() and (unit > 0).all()):
        raise ValueError("a channel is divided by what is no number above 0")
    return unit


def _scheme(value: ValueFit) -> Scheme | None:
    if value.scheme is None:
        return None
    found = Scheme(*value.scheme)
    if found.dtype != "uint8" or not (np.isfinite(found.scale) and found.scale > 0 and found.low < found.high <= 255):
        raise ValueError("a value's scheme holds nothing")
    return found


def _token(node: Node) -> bytes:
    """What the node does."""
    return hashlib.blake2b(repr(node.op).encode(), digest_size=8, person=b"littoral-node").digest()


def _digest(node: Node) -> bytes:
    """Of a product's weights and bias."""
    found = hashlib.sha256()
    for value in node.inputs[1 : 2 + node.op.bias]:  # type: ignore[attr-defined]
        assert value.data is not None
        found.update(repr(value.shape).encode())
        found.update(np.ascontiguousarray(value.data).tobytes())
    return found.digest()


def _values(graph: Graph) -> Iterator[tuple[int, int, Value]]:
    """All that is computed, or given."""
    yield from ((-1, i, value) for i, value in enumerate(graph.inputs))
    yield from ((at, i, value) for at, node in enumerate(graph.nodes) for i, value in enumerate(node.outputs))


def noted(
    given: Graph,
    exact: Graph,
    units: Mapping[Value, Array],
    marks: Marks,
    bits: Mapping[Node, int],
    ranges: Mapping[Value, str],
    asked: Int8,
    cosine: float,
) -> Fit:
    """For the model after this one. units: of values of `given`; all else is of `exact`, the same divided by them."""
    values: list[tuple[int, int, ValueFit]] = []
    for (at, i, before), (_, _, value) in zip(_values(given), _values(exact), strict=True):
        unit, scheme = units.get(before), marks.schemes.get(value)
        told = None if scheme is None else (scheme.dtype, scheme.scale, scheme.zero, scheme.low, scheme.high)
        if unit is not None or told is not None:
            raw = None if unit is None else unit.astype("<f4").tobytes()
            values.append((at, i, ValueFit(told, raw, ranges.get(value, ""))))
    layers: dict[int, LayerFit] = {}
    for at, (before_node, node) in enumerate(zip(given.nodes, exact.nodes, strict=True)):
        if (whole := marks.weights.get(node)) is not None:
            layers[at] = LayerFit(
                sha256=_digest(before_node),
                bits=bits[node],
                by_row=node in marks.rows,
                shape=list(whole.weights.shape),
                weights=whole.weights.astype(np.int8).tobytes(),
                scale=whole.scale.astype("<f4").tobytes(),
                bias=whole.bias.astype("<f4").tobytes(),
            )
    return Fit(FORM, asked.bits, 1 - cosine, [_token(node) for node in given.nodes], layers, values)


class Kept(NamedTuple):
    """Of the new graph, divided as before. schemes: that hold still, and how their ranges were found. bits, rows: of
    products that were of bytes. weights: of layers that did not change, with the scheme that each reads by.
    missing: values that need another scheme; strangers: products that were not there.
    """

    schemes: dict[Value, Scheme]
    ranges: dict[Value, str]
    bits: dict[Node, int]
    rows: set[Node]
    weights: dict[Node, tuple[Whole, Scheme]]
    missing: set[Value]
    strangers: set[Node]


class Former:
    """A fit beside the graph that is to be fitted. Which node was which: the longest runs that do the same."""

    def __init__(self, fit: Fit, given: Graph) -> None:
        self._fit = fit
        self._given = given
        self._values = {(at, i): value for at, i, value in fit.values}
        self._at = {value: (at, i) for at, i, value in _values(given)}
        own = [_token(node) for node in given.nodes]
        runs = SequenceMatcher(None, fit.nodes, own, autojunk=False).get_matching_blocks()
        self._before = {run.b + i: run.a + i for run in runs for i in range(run.size)}
        self._before[-1] = -1

    @property
    def lost(self) -> float:
        """Of the cosine, by the model before."""
        return self._fit.lost

    def units(self) -> dict[Value, Array | None]:
        """Of every value that was there: by what its channels are divided; None = by nothing."""
        found: dict[Value, Array | None] = {}
        for at, i, value in _values(self._given):
            if (before := self._before.get(at)) is not None:
                unit = _unit(self._values.get((before, i), ValueFit()))
                if unit is None or unit.shape == value.shape[-1:]:
                    found[value] = unit
        return found

    def kept(
        self, exact: Graph, units: Mapping[Value, Array], seen: Mapping[Value, Seen], anew: Mapping[Value, Scheme]
    ) -> Kept:
        """What holds of it. units: of values of the graph given; exact: that graph, divided by them. anew: schemes that
        would be found now.
        """
        kept = Kept({}, {}, {}, set(), {}, set(), set())
        values = zip(_values(self._given), _values(exact), strict=True)
        known = {value: self._before.get(at) for (at, _, _), (_, _, value) in values}
        were = dict(self._schemes(exact, seen))
        tables = looked_up(exact, were, seen)
        for value, was in were.items():
            if value in tables:
                kept.schemes[value] = was if _covers(was, tables[value]) else tables[value]
            elif _holds(was, seen[value], anew[value]):
                kept.schemes[value] = was
            else:
                kept.missing.add(value)
        kept.missing.update(value for value in seen if known[value] is None)
        for (at, i, _), (_, _, value) in zip(_values(self._given), _values(exact), strict=True):
            if value in kept.schemes:
                kept.ranges[value] = self._values[self._before[at], i].ranges
        for at, (given, node) in enumerate(zip(self._given.nodes, exact.nodes, strict=True)):
            if not is_product(node):
                continue
            if at not in self._before:
                kept.strangers.add(node)
            elif (layer := self._fit.layers.get(self._before[at])) is not None:
                kept.bits[node] = layer.bits
                if layer.by_row:
                    kept.rows.add(node)
                if self._is_same(given, node, layer, units, kept):
                    kept.weights[node] = (_whole(layer), ROWS if layer.by_row else kept.schemes[node.inputs[0]])
        return kept

    def _schemes(self, exact: Graph, seen: Mapping[Value, Seen]) -> Iterator[tuple[Value, Scheme]]:
        """Of values that are to be held in bytes, what they were held by."""
        for (at, i, _), (_, _, value) in zip(_values(self._given), _values(exact), strict=True):
            before = self._before.get(at)
            one = None if before is None else self._values.get((before, i))
            if one is not None and value in seen and (scheme := _scheme(one)) is not None:
                yield value, scheme

    def _is_same(self, given: Node, node: Node, layer: LayerFit, units: Mapping[Value, Array], kept: Kept) -> bool:
        """Whether all that its bytes depend on is as it was, but for what the feeds show."""
        if layer.sha256 != _digest(given) or layer.shape != list(node.inputs[1].shape):
            return False
        if not layer.by_row and node.inputs[0] not in kept.schemes:
            return False
        return all(self._is_divided_alike(value, units) for value in (given.inputs[0], given.outputs[0]))

    def _is_divided_alike(self, value: Value, units: Mapping[Value, Array]) -> bool:
        at, i = self._at[value]
        if (before := self._before.get(at)) is None:
            return False
        then, now = _unit(self._values.get((before, i), ValueFit())), units.get(value)
        return now is None if then is None else now is not None and np.array_equal(then, now)


def _holds(scheme: Scheme, seen: Seen, anew: Scheme) -> bool:
    """Whether it is about as good as one found anew."""
    if scheme.high > HIGHEST:
        anew = widened(anew, seen)
    sample = seen.sample()
    return error_of(sample, scheme) <= ERROR_MAX * error_of(sample, anew)


def _covers(scheme: Scheme, anew: Scheme) -> bool:
    """Whether a table reads about as much by it, about as finely."""
    (low, high), (wanted_low, wanted_high) = (
        (-one.zero * one.scale, (one.high - one.zero) * one.scale) for one in (scheme, anew)
    )
    slack = SLACK_MAX * (wanted_high - wanted_low)
    return low <= wanted_low + slack and high >= wanted_high - slack and scheme.scale <= COARSER_MAX * anew.scale
