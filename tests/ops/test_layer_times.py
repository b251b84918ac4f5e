"""Layers timed one by one do what the whole model does; what cannot be timed so says why."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from onnx import TensorProto, helper

import littoral
from littoral.artifact.manifest import layer_entry
from littoral.cli.model_source import random_feeds
from littoral.compiler.driver import planned, written
from littoral.compiler.emit import ENTRY
from littoral.errors import ArtifactError
from littoral.quality.layer_chart import ROWS_MAX, layer_chart
from littoral.quality.layer_times import LayerTime, LayerTimes, time_layers, why_untimed
from littoral.quality.machine_limit import CHAINS, LANES, STEPS, Multiplications
from model_host import run_bare
from onnx_models import NETWORKS

SVG = "{http://www.w3.org/2000/svg}"


class SteadyClock:
    """A millisecond passes with every look."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks / 1000

    def wall(self) -> float:
        return 0.0


def looping() -> bytes:
    """x doubled, three times over."""
    doubled = helper.make_node("Add", ["v", "v"], ["w"])
    same = helper.make_node("Identity", ["go"], ["on"])
    kinds = {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "v": (TensorProto.FLOAT, [4])}
    inputs = [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info("on", *kinds["go"]), helper.make_tensor_value_info("w", *kinds["v"])]
    body = helper.make_graph([same, doubled], "body", inputs, outputs)
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        "looping",
        [helper.make_tensor_value_info("x", *kinds["v"])],
        [helper.make_tensor_value_info("y", *kinds["v"])],
        [helper.make_tensor("count", TensorProto.INT64, [], [3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_one_after_the_other_give_what_the_whole_model_gives(name: str) -> None:
    model = written(planned(NETWORKS[name]()), apart=True)
    feeds = random_feeds(model, seed=1)
    apart = run_bare(model.wasm, feeds, [layer_entry(i) for i in range(len(model.manifest.layers))])
    for output, array in run_bare(model.wasm, feeds).items():
        assert np.array_equal(apart[output], array)


def test_entries_of_a_session_are_timed_in_order_and_must_be_there() -> None:
    model = written(planned(NETWORKS["residual"]()))
    feeds = random_feeds(model, seed=1)
    with littoral.load(model) as session:
        assert session.time_entries(feeds, [ENTRY, ENTRY], SteadyClock()) == pytest.approx([1, 1])
        with pytest.raises(ArtifactError, match="no exported function `layer0`"):
            session.time_entries(feeds, [layer_entry(0)])
        assert session.run(feeds)


def test_times_are_medians_without_the_call_itself() -> None:
    found = planned(NETWORKS["squeeze_excite"]())
    assert why_untimed(found) is None
    times = time_layers(found, random_feeds(written(found), seed=1), 3, clock=SteadyClock())
    layers = written(found).manifest.layers
    assert [(t.name, t.kernel, t.macs, t.bytes) for t in times.layers] == [
        (row.name, row.kind, row.macs, row.bytes) for row in layers
    ]
    assert [t.time_ms for t in times.layers] == pytest.approx([0] * len(layers))
    assert (times.rounds, times.whole_ms) == (3, pytest.approx(1))
    assert times.limit_gflops == pytest.approx(2 * LANES * CHAINS * STEPS / 1e6)


def test_a_loop_is_timed_as_a_whole() -> None:
    assert why_untimed(planned(looping())) == "the model has loops or branches: it is timed as a whole"


def test_the_limit_is_measured() -> None:
    with Multiplications() as multiplications:
        assert multiplications.gflops() > 0.1


def chart_of(layers: list[LayerTime]) -> ET.Element:
    return ET.fromstring(layer_chart("a < b", LayerTimes(tuple(layers), 1, 1.0, 50.0)))


def test_the_chart_has_a_bar_for_each_layer_and_the_limit_of_each_that_multiplies() -> None:
    layers = [
        LayerTime("conv & clip", "gemm", "4×8", "float32[4]", 25_000_000, 10, 2.0),
        LayerTime("add", "loops", "", "float32[4]", 0, 0, 1.0),
        LayerTime("tiny", "gemm", "4×8", "float32[4]", 10, 0, 0.001),
    ]
    chart = chart_of(layers)
    bars = list(chart.iter(f"{SVG}g"))
    assert [bar.findtext(f"{SVG}title", "").split(":")[0] for bar in bars] == ["conv & clip", "add", "tiny"]
    assert "25.0 GFLOP/s, 50% of the limit" in bars[0].findtext(f"{SVG}title", "")
    assert sum(1 for _ in chart.iter(f"{SVG}line")) == 1
    assert chart.findtext(f"{SVG}title") == "a < b: time by layer"
    assert "prefers-color-scheme: dark" in chart.findtext(f"{SVG}style", "")


def test_the_chart_is_bounded() -> None:
    many = [LayerTime(f"l{i}", f"k{i % 9}", "", "", 0, 0, float(i)) for i in range(ROWS_MAX + 7)]
    chart = chart_of(many)
    assert sum(1 for _ in chart.iter(f"{SVG}g")) == ROWS_MAX
    assert "7 shorter layers are not shown" in "".join(chart.itertext())
    assert chart_of([]) is not None
