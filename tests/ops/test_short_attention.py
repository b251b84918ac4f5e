"""Attention in 16-bit whole numbers: its definition's bits in the module, and how near that is to attention itself."""

import numpy as np
import pytest

from attention_models import attention, by_numpy
from integer_graphs import assert_same
from littoral.compiler import onnx
from littoral.compiler.driver import optimize
from littoral.compiler.ir.graph import Builder, Graph
from littoral.compiler.ir.ops import Attention
from littoral.compiler.ir.shorts import SHARE, products_limit, shares_chunk, values_limit
from littoral.compiler.ir.types import TensorType
from littoral.compiler.plan import program_of
from littoral.compiler.quantize.attention import with_short_attention
from littoral.compiler.wasm import Target
from reach import beyond_reach

SHAPES = [
    (1, 1, 8, 1, 1),
    (1, 3, 17, 17, 8),
    (2, 2, 9, 9, 12),
    (1, 1, 8, 33, 6),
    (1, 2, 13, 3, 5),
    (2, 3, 50, 700, 7),
    (1, 2, 21, 1030, 20),
    (1, 1, 130, 130, 64),
    (1, 3, 198, 198, 64),
]


def in_shorts(model: bytes) -> Graph:
    graph = with_short_attention(optimize(onnx.import_model(onnx.decode_model(model), {}, None)))
    assert [node.op.name for node in graph.nodes if "attention" in node.op.name] == ["short_attention"]
    return graph


@pytest.mark.parametrize("shape", SHAPES)
def test_heads_and_blocks_of_any_size(shape: tuple[int, int, int, int, int]) -> None:
    model, feeds = attention(*shape)
    graph = in_shorts(model)
    got = assert_same(graph, feeds)["out"]
    want = by_numpy(feeds, shape[1])
    assert np.abs(got - want).max() <= 4e-3 * np.abs(feeds["v"]).max()
    assert not beyond_reach(program_of(graph))


@pytest.mark.parametrize("target", ["relaxed", "simd128", "mvp"])
def test_under_each_target(target: Target) -> None:
    model, feeds = attention(1, 2, 21, 300, 12, (1, 2, 1, 300))
    assert_same(in_shorts(model), feeds, target)


@pytest.mark.parametrize("mask", [(11, 9), (2, 1, 1, 9), (2, 3, 11, 9), (1, 3, 1, 9), (1, 1, 11, 1), (1, 3, 11, 9)])
def test_masks_of_any_shape(mask: tuple[int, ...]) -> None:
    model, feeds = attention(2, 3, 11, 9, 6, mask)
    feeds["mask"][..., 0] = 0  # every query sees a key
    got = assert_same(in_shorts(model), feeds)["out"]
    assert np.abs(got - by_numpy(feeds, 3)).max() <= 4e-3 * np.abs(feeds["v"]).max()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["q", "k", "v"])
def test_what_is_no_number(where: str, odd: float) -> None:
    model, feeds = attention(1, 2, 23, 9, 4)
    feeds[where][0, 5, 0] = odd
    got = assert_same(in_shorts(model), feeds)["out"]
    kept = np.arange(23) != 5
    assert np.isnan(got[0, 5, 0])
    assert np.isfinite(got[0, kept]).all() == (where == "q")
    assert np.isfinite(got[..., 4:]).all()


def test_a_query_that_sees_nothing_is_none() -> None:
    model, feeds = attention(1, 2, 9, 7, 4, (9, 7))
    feeds["mask"][:, 0] = 0
    feeds["mask"][3] = -np.inf
    got = assert_same(in_shorts(model), feeds)["out"]
    assert np.isnan(got[0, 3]).all()
    assert np.isfinite(got[0, [0, 1, 2, 4, 5, 6, 7, 8]]).all()


@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e-20, 1e18])
def test_numbers_of_any_size(scale: float) -> None:
    model, feeds = attention(1, 2, 23, 30, 8)
    scaled = {name: x * np.float32(scale) for name, x in feeds.items()}
    assert np.isfinite(assert_same(in_shorts(model), scaled)["out"]).all()


def test_sums_fit_where_everything_is_as_large_as_it_can_be() -> None:
    """All queries, keys and values alike, so that all shares are the largest."""
    for keys in (256, 700):
        model, feeds = attention(1, 1, 9, keys, 64)
        alike = {name: np.ones_like(x) for name, x in feeds.items()}
        assert np.abs(assert_same(in_shorts(model), alike)["out"] - 1).max() < 1e-3


@pytest.mark.parametrize("count", [1, 8, 64, 80, 128, 999, 5000])
def test_limits_hold_the_largest_sums(count: int) -> None:
    assert products_limit(count) ** 2 * count < 1 << 31
    chunk = shares_chunk(count)
    assert not chunk % 8
    assert values_limit(chunk) * SHARE * chunk < 1 << 31


def test_attention_of_another_layout_stays_as_it_is() -> None:
    build = Builder()
    q, k, v = (build.input(n, TensorType("float32", s)) for n, s in (("q", (9, 4)), ("k", (4, 9)), ("v", (9, 4))))
    build.graph.outputs.append(("out", build.add(Attention(), q, k, v, label="attention")))
    (node,) = with_short_attention(build.graph).nodes
    assert node.op == Attention()
