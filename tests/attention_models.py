"""Scaled dot products of heads that lie side by side, as exporters write them, and the same in numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper


def attention(
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    size: int,
    mask: Sequence[int] = (),
    *,
    guarded: bool = False,
    shown: str = "",
) -> tuple[bytes, dict[str, Any]]:
    """As exporters write it. mask: shape of what is added to the scores. guarded: shares that are no number are 0."""
    rng = np.random.default_rng(batch + heads + queries + keys + size)
    shapes = {"q": (batch, queries, heads * size), "k": (batch, keys, heads * size), "v": (batch, keys, heads * size)}
    feeds = {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    nodes = []
    for name, turned in (("q", (0, 2, 1, 3)), ("k", (0, 2, 3, 1)), ("v", (0, 2, 1, 3))):
        nodes.append(helper.make_node("Reshape", [name, "split"], [f"{name}_split"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_split"], [f"{name}_heads"], perm=turned))
    nodes.append(helper.make_node("MatMul", ["q_heads", "k_heads"], ["products"], "products"))
    nodes.append(helper.make_node("Mul", ["products", "scale"], ["scaled"], "scaled"))
    scores = "scaled"
    if mask:
        feeds["mask"] = np.where(rng.random(tuple(mask)) < 0.3, -np.inf, rng.normal(size=tuple(mask))).astype("f4")
        nodes.append(helper.make_node("Add", ["scaled", "mask"], ["masked"], "masked"))
        scores = "masked"
    nodes.append(helper.make_node("Softmax", [scores], ["shares"], "shares", axis=-1))
    shares = "shares"
    if guarded:
        nodes.append(helper.make_node("IsNaN", ["shares"], ["missing"]))
        nodes.append(helper.make_node("Where", ["missing", "zero", "shares"], ["guarded"], "guarded"))
        shares = "guarded"
    nodes += [
        helper.make_node("MatMul", [shares, "v_heads"], ["mixed"], "mixed"),
        helper.make_node("Transpose", ["mixed"], ["beside"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["beside", "joined"], ["out"]),
    ]
    constants = {
        "split": np.array([batch, -1, heads, size]),
        "joined": np.array([batch, -1, heads * size]),
        "scale": np.array(size**-0.5, np.float32),
        "zero": np.array(0, np.float32),
    }
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, (batch, queries, heads * size))]
    outputs += [helper.make_tensor_value_info(shown, TensorProto.FLOAT, None)] if shown else []
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in feeds.items()],
        outputs,
        [onnx.numpy_helper.from_array(x, n) for n, x in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(), feeds


def by_numpy(feeds: dict[str, np.ndarray], heads: int, guarded: bool = False) -> np.ndarray:
    batch, _, width = feeds["q"].shape
    q, k, v = (feeds[n].astype("f8").reshape(batch, -1, heads, width // heads).swapaxes(1, 2) for n in "qkv")
    scores = q @ k.swapaxes(2, 3) * (width // heads) ** -0.5 + feeds.get("mask", np.zeros(1))
    with np.errstate(invalid="ignore"):
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
    mixed = (np.nan_to_num(shares) if guarded else shares) @ v
    return mixed.swapaxes(1, 2).reshape(batch, -1, width)
