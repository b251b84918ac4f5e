"""The encoder as a graph: embeddings, layers of attention and a feed-forward step, pooling, length 1.

Shapes: batch, tokens, size; within attention batch, heads, tokens, size of a head.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from littoral.compiler.ir.expr import Arg, Expr, apply, cast, number
from littoral.compiler.ir.graph import Builder, Graph, Op, Value
from littoral.compiler.ir.ops import Concat, Gather, Map, MatMul, Reduce, Reshape, Slice, Softmax, Transpose
from littoral.compiler.ir.types import TensorType
from littoral.compiler.onnx.operators.elementwise import gelu_exact, gelu_tanh
from littoral.compiler.sentence.folder import SentenceFolder
from littoral.errors import ShapeError
from littoral.tensors import Array

__all__ = ["AXES", "INPUTS", "encoder_graph"]

BATCH_MAX = 4096
_FLOAT = "float32"
_IDS = "int64"
_LOWEST = float(np.finfo(np.float32).min)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# A token that the mask leaves out adds nothing to any sum: a sentence may be padded, and its embedding has no tokens.
AXES: Mapping[str, Mapping[str, Any]] = {"tokens": {"pad": 0}}
_ACTIVATIONS: dict[str, Callable[[Expr], Expr]] = {
    "gelu": gelu_exact,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": lambda x: x.at_least(0.0),
}


def encoder_graph(source: SentenceFolder, shapes: Mapping[str, Sequence[int]]) -> Graph:
    """Token ids and their mask (int64[batch, tokens]) to `embedding` (float32[batch, size]).

    shapes: of any input, (1, the model's longest sentence) if none is given. Tokens are of type 0, unless `shapes`
    names `token_type_ids`, which is an input then. Raises ShapeError, ModelError.
    """
    return _Encoder(source, _common_shape(source, shapes)).run(with_types="token_type_ids" in shapes)


def _common_shape(source: SentenceFolder, shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    for name in shapes.keys() - set(INPUTS):
        raise ShapeError(f"shapes: a sentence encoder has no input `{name}`; its inputs: {', '.join(INPUTS)}")
    found = {tuple(int(d) for d in shape) for shape in shapes.values()} or {(1, source.tokens_max)}
    if len(found) > 1:
        raise ShapeError(f"shapes: {', '.join(map(str, sorted(found)))} differ, all inputs have one shape")
    shape = found.pop()
    places = source.config.max_position_embeddings - source.config.first_position
    if len(shape) != 2 or not (1 <= shape[0] <= BATCH_MAX and 1 <= shape[1] <= places):
        raise ShapeError(
            f"shapes: {list(shape)} is not [batch, tokens] with at most {BATCH_MAX} sentences and {places} tokens"
        )
    return shape[0], shape[1]


class _Encoder:
    def __init__(self, source: SentenceFolder, shape: tuple[int, int]) -> None:
        self.config = source.config
        self.source = source
        self.weights = source.weights
        self.batch, self.tokens = shape
        self.build = Builder()

    def run(self, with_types: bool) -> Graph:
        wanted = INPUTS if with_types else INPUTS[:2]
        inputs = [self.build.input(name, TensorType(_IDS, (self.batch, self.tokens))) for name in wanted]
        ids, mask = inputs[:2]
        seen = self._labelled("mask", Map(cast(apply("ne", Arg(_IDS, 0), number(_IDS, 0)), _FLOAT)), mask)
        x = self._embeddings(ids, inputs[2] if with_types else None)
        hidden = self._labelled("mask", Map((Arg(_FLOAT, 0) - 1.0) * -_LOWEST), seen)
        hidden = self.build.add(Reshape((self.batch, 1, 1, self.tokens)), hidden)
        for i in range(self.config.num_hidden_layers):
            x = self._layer(f"encoder.layer.{i}.", x, hidden)
        return self.build.finish([("embedding", self._pooled(x, seen))])

    def _labelled(self, label: str, op: Op, *inputs: Value) -> Value:
        self.build.label = label
        return self.build.add(op, *inputs)

    def _constant(self, data: Array, name: str) -> Value:
        return self.build.weight(data, name=name)

    def _embeddings(self, ids: Value, types: Value | None) -> Value:
        """Words, positions and token types, summed and normalised."""
        config, size = self.config, self.config.hidden_size
        self.build.label = "embeddings"
        words = self._table("embeddings.word_embeddings.weight", config.vocab_size)
        x = self.build.add(Gather(0), words, ids)
        places = self.weights.take("embeddings.position_embeddings.weight", config.max_position_embeddings, size)
        first = config.first_position
        rows = places[first : first + self.tokens]
        kinds = self.weights.take("embeddings.token_type_embeddings.weight", config.type_vocab_size, size)
        if types is None:
            x = self._sum(x, self._constant(rows + kinds[0], "embeddings.positions"))
        else:
            x = self._sum(x, self._constant(np.ascontiguousarray(rows), "embeddings.positions"))
            x = self._sum(x, self.build.add(Gather(0), self._constant(kinds, "embeddings.types"), types))
        return self._normalized("embeddings.LayerNorm.", x)

    def _table(self, name: str, rows: int) -> Value:
        return self._constant(self.weights.take(name, rows, self.config.hidden_size), name)

    def _sum(self, *parts: Value) -> Value:
        return self.build.add(Map(Arg(_FLOAT, 0) + Arg(_FLOAT, 1)), *parts)

    def _normalized(self, name: str, x: Value) -> Value:
        """Layer normalisation along the last axis."""
        size = self.config.hidden_size
        a, b, c = (Arg(_FLOAT, i) for i in range(3))
        scale, bias = (self._constant(self.weights.take(name + part, size), name + part) for part in ("weight", "bias"))
        self.build.label = name.rstrip(".")
        mean = self.build.add(Reduce("sum", (2,), None, a * (1.0 / size)), x)
        centered = self.build.add(Map(a - b), x, mean)
        variance = self.build.add(Reduce("sum", (2,), a * a, a * (1.0 / size)), centered)
        inverse = self.build.add(Map(1.0 / apply("sqrt", a + self.config.layer_norm_eps)), variance)
        scaled = self.build.add(Map(a * b * c), centered, inverse, scale)
        return self._sum(scaled, bias)

    def _dense(self, name: str, x: Value, size: int) -> Value:
        """x · Wᵀ + b."""
        self.build.label = name
        weight = self._constant(self.weights.take(f"{name}.weight", size, x.shape[-1]), f"{name}.weight")
        bias = self._constant(self.weights.take(f"{name}.bias", size), f"{name}.bias")
        product = self.build.add(MatMul(), x, self.build.add(Transpose((1, 0)), weight))
        return self._sum(product, bias)

    def _layer(self, name: str, x: Value, hidden: Value) -> Value:
        config = self.config
        attended = self._attention(f"{name}attention.self.", x, hidden)
        out = self._dense(f"{name}attention.output.dense", attended, config.hidden_size)
        x = self._normalized(f"{name}attention.output.LayerNorm.", self._sum(out, x))
        inner = self._dense(f"{name}intermediate.dense", x, config.intermediate_size)
        inner = self.build.add(Map(_ACTIVATIONS[config.hidden_act](Arg(_FLOAT, 0))), inner)
        out = self._dense(f"{name}output.dense", inner, config.hidden_size)
        return self._normalized(f"{name}output.LayerNorm.", self._sum(out, x))

    def _attention(self, name: str, x: Value, hidden: Value) -> Value:
        """softmax(q · kᵀ / √size) · v in every head; what is masked adds the lowest number before."""
        size = self.config.hidden_size
        q, k, v = (self._heads(self._dense(name + part, x, size)) for part in ("query", "key", "value"))
        self.build.label = name + "scores"
        scores = self.build.add(MatMul(), q, self.build.add(Transpose((0, 1, 3, 2)), k))
        scale = 1.0 / math.sqrt(size // self.config.num_attention_heads)
        scores = self.build.add(Map(Arg(_FLOAT, 0) * scale + Arg(_FLOAT, 1)), scores, hidden)
        self.build.label = name + "shares"
        shares = self.build.add(Softmax(3), scores)
        self.build.label = name + "values"
        mixed = self.build.add(Transpose((0, 2, 1, 3)), self.build.add(MatMul(), shares, v))
        return self.build.add(Reshape((self.batch, self.tokens, size)), mixed)

    def _heads(self, x: Value) -> Value:
        heads = self.config.num_attention_heads
        shape = (self.batch, self.tokens, heads, self.config.hidden_size // heads)
        return self.build.add(Transpose((0, 2, 1, 3)), self.build.add(Reshape(shape), x))

    def _pooled(self, x: Value, seen: Value) -> Value:
        """One vector for each sentence."""
        self.build.label = "pooling"
        column = self.build.add(Reshape((self.batch, self.tokens, 1)), seen)
        parts = [self._pooled_by(mode, x, column) for mode in self.source.pooling]
        joined = parts[0] if len(parts) == 1 else self.build.add(Concat(1), *parts)
        if not self.source.normalize:
            return joined
        self.build.label = "normalize"
        a, b = Arg(_FLOAT, 0), Arg(_FLOAT, 1)
        length = self.build.add(Reduce("sum", (1,), a * a, apply("sqrt", a).at_least(1e-12)), joined)
        return self.build.add(Map(a / b), joined, length)

    def _pooled_by(self, mode: str, x: Value, seen: Value) -> Value:
        a, b = Arg(_FLOAT, 0), Arg(_FLOAT, 1)
        flat = Reshape((self.batch, self.config.hidden_size))
        if mode == "cls":
            shape = (self.batch, 1, self.config.hidden_size)
            return self.build.add(flat, self.build.add(Slice((0, 0, 0), (1, 1, 1), shape), x))
        if mode == "max":
            visible = apply("select", b > 0.0, a, number(_FLOAT, -1e9))
            return self.build.add(flat, self.build.add(Reduce("max", (1,)), self.build.add(Map(visible), x, seen)))
        total = self.build.add(Reduce("sum", (1,)), self.build.add(Map(a * b), x, seen))
        count = a.at_least(1e-9)
        divisor = apply("sqrt", count) if mode == "mean_sqrt_len" else count
        return self.build.add(
            flat, self.build.add(Map(a / b), total, self.build.add(Reduce("sum", (1,), None, divisor), seen))
        )
