"""Whole networks in integers: the interpreter's bits on every target, and how far they are from float32."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import littoral
from integer_networks import NETS, Net, feeds_of, inverted_residuals, squeeze_and_excite
from littoral.compiler.driver import compile_model, open_source, optimize, planned, written
from littoral.compiler.ir.ops import Dequantize, DequantizeWeights, IntegerConv, Quantize
from littoral.compiler.ir.reference import interpret
from littoral.compiler.passes import PASSES
from littoral.compiler.plan import parallel
from littoral.compiler.quantize import Int8, quantize
from littoral.errors import InputError
from model_host import run_bare


@pytest.mark.parametrize("bits", [8, 7])
@pytest.mark.parametrize("name", NETS)
def test_networks_of_integers(name: str, bits: int) -> None:
    model = NETS[name]()
    found = planned(model, int8=Int8(feeds_of(8), bits=bits))
    compiled, exact = written(found), compile_model(model)
    assert written(planned(model, int8=Int8(feeds_of(8), bits=bits))).wasm == compiled.wasm
    alike = []
    for feeds in feeds_of(4, seed=1):
        got = run_bare(compiled.wasm, feeds)["y"]
        np.testing.assert_array_equal(got, interpret(found.graphs[0], feeds)["y"])
        want = run_bare(exact.wasm, feeds)["y"]
        alike.append((got * want).sum() / np.linalg.norm(got) / np.linalg.norm(want))
    assert min(alike) > (0.995 if bits == 8 else 0.99)


@pytest.mark.parametrize("target", ["simd128", "mvp"])
def test_other_targets_give_the_same_bits(target: Any) -> None:
    found = planned(inverted_residuals(), int8=feeds_of(3))
    feeds = feeds_of(1, seed=2)[0]
    got = run_bare(written(found, target=target).wasm, feeds)["y"]
    np.testing.assert_array_equal(got, run_bare(written(found).wasm, feeds)["y"])


@pytest.mark.parametrize("name", NETS)
def test_threads_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the steps are that they share."""
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)
    model, feeds = NETS[name](), feeds_of(1, seed=4)[0]
    with littoral.load(littoral.compile(model, int8=feeds_of(3))) as alone:
        want = alone.run(feeds)["y"]
    for threads in (2, 3):
        with littoral.load(littoral.compile(model, int8=feeds_of(3), threads=threads)) as team:
            np.testing.assert_array_equal(team.run(feeds)["y"], want)


@pytest.mark.parametrize("name", NETS)
def test_every_convolution_is_one_of_bytes(name: str) -> None:
    ops = [node.op for node in planned(NETS[name](), int8=feeds_of(2)).graphs[0].nodes]
    assert not [op for op in ops if op.name in ("conv", "matmul")]
    assert [op for op in ops if isinstance(op, IntegerConv)]


def test_long_epilogues_become_tables() -> None:
    graph = planned(squeeze_and_excite(), int8=feeds_of(4)).graphs[0]
    tables = [n.op.table for n in graph.nodes if isinstance(n.op, IntegerConv) and n.op.table]
    assert len(tables) >= 5
    assert all(16 <= len(t) <= 256 for t in tables)


@pytest.mark.parametrize("name", NETS)
def test_passes_of_integers_keep_what_marked_graphs_mean(name: str) -> None:
    """The marked graph in float32 rounds elsewhere than sums of integers do: to a few quanta."""
    graph = quantize(optimize(open_source(NETS[name]()).graph({})), Int8(feeds_of(6)), lambda *_: None).graph
    feeds = feeds_of(1, seed=3)[0]
    want = interpret(graph, feeds)["y"]
    for handle in ("move-bytes", "integer-products", "integer-maps", "integer-tables"):
        graph = PASSES[handle](graph)
        got = interpret(graph, feeds)["y"]
        assert np.abs(got - want).max() <= 0.03 * np.abs(want).max()
    assert not [n for n in graph.nodes if isinstance(n.op, Quantize | Dequantize | DequantizeWeights)]


