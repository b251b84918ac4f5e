"""Attention as one operation: masks, uneven heads and blocks of queries, rows without a number; against numpy."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from attention_models import attention, by_numpy
from littoral.compiler import onnx
from littoral.compiler.driver import compile_model, optimize
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.reference import interpret
from littoral.compiler.ir.verify import verify
from littoral.compiler.passes import PASSES
from littoral.compiler.passes.fuse_attention import fuse_attention
from model_host import run_bare

LIMIT = 3e-6


def operations(model: bytes) -> list[str]:
    graph = optimize(onnx.import_model(onnx.decode_model(model), {}, None))
    return [node.op.name for node in graph.nodes if node.op.name != "reshape"]


def output(model: bytes, feeds: dict[str, Any]) -> np.ndarray:
    return run_bare(compile_model(model).wasm, feeds)["out"]


@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "size"),
    [
        (1, 1, 1, 1, 1),
        (1, 3, 17, 17, 8),
        (2, 2, 5, 9, 12),
        (1, 1, 1, 33, 6),
        (1, 2, 7, 3, 5),
        (2, 3, 50, 700, 7),
        (1, 2, 21, 1030, 20),
        (1, 1, 130, 130, 64),
    ],
)
def test_heads_and_blocks_of_any_size(batch: int, heads: int, queries: int, keys: int, size: int) -> None:
    model, feeds = attention(batch, heads, queries, keys, size)
    assert operations(model) == ["attention"]
    assert np.abs(output(model, feeds) - by_numpy(feeds, heads)).max() <= LIMIT


@pytest.mark.parametrize(
    "mask", [(9,), (11, 9), (2, 1, 1, 9), (2, 3, 11, 9), (1, 3, 1, 9), (1, 1, 11, 1), (1, 3, 11, 9)]
)
def test_masks_of_any_shape(mask: tuple[int, ...]) -> None:
    model, feeds = attention(2, 3, 11, 9, 6, mask)
    feeds["mask"][..., 0] = 0  # every query sees a key
    assert operations(model)[-1] == "attention"
    assert np.abs(output(model, feeds) - by_numpy(feeds, 3)).max() <= LIMIT


def test_a_query_sees_what_came_before_it() -> None:
    model, feeds = attention(1, 2, 90, 90, 10, (90, 90))
    feeds["mask"][...] = np.where(np.tril(np.ones((90, 90))) > 0, 0, -np.inf)
    assert np.abs(output(model, feeds) - by_numpy(feeds, 2)).max() <= LIMIT


@pytest.mark.parametrize("guarded", [False, True])
def test_a_query_that_sees_nothing(guarded: bool) -> None:
    model, feeds = attention(1, 2, 6, 7, 4, (6, 7), guarded=guarded)
    feeds["mask"][:, 0] = 0
    feeds["mask"][3] = -np.inf
    assert operations(model) == ["attention"]
    got, want = output(model, feeds), by_numpy(feeds, 2, guarded)
    assert np.isnan(got[0, 3]).all() != guarded
    assert np.allclose(got, want, atol=LIMIT, equal_nan=True)


def test_what_is_no_number_stays_in_its_query() -> None:
    model, feeds = attention(1, 2, 23, 9, 4)
    feeds["q"][0, 5, 0] = np.nan
    got, clean = output(model, feeds), feeds["q"].copy()
    clean[0, 5, 0] = 0
    want = by_numpy(feeds | {"q": clean}, 2)
    assert np.isnan(got[0, 5, :4]).all()
    kept = np.arange(23) != 5
    assert np.abs(got[0, kept] - want[0, kept]).max() <= LIMIT


def test_heads_may_share_their_keys() -> None:
    rng = np.random.default_rng(5)
    feeds = {n: rng.normal(size=s).astype("f4") for n, s in {"q": (2, 6, 5, 8), "k": (2, 1, 8, 7), "v": (7, 8)}.items()}
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in feeds.items()]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, (2, 6, 5, 8))]
    graph = helper.make_graph(nodes, "shared", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    scores = feeds["q"].astype("f8") @ feeds["k"]
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    assert operations(model) == ["attention"]
    want = shares / shares.sum(-1, keepdims=True) @ feeds["v"]
    assert np.abs(output(model, feeds) - want).max() <= LIMIT * np.abs(want).max()


@pytest.mark.parametrize("shown", ["products", "shares"])
def test_scores_that_others_read_are_made_whole(shown: str) -> None:
    model, feeds = attention(1, 2, 6, 7, 4, shown=shown)
    assert "attention" not in operations(model)
    assert np.abs(output(model, feeds) - by_numpy(feeds, 2)).max() <= LIMIT
    refused: list[str | None] = []
    fuse_attention(graph_before(model), lambda fusion: refused.append(fusion.refused))
    assert refused == ["its scores or shares are read by others too"]


def test_no_tensor_of_all_scores_is_made() -> None:
    model, _ = attention(1, 4, 512, 512, 16)
    assert compile_model(model).manifest.memory.arena[1] < 512 * 512 * 4


def graph_before(model: bytes) -> Graph:
    graph = onnx.import_model(onnx.decode_model(model), {}, None)
    for name, run in PASSES.items():
        if name == "fuse-attention":
            break
        graph = run(graph)
    return graph


@pytest.mark.parametrize("mask", [(), (2, 1, 1, 9)])
def test_the_pass_keeps_what_the_graph_means(mask: tuple[int, ...]) -> None:
    model, feeds = attention(2, 3, 5, 9, 6, mask, guarded=True)
    before = graph_before(model)
    after = fuse_attention(before)
    verify(after)
    (want,), (got,) = (interpret(graph, feeds).values() for graph in (before, after))
    assert got.tobytes() == want.tobytes()
