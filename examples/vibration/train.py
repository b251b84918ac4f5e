"""Trains the small network and writes `bearing.onnx` and `figures.json`: numpy alone, and `onnx` to write the file.

    python examples/vibration/train.py

Three layers over the log spectrum, taught to tell the four kinds apart; what is used afterwards is the layer before the
last, 16 numbers of length 1, and their distance to those of windows known to be good. So a fault that was never shown
can be found too: `--unseen ball` leaves one kind out of the training.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from signals import FAULTS, window
from spectrum import BINS, spectrum

HERE = Path(__file__).parent
CHANNELS, WIDTH, STRIDE, SIZE = (12, 24), 9, 4, 16
TRAINING, TESTING, STEPS, BATCH, RATE = 600, 400, 1500, 64, 2e-3
FALSE_ALARMS = 0.01


def spectra(rng, fault, count, severity=None):
    """float32[count, 256]; severity: of the fault, else drawn from mild to clear."""
    strengths = rng.uniform(0.35, 1.2, count) if severity is None else np.full(count, severity)
    return np.stack([spectrum(window(rng, fault, severity=strength)) for strength in strengths])


class Network:
    """Two convolutions, mean and maximum over what is left, a dense layer of 16 (the embedding), one of the kinds."""

    def __init__(self, rng, kinds):
        def weights(*shape):
            return rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))

        self.p = {
            "w1": weights(CHANNELS[0], 1, WIDTH), "b1": np.zeros(CHANNELS[0]),
            "w2": weights(CHANNELS[1], CHANNELS[0], WIDTH), "b2": np.zeros(CHANNELS[1]),
            "w3": weights(SIZE, 2 * CHANNELS[1]), "b3": np.zeros(SIZE),
            "w4": weights(kinds, SIZE), "b4": np.zeros(kinds),
        }  # fmt: skip

    def forward(self, x):
        p, self.c = self.p, {}
        c = self.c
        c["u1"], a1 = columns(x[:, None]), None
        a1 = np.maximum(np.einsum("nck,dck->nd", c["u1"].reshape(-1, 1, WIDTH), p["w1"]) + p["b1"], 0)
        c["h1"] = a1.reshape(len(x), -1, CHANNELS[0]).transpose(0, 2, 1)
        c["u2"] = columns(c["h1"])
        a2 = np.maximum(np.einsum("nck,dck->nd", c["u2"].reshape(-1, CHANNELS[0], WIDTH), p["w2"]) + p["b2"], 0)
        c["h2"] = a2.reshape(len(x), -1, CHANNELS[1]).transpose(0, 2, 1)
        c["pooled"] = np.concatenate([c["h2"].mean(axis=2), c["h2"].max(axis=2)], axis=1)
        raw = c["pooled"] @ p["w3"].T + p["b3"]
        c["length"] = np.linalg.norm(raw, axis=1, keepdims=True) + 1e-6
        c["e"] = raw / c["length"]
        return c["e"], 8 * c["e"] @ p["w4"].T + p["b4"]

    def gradients(self, x, wanted):
        e, logits = self.forward(x)
        p, c, n = self.p, self.c, len(x)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        loss = -np.log(share[np.arange(n), wanted]).mean()
        d = share
        d[np.arange(n), wanted] -= 1
        d /= n
        g = {"w4": 8 * d.T @ e, "b4": d.sum(axis=0)}
        de = 8 * d @ p["w4"]
        draw = (de - e * (de * e).sum(axis=1, keepdims=True)) / c["length"]
        g |= {"w3": draw.T @ c["pooled"], "b3": draw.sum(axis=0)}
        dp = draw @ p["w3"]
        mean, most = dp[:, : CHANNELS[1], None], dp[:, CHANNELS[1] :, None]
        is_most = c["h2"] == c["h2"].max(axis=2, keepdims=True)
        dh2 = (mean / c["h2"].shape[2] + most * is_most / is_most.sum(axis=2, keepdims=True)) * (c["h2"] > 0)
        flat2 = dh2.transpose(0, 2, 1).reshape(-1, CHANNELS[1])
        g |= {"w2": np.einsum("nd,nck->dck", flat2, c["u2"].reshape(-1, CHANNELS[0], WIDTH)), "b2": flat2.sum(axis=0)}
        du2 = np.einsum("nd,dck->nck", flat2, p["w2"]).reshape(c["u2"].shape)
        dh1 = uncolumns(du2, c["h1"].shape) * (c["h1"] > 0)
        flat1 = dh1.transpose(0, 2, 1).reshape(-1, CHANNELS[0])
        g |= {"w1": np.einsum("nd,nck->dck", flat1, c["u1"].reshape(-1, 1, WIDTH)), "b1": flat1.sum(axis=0)}
        return loss, g


def columns(x):
    """[n, c, length] to [n, places, c, width]: what each place of a convolution sees."""
    seen = np.lib.stride_tricks.sliding_window_view(x, WIDTH, axis=2)[:, :, ::STRIDE]
    return np.ascontiguousarray(seen.transpose(0, 2, 1, 3))


def uncolumns(seen, shape):
    x = np.zeros(shape)
    for place in range(seen.shape[1]):
        x[:, :, place * STRIDE : place * STRIDE + WIDTH] += seen[:, place]
    return x


def train(network, x, wanted, rng) -> Iterator[float]:
    """Adam; the loss of each step."""
    first = {key: np.zeros_like(value) for key, value in network.p.items()}
    second = {key: np.zeros_like(value) for key, value in network.p.items()}
    for step in range(1, STEPS + 1):
        chosen = rng.integers(0, len(x), BATCH)
        loss, gradients = network.gradients(x[chosen], wanted[chosen])
        for key, gradient in gradients.items():
            first[key] = 0.9 * first[key] + 0.1 * gradient
            second[key] = 0.999 * second[key] + 0.001 * gradient**2
            mean, power = first[key] / (1 - 0.9**step), second[key] / (1 - 0.999**step)
            network.p[key] -= RATE * mean / (np.sqrt(power) + 1e-8)
        yield float(loss)


def exported(network) -> onnx.ModelProto:
    p = {key: value.astype(np.float32) for key, value in network.p.items()}
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["spectrum", "axis"], ["x"], name="channel"),
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", strides=[STRIDE]),
        node("Relu", ["c1"], ["h1"], name="relu1"),
        node("Conv", ["h1", "w2", "b2"], ["c2"], name="conv2", strides=[STRIDE]),
        node("Relu", ["c2"], ["h2"], name="relu2"),
        node("ReduceMean", ["h2", "last"], ["mean"], name="mean", keepdims=0),
        node("ReduceMax", ["h2", "last"], ["most"], name="most", keepdims=0),
        node("Concat", ["mean", "most"], ["pooled"], name="pooled", axis=1),
        node("Gemm", ["pooled", "w3", "b3"], ["raw"], name="dense", transB=1),
        node("LpNormalization", ["raw"], ["embedding"], name="unit", axis=1, p=2),
    ]
    constants = [numpy_helper.from_array(p[key], key) for key in ("w1", "b1", "w2", "b2", "w3", "b3")]
    constants += [numpy_helper.from_array(np.array([at], np.int64), key) for key, at in (("axis", 1), ("last", 2))]
    graph = helper.make_graph(
        nodes,
        "bearing",
        [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, [1, BINS])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, SIZE])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def distances(network, known, x):
    """Of each window to the nearest that is known to be good."""
    e, good = network.forward(x)[0], network.forward(known)[0]
    return np.sqrt(np.maximum(2 - 2 * (e @ good.T).max(axis=1), 0))


def figures(network, limit, known, rng):
    rows = {"good (false alarms)": float((distances(network, known, spectra(rng, "good", TESTING)) > limit).mean())}
    for fault in FAULTS[1:]:
        for severity in (1.0, 0.5, 0.35):
            found = distances(network, known, spectra(rng, fault, TESTING, severity)) > limit
            rows[f"{fault}, severity {severity:g}"] = float(found.mean())
    return rows


def trained(seed, unseen=None):
    """The network, spectra known to be good, and the distance above which a window is a fault."""
    rng = np.random.default_rng(seed)
    shown = [fault for fault in FAULTS if fault != unseen]
    x = np.concatenate([spectra(rng, fault, TRAINING) for fault in shown])
    wanted = np.repeat(np.arange(len(shown)), TRAINING)
    network = Network(rng, len(shown))
    losses = list(train(network, x, wanted, rng))
    print(f"loss {np.mean(losses[:50]):.3f} → {np.mean(losses[-50:]):.4f}")
    known = spectra(rng, "good", TESTING)
    limit = float(np.quantile(distances(network, known, spectra(rng, "good", 2000)), 1 - FALSE_ALARMS))
    return network, known, limit, rng


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    network, known, limit, rng = trained(asked.seed)
    found = {"synthetic": True, "limit": limit, "found": figures(network, limit, known, rng), "unseen": {}}
    for fault in FAULTS[1:]:
        other, known_other, limit_other, rng = trained(asked.seed + 1, fault)
        rows = figures(other, limit_other, known_other, rng)
        found["unseen"] |= {key: value for key, value in rows.items() if key.startswith(fault)}
    onnx.save(exported(network), HERE / "bearing.onnx")
    (HERE / "figures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
