"""One quantisation for all variants, and which products take a scale for each row."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import littoral
from littoral.compiler.driver import open_source, optimize, planned, silent
from littoral.compiler.ir.graph import Graph, Node
from littoral.compiler.ir.ops import IntegerConv, QuantizeRows, RowsMatMul
from littoral.compiler.quantize import Int8, quantize, quantized
from littoral.compiler.quantize.steep import Steep
from littoral.quality.layer_errors import layer_errors

DEPTH = 24
BUDGET = 0.999


def two_products() -> bytes:
    """x[n, 24] through two products with GELU between them; n is left open."""
    rng = np.random.default_rng(3)
    w = {"a": rng.normal(size=(DEPTH, 40)) * 0.3, "b": rng.normal(size=(40, 8)) * 0.2, "c": rng.normal(size=40) * 0.1}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["s"]),
        helper.make_node("Gelu", ["s"], ["g"]),
        helper.make_node("MatMul", ["g", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(a.astype("f4"), name) for name, a in w.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())


def feeds_of(rows: int, count: int, spread: float) -> list[dict[str, Any]]:
    """Rows that are nearly alike, or with `spread` of many sizes."""
    rng = np.random.default_rng(7)
    sizes = np.exp(rng.normal(size=(count, rows, 1)) * spread)
    base = rng.normal(size=DEPTH)
    return [{"x": ((base + rng.normal(size=(rows, DEPTH)) * 0.02) * size).astype("f4")} for size in sizes]


VARIANTS = [{"x": (n, DEPTH)} for n in (3, 8)]


@pytest.mark.parametrize("spread", [0.0, 1.5])
def test_variants_share_scales_and_weights(spread: float) -> None:
    source, feeds = two_products(), feeds_of(8, 6, spread)
    asked = Int8(feeds, budget=BUDGET)
    model = littoral.compile(source, variants=VARIANTS, int8=asked)
    alone = littoral.compile(source, shapes=VARIANTS[1], int8=asked)
    assert model.manifest.memory.weights[1] < alone.manifest.memory.weights[1] * 1.3
    with littoral.load(model) as session, littoral.load(alone) as other:
        want = other.run(feeds[0])["y"]
        np.testing.assert_array_equal(session.run(feeds[0])["y"], want)
        np.testing.assert_array_equal(session.run({"x": feeds[0]["x"][:3]})["y"], want[:3])


@pytest.mark.parametrize(("spread", "by_row"), [(0.0, 0), (1.5, 2)])
def test_rows_of_many_sizes_have_scales_of_their_own(spread: float, by_row: int) -> None:
    source, feeds = two_products(), feeds_of(16, 6, spread)
    shapes = {"x": (16, DEPTH)}
    found = planned(source, shapes=shapes, int8=Int8(feeds, budget=BUDGET))
    kinds = [type(node.op) for node in found.graphs[0].nodes]
    assert kinds.count(RowsMatMul) == kinds.count(QuantizeRows) == by_row
    assert kinds.count(IntegerConv) == 2 - by_row
    assert found.quantized is not None
    assert found.quantized.about.get("by_row", 0) == by_row


def test_rows_of_a_product_that_stays_in_float32_have_no_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(graph: Graph, _seen: Any, _schemes: Any, products: set[Node]) -> Steep:
        return Steep(frozenset(), frozenset([next(node for node in graph.nodes if node in products)]))

    monkeypatch.setattr(quantized, "steep_parts", first)
    asked = Int8(feeds_of(16, 6, 1.5), budget=BUDGET)
    found = planned(two_products(), shapes={"x": (16, DEPTH)}, int8=asked)
    kinds = [type(node.op) for node in found.graphs[0].nodes]
    assert kinds.count(RowsMatMul) + kinds.count(IntegerConv) == 1


def test_errors_of_layers_compare_what_follows_a_product_with_itself() -> None:
    """GELU is a map of its own in the model of reference, and part of the product whose rows have scales."""
    feeds = feeds_of(16, 6, 1.5)
    found = planned(two_products(), shapes={"x": (16, DEPTH)}, int8=Int8(feeds, budget=BUDGET)).quantized
    assert found is not None
    layers, _ = layer_errors(found, feeds)
    assert len(layers) == 2
    assert all(layer.error < 0.05 for layer in layers)
    assert {(layer.levels, layer.ranges) for layer in found.report.layers} == {(127, "by row")}
    assert all("rows of what it reads have scales of their own" in layer.reason for layer in found.report.layers)


def test_the_fit_of_weights_sees_rows_as_they_are_held() -> None:
    feeds = feeds_of(16, 12, 1.5)
    graph = optimize(open_source(two_products()).graph({"x": (16, DEPTH)}))
    report = quantize(graph, Int8(feeds, budget=BUDGET), silent).report
    assert report.cosine > 0.9998
    assert all(layer.error < 0.02 for layer in report.layers)
