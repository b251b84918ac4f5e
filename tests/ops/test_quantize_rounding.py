"""Rounding in closed form, ranges, equalisation: each on its own."""

import re

import numpy as np
import pytest

from integer_networks import NETS, feeds_of, inverted_residuals
from littoral.compiler.driver import open_source, optimize
from littoral.compiler.ir.reference import interpret
from littoral.compiler.quantize import Int8, quantized
from littoral.compiler.quantize.equalize import equalized, units_of
from littoral.compiler.quantize.feeds import fitting
from littoral.compiler.quantize.observe import Seen, observe
from littoral.compiler.quantize.quantized import HOLDS, quantize, ready
from littoral.compiler.quantize.ranges import chosen, scheme_for, widened
from littoral.compiler.quantize.rounding import Gram, rounded
from littoral.compiler.quantize.wanted import is_product, wanted_values
from littoral.errors import InputError


def alike_inputs(depth: int, rows: int = 400) -> np.ndarray:
    """Inputs that go along with each other, as those of networks do."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, 4)) @ rng.normal(size=(4, depth)) + 0.1 * rng.normal(size=(rows, depth))


@pytest.mark.parametrize("limit", [127, 64, 7])
@pytest.mark.parametrize("depth", [3, 64, 130])
def test_rounding_in_sequence_errs_less_than_nearest(limit: int, depth: int) -> None:
    x, w = alike_inputs(depth), np.random.default_rng(1).normal(size=(9, depth))
    found = rounded(w, Gram(x.T @ x / len(x)), limit, np.zeros(9))
    scale = np.abs(w).max(1)[:, None] / limit
    nearest = np.rint(w / scale) * scale
    assert np.abs(found.whole).max() <= limit
    assert np.square(x @ (found.numbers - w).T).sum() < np.square(x @ (nearest - w).T).sum()


def test_rounding_of_channels_is_that_of_each() -> None:
    x, w = alike_inputs(9), np.random.default_rng(1).normal(size=(5, 9))
    moments = x.T @ x / len(x)
    every = rounded(w, Gram(np.stack([moments] * 5)), 127, np.zeros(5))
    assert np.square(x @ (every.numbers - w).T).sum() < np.square(x @ (np.rint(w * 40) / 40 - w).T).sum()


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    w = np.random.default_rng(1).normal(size=(2, 8))
    assert np.isfinite(rounded(w, Gram(np.zeros((8, 8))), 127, np.zeros(2)).numbers).all()
    assert not rounded(np.zeros((2, 8)), Gram(np.eye(8)), 127, np.zeros(2)).whole.any()


def seen_of(values: np.ndarray) -> Seen:
    seen = Seen()
    seen.take(values.astype(np.float32), values.size)
    return seen


def test_a_range_leaves_out_what_is_far_off() -> None:
    values = np.random.default_rng(0).normal(size=(100_000, 4))
    values[0, 0] = 40
    name, scheme = chosen(seen_of(values), "auto")
    assert name in ("percentile", "entropy")
    assert scheme.scale < chosen(seen_of(values), "minmax")[1].scale / 2
    for asked in ("minmax", "percentile", "entropy"):
        assert chosen(seen_of(values), asked)[0] == asked


def test_pixels_are_held_exactly_in_eight_bits() -> None:
    pixels = (np.arange(256, dtype=np.float32) - 127) / 128
    seen = seen_of(pixels[:, None])
    scheme = widened(scheme_for((seen.low, seen.high)), seen)
    whole = np.rint(pixels / np.float32(scheme.scale)) + scheme.zero
    np.testing.assert_array_equal(((whole - scheme.zero) * np.float32(scheme.scale)).astype("f4"), pixels)


def test_equalised_networks_compute_the_same_on_the_feeds() -> None:
    for make in NETS.values():
        graph = ready(optimize(open_source(make()).graph({})))
        feeds = [fitting(graph, feed, i) for i, feed in enumerate(feeds_of(4))]
        seen = observe(graph, feeds, wanted_values(graph), lambda *_: None)
        products = {n for n in graph.nodes if is_product(n)}
        other, _ = equalized(graph, products, seen, units_of(graph, products, seen))
        for feed in feeds:
            np.testing.assert_allclose(interpret(other, feed)["y"], interpret(graph, feed)["y"], rtol=1e-4, atol=1e-5)


def test_a_budget_that_cannot_be_kept_leaves_layers_in_float() -> None:
    graph = optimize(open_source(inverted_residuals()).graph({}))
    report = quantize(graph, Int8(feeds_of(8), bits="auto", budget=0.999999), lambda *_: None).report
    assert [layer for layer in report.layers if layer.bits == 32 and "budget" in layer.reason]
    easy = quantize(graph, Int8(feeds_of(8), bits="auto", budget=0.5), lambda *_: None).report
    assert {layer.bits for layer in easy.layers} == {7, 8}
    assert easy.cosine > 0.5
    assert easy.as_json()["layers"][0].keys() >= {"layer", "bits", "error", "loss", "cost_ms", "saved_ms", "reason"}


def test_bytes_of_eight_bits_are_told_with_what_they_cost_and_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "WIDE_LOSS", 0.0)
    monkeypatch.setattr(quantized, "WIDE_SHARE", 10.0)
    graph = optimize(open_source(inverted_residuals()).graph({}))
    wide = [layer for layer in quantize(graph, Int8(feeds_of(8)), lambda *_: None).report.layers if layer.levels == 255]
    assert wide
    assert all(re.search(r"8 bits: 7 lose \d.*, 8 take \d.* ms more", layer.reason) for layer in wide)


def test_high_effort_keeps_the_best_of_several_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, told = optimize(open_source(inverted_residuals()).graph({})), list[str]()
    asked = Int8(feeds_of(16), effort="high")
    best = quantize(graph, asked, lambda stage, *_: told.append(stage)).report
    monkeypatch.setitem(HOLDS, "high", (1.0,))
    fits, told = told.count("fit"), []
    usual = quantize(graph, asked, lambda stage, *_: told.append(stage)).report
    assert fits == 4 * told.count("fit")
    assert best.cosine >= usual.cosine


def test_options_are_checked() -> None:
    for options, said in (
        ({"bits": 9}, "bits must be one of 8, 7, auto"),
        ({"ranges": "wide"}, "ranges must be one of auto, minmax, percentile, entropy"),
        ({"effort": "low"}, "effort must be one of normal, high"),
        ({"budget": 1.5}, "must be a cosine"),
    ):
        with pytest.raises(InputError, match=said):
            Int8([], **options)
