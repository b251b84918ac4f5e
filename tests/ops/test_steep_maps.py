"""A logarithm behind sums in integers: where bytes would be too coarse the sums stay in float32."""

from typing import Any

import numpy as np
import pytest

import littoral
from littoral.compiler.ir.graph import Graph
from littoral.compiler.ir.ops import Map
from littoral.compiler.quantize import quantized
from littoral.compiler.quantize.steep import Steep
from onnx_models import Network, squeeze_excite

SAMPLES, WINDOW, BINS, BANDS = 1024, 64, 24, 12


def spectrum_network(bands: bool) -> bytes:
    """Spectrum by a convolution, power, bands if asked for, logarithm, and a small network behind it."""
    net, at = Network((1, 1, 1, SAMPLES), 0), np.arange(WINDOW)
    turns = 2 * np.pi * np.linspace(1, 28, BINS)[:, None] * at / WINDOW
    waves = np.concatenate([np.cos(turns), np.sin(turns)]) * np.hanning(WINDOW) / WINDOW
    weights = net.weight(waves.astype(np.float32)[:, None, None])
    both = net.node("Conv", "x", weights, kernel_shape=[1, WINDOW], strides=[1, WINDOW // 2])
    axis = net.weight(np.int64([1]))
    parts = [
        net.node("Slice", both, *(net.weight(np.int64([i])) for i in (start, start + BINS)), axis)
        for start in (0, BINS)
    ]
    net.node("Add", *(net.node("Mul", part, part) for part in parts))
    net.channels = BINS
    if bands:
        shape = (BANDS, BINS, 1, 1)
        kept = np.abs(net.rng.normal(size=shape)) * (net.rng.random(shape) < 0.2)
        net.node("Conv", net.at, net.weight(kept.astype(np.float32)), kernel_shape=[1, 1])
        net.channels = BANDS
    net.node("Log", net.node("Add", net.at, net.weight(np.float32(1e-6))))
    net.conv(16, 1)
    net.node("Relu", net.at)
    net.node("GlobalAveragePool", net.at)
    net.dense(6)
    return net.bytes()


def sounds(count: int, seed: int) -> list[dict[str, Any]]:
    """Tones of very different strength in noise."""
    rng, at = np.random.default_rng(seed), np.arange(SAMPLES)

    def sound() -> Any:
        tones = [
            10 ** rng.uniform(-2.5, 0.3) * np.sin(2 * np.pi * rng.uniform(1, 28) * at / WINDOW + rng.uniform(0, 6))
            for _ in range(4)
        ]
        return sum(tones) + rng.normal(0, 10 ** rng.uniform(-3, -1.5), SAMPLES)

    return [{"x": sound().astype(np.float32)[None, None, None]} for _ in range(count)]


def error(model: bytes) -> float:
    """Of integers in what float32 makes, on sounds that it was not calibrated on; relative to how they differ."""
    whole = littoral.compile(model, int8=sounds(16, 1))
    with littoral.load(littoral.compile(model)) as exact, littoral.load(whole) as held:
        pairs = [(next(iter(exact.run(x).values())), next(iter(held.run(x).values()))) for x in sounds(16, 2)]
    wanted, got = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted - wanted.mean(0)))


@pytest.mark.parametrize(("bands", "most"), [(False, 0.06), (True, 0.15)])
def test_a_logarithm_of_a_spectrum_keeps_what_bytes_would_lose(
    monkeypatch: pytest.MonkeyPatch, bands: bool, most: float
) -> None:
    model = spectrum_network(bands)
    found = error(model)
    monkeypatch.setattr(quantized, "steep_parts", lambda *_: Steep(frozenset(), frozenset()))
    assert found < most
    assert found < 0.5 * error(model)


def test_the_report_says_why_a_product_stays_in_floats() -> None:
    report = littoral.compile(spectrum_network(True), int8=sounds(8, 1)).manifest.int8
    assert report is not None
    reasons = {layer["layer"]: (layer["bits"], layer["reason"]) for layer in report["report"]["layers"]}
    floats = [reason for bits, reason in reasons.values() if bits == 32]
    assert floats
    assert set(floats) == {"a map behind its sums is too steep for bytes"}


def test_activations_of_picture_networks_are_not_steep(monkeypatch: pytest.MonkeyPatch) -> None:
    model = squeeze_excite()
    found: list[tuple[Graph, Steep]] = []

    def seen(graph: Graph, *rest: Any) -> Steep:
        found.append((graph, steep(graph, *rest)))
        return found[-1][1]

    steep = quantized.steep_parts
    monkeypatch.setattr(quantized, "steep_parts", seen)
    rng = np.random.default_rng(0)
    with littoral.load(littoral.compile(model)) as session:
        shape = session.inputs[0].shape
    littoral.compile(model, int8=[{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(4)])
    ((graph, parts),) = found
    assert any(isinstance(node.op, Map) for node in graph.nodes)
    assert parts == Steep(frozenset(), frozenset())