def test_the_manifest_says_how_it_was_made() -> None:
    told: list[str] = []
    model = compile_model(
        inverted_residuals(), int8=Int8(feeds_of(3), bits=7), progress=lambda stage, *_: told.append(stage)
    )
    about = model.manifest.int8
    assert about is not None
    assert (about["bits"], about["feeds"], len(about["report"]["layers"])) == (7, 3, 9)
    assert told.count("calibrate") == 3
    assert littoral.Int8 is Int8


def test_feeds_are_checked() -> None:
    model = inverted_residuals()
    good = feeds_of(1)[0]["x"]
    for feeds, said in (
        ([], "0 calibration feeds"),
        ([{"y": good}], "feed 0 lacks input `x`"),
        ([{"x": good}, {"x": good[:, :2]}], r"feed 1: `x` is float32\[1, 2, 24, 24\]"),
        ([{"x": good * np.inf}], "not finite"),
    ):
        with pytest.raises(InputError, match=said):
            compile_model(model, int8=feeds)
    with pytest.raises(InputError, match="bits must be one of 8, 7, auto"):
        Int8([], bits=4)


@pytest.mark.parametrize("size", [1e38, 3e38])
def test_a_layer_that_overflows_on_a_feed_is_named(size: float) -> None:
    net = Net()
    feeds = feeds_of(3)
    feeds[2] = {"x": np.full_like(feeds[2]["x"], size)}
    with pytest.raises(InputError, match=r"what `n\d` makes is not finite on calibration feed 2 · hint: check that"):
        planned(net.finish(net.add("Relu", net.conv("x", 3, 16, 3, 2)), 16), int8=feeds)


@pytest.mark.parametrize("name", ["inverted_residuals", "residual_blocks"])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_feeds_that_are_few_and_alike_do_for_others(name: str, count: int) -> None:
    """Channels that no feed has shown to be active keep a range of their own."""
    model, others = NETS[name](), feeds_of(12)[4:]
    one, rng = feeds_of(1)[0]["x"], np.random.default_rng(1)
    alike = [{"x": (one + 0.02 * rng.normal(size=one.shape)).astype("f4")} for _ in range(count)]
    exact, whole = compile_model(model), compile_model(model, int8=alike)
    for feed in others:
        want, got = (run_bare(made.wasm, feed)["y"] for made in (exact, whole))
        assert (got * want).sum() / np.linalg.norm(got) / np.linalg.norm(want) > 0.9985


def test_a_feed_may_lack_what_is_plain() -> None:
    """A leading 1, and the name of the only input."""
    feeds = feeds_of(2)
    short = [{"": feed["x"][0]} for feed in feeds]
    model = squeeze_and_excite()
    assert compile_model(model, int8=short).wasm == compile_model(model, int8=feeds).wasm


def test_an_input_may_be_one_number() -> None:
    made = Net()
    x = made.add("Mul", "x", "gain")
    model = onnx.load_from_string(made.finish(made.add("Relu", made.conv(x, 3, 8, 3, 2)), 8))
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, []))
    feeds = [{**f, "gain": np.float32(1 + i)} for i, f in enumerate(feeds_of(3))]
    found = planned(model, int8=feeds)
    got = run_bare(written(found).wasm, {**feeds[0], "gain": np.asarray(feeds[0]["gain"])})["y"]
    np.testing.assert_array_equal(got, interpret(found.graphs[0], feeds[0])["y"])


@pytest.mark.parametrize(("dilation", "is_held"), [(2, True), (7, True), (8, False)])
def test_dilated_depthwise_convolutions_of_bytes(dilation: int, is_held: bool) -> None:
    net = Net()
    x = net.relu6(net.conv("x", 3, 16, 3, 2))
    x = net.relu6(net.conv(x, 16, 16, 3, groups=16))
    net.nodes[-2].attribute.extend([helper.make_attribute("dilations", [dilation] * 2)])
    pads = next(a for a in net.nodes[-2].attribute if a.name == "pads")
    pads.ints[:] = [dilation] * 4
    model = net.finish(net.conv(x, 16, 24), 24)
    found = planned(model, int8=feeds_of(3))
    assert any(node.op.name == "conv" for node in found.graphs[0].nodes) != is_held
    feeds = feeds_of(1, seed=1)[0]
    np.testing.assert_array_equal(run_bare(written(found).wasm, feeds)["y"], interpret(found.graphs[0], feeds)["y"])
