"""Builds a random model node by node: shapes by ONNX's own inference, magnitudes within bounds."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17)
ELEMENTS_MAX = 6000
BOUND_MAX = 1e3
FLOAT = TensorProto.FLOAT
OPSET = 18


class Tensor(NamedTuple):
    """dtype: of ONNX. bound: no element's magnitude is larger, more or less."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    bound: float
    exact: bool = False


class Skip(Exception):  # noqa: N818
    """This step does not fit what is there."""


class Made(NamedTuple):
    model: onnx.ModelProto
    feeds: dict[str, Any]


def arrays_for(inputs: Sequence[Any], seed: int) -> dict[str, Any]:
    """Feeds for graph inputs."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in inputs:
        tensor = info.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found = rng.integers(0, 2, shape) if dtype.kind in "bui" else rng.uniform(-2, 2, shape)
        feeds[info.name] = np.asarray(found).astype(dtype)
    return feeds


class Maker:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.seed = seed
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Tensor] = []
        self.tensors: list[Tensor] = []
        self.count = 0

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def shape(self, rank: int) -> tuple[int, ...]:
        while True:
            found = tuple(self.rng.choice(SIZES) for _ in range(rank))
            if self.rng.random() < 0.05 and rank:
                found = (*found[:-1], 0)
            if np.prod(found) <= ELEMENTS_MAX:
                return found

    def input(self, shape: tuple[int, ...], dtype: int = FLOAT) -> Tensor:
        made = Tensor(self.fresh("x"), dtype, shape, 2.0, exact=True)
        self.inputs.append(made)
        self.tensors.append(made)
        return made

    def weight(self, array: Any) -> str:
        name = self.fresh("w")
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        return self.weight(self.numbers.uniform(low, high, shape).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.weight(np.asarray(values, np.int64))

    def pick(self, keep: Callable[[Tensor], bool] = lambda _: True, dtype: int = FLOAT) -> Tensor:
        """One of the tensors so far, a later one rather than an earlier one."""
        found = [t for t in self.tensors if t.dtype == dtype and keep(t)]
        if not found:
            raise Skip
        return self.rng.choice(found[-4:] if self.rng.random() < 0.7 else found)

    def node(self, op: str, inputs: Sequence[Any], bound: float, outputs: int = 1, **attributes: Any) -> Tensor:
        """Adds a node, and keeps the first of its outputs."""
        names = [t if isinstance(t, str) else t.name for t in inputs]
        made = [self.fresh("t") for _ in range(outputs)]
        node = helper.make_node(op, names, made, name=f"{op}_{made[0]}", **attributes)
        types = {t.name: helper.make_tensor_type_proto(t.dtype, t.shape) for t in self.tensors}
        types |= {w.name: helper.make_tensor_type_proto(w.data_type, w.dims) for w in self.weights}
        data = {w.name: w for w in self.weights if w.name in names}
        schema = onnx.defs.get_schema(op, OPSET)
        here = {name: types[name] for name in names if name}
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, here, data, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9
        )
        results = []
        for name in made:
            tensor = found[name].tensor_type
            shape = tuple(d.dim_value for d in tensor.shape.dim)
            if np.prod(shape) > 4 * ELEMENTS_MAX or any(not d.HasField("dim_value") for d in tensor.shape.dim):
                raise Skip
            results.append(Tensor(name, tensor.elem_type, shape, bound))
        self.nodes.append(node)
        self.tensors += results
        if bound > BOUND_MAX and results[0].dtype == FLOAT:
            return self.node("Tanh", [results[0]], 1.0)
        return results[0]

    def finish(self) -> Made:
        read = {name for node in self.nodes for name in node.input}
        ends = [t for t in self.tensors if t.name not in read and t not in self.inputs]
        ends += [t for t in self.tensors if t.name in read and t not in self.inputs and self.rng.random() < 0.1]
        graph = helper.make_graph(
            self.nodes,
            f"seed {self.seed}",
            [helper.make_tensor_value_info(t.name, t.dtype, t.shape) for t in self.inputs],
            [helper.make_tensor_value_info(t.name, t.dtype, t.shape) for t in ends],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        return Made(model, arrays_for(model.graph.input, self.seed))
