"""Writes `monitor.onnx`: the whole watch in one model, from samples to a score, for devices without a node.

    python examples/vibration/monitor.py

float32[1, 8192] of acceleration becomes float32[1]: the distance to the nearest window that is known to be good, in
multiples of the limit, so above 1 is a fault. Inside: Welch's spectrum (`spectrum.py`) as transforms in sums and
products of float32, the network (`bearing.onnx`), and the windows that are known. `feeds.npz` has windows to calibrate
integers on. Two parts of the signal share one transform, as its real and its imaginary part.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from signals import FAULTS, SAMPLES, window
from spectrum import BINS, FLOOR, HOP, PART, spectrum

import littoral

__all__ = ["feeds", "known_good", "monitor"]

HERE = Path(__file__).parent
KNOWN, JUDGED, CALIBRATED = 96, 400, 24
FALSE_ALARMS = 0.01


class Sheet:
    """Nodes and constants of a graph."""

    def __init__(self, prefix=""):
        self.prefix = prefix
        self.nodes, self.constants, self.known = [], [], {}

    def constant(self, array):
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = f"{self.prefix}constant{len(self.known)}"
            self.constants.append(numpy_helper.from_array(array, self.known[key]))
        return self.known[key]

    def add(self, op, *inputs, **attributes):
        name = f"{self.prefix}{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def reshape(self, x, *shape):
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def cut(self, x, start, stop, step=1):
        """Along the first axis."""
        return self.add("Slice", x, *(self.constant(np.array([value], np.int64)) for value in (start, stop, 0, step)))

    def row(self, x, number):
        return self.cut(x, number, number + 1)

    def each(self, op, x, y):
        """Of two complex numbers' parts."""
        return self.add(op, x[0], y[0]), self.add(op, x[1], y[1])

    def turned(self, x, angles):
        """Complex product with e^(i · angle)."""
        cos, sin = (self.constant(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
        real = self.add("Sub", self.add("Mul", x[0], cos), self.add("Mul", x[1], sin))
        return real, self.add("Add", self.add("Mul", x[0], sin), self.add("Mul", x[1], cos))


def transform(sheet, z):
    """Fourier transform of 2048 complex numbers, (real, imaginary): Stockham's, by fours, then by two."""
    size, stride = PART, 1
    while size > 1:
        radix = 4 if size >= 4 else 2
        rest = size // radix
        parts = [sheet.reshape(x, radix, rest, stride) for x in z]
        made = butterfly(sheet, radix, lambda j, parts=parts: tuple(sheet.row(x, j) for x in parts))
        angles = -2 * np.pi * np.arange(rest).reshape(1, rest, 1) / size
        if rest > 1:
            made = [made[0], *(sheet.turned(x, k * angles) for k, x in enumerate(made[1:], 1))]
        joined = ([sheet.reshape(x[part], rest, 1, stride) for x in made] for part in range(2))
        z = tuple(sheet.add("Concat", *values, axis=1) for values in joined)
        size, stride = rest, stride * radix
    return tuple(sheet.reshape(x, PART) for x in z)


def butterfly(sheet, radix, part):
    """The transform of two or four numbers; each is asked for when it is needed, so that few are alive at once."""
    if radix == 2:
        a, b = part(0), part(1)
        return [sheet.each("Add", a, b), sheet.each("Sub", a, b)]
    a, c = part(0), part(2)
    even, odd = sheet.each("Add", a, c), sheet.each("Sub", a, c)
    b, d = part(1), part(3)
    sums, turns = sheet.each("Add", b, d), sheet.each("Sub", b, d)
    first, third = sheet.each("Add", even, sums), sheet.each("Sub", even, sums)
    second = sheet.add("Add", odd[0], turns[1]), sheet.add("Sub", odd[1], turns[0])
    return [first, second, third, (sheet.add("Sub", odd[0], turns[1]), sheet.add("Add", odd[1], turns[0]))]


def log_spectrum(sheet, samples):
    """float32[1, 256] of float32[8192], as `spectrum.spectrum`."""
    starts = np.arange(0, SAMPLES - PART + 1, HOP) // HOP
    pairs = -(-len(starts) // 2)
    rows = np.minimum(np.arange(3) + 2 * np.arange(pairs)[:, None], SAMPLES // HOP - 1)
    is_there = (2 * np.arange(pairs) + 1 < len(starts)).astype(np.float32)
    hops = sheet.reshape(samples, SAMPLES // HOP, HOP)
    given = [sheet.constant(rows), sheet.constant(is_there)]
    powers = sheet.add("Scan", *given, num_scan_inputs=2, body=pair_of_parts(hops))
    bins = sheet.add("ReduceMean", powers, sheet.constant(np.array([0])), keepdims=0)
    mean = sheet.add("ReduceMean", bins, sheet.constant(np.array([1])), keepdims=1)
    return sheet.add("Log", sheet.add("Add", sheet.add("Div", bins, mean), sheet.constant(np.float32(FLOOR))))


def pair_of_parts(hops):
    """Power of the part in the first two rows of `hops` that are named, and of that in the last two if it is there."""
    sheet = Sheet("pair_")
    three = sheet.add("Gather", hops, "rows", axis=0)
    taper = np.hanning(PART + 1)[:-1].astype(np.float32).reshape(2, HOP)
    real = sheet.add("Mul", sheet.cut(three, 0, 2), sheet.constant(taper))
    imaginary = sheet.add("Mul", sheet.cut(three, 1, 3), sheet.constant(taper))
    found = power(sheet, transform(sheet, (real, sheet.add("Mul", imaginary, "is_there"))))
    return helper.make_graph(
        [*sheet.nodes, helper.make_node("Identity", [found], ["power"], name="power")],
        "pair",
        [
            helper.make_tensor_value_info("rows", TensorProto.INT64, [3]),
            helper.make_tensor_value_info("is_there", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("power", TensorProto.FLOAT, [1, BINS])],
        sheet.constants,
    )


def power(sheet, z):
    """float32[1, 256]: mean power of the lines in each bin, of both parts of the signal together."""
    some = sheet.constant(np.float32(1e-30))  # so that silence has a mean to be divided by
    squares = sheet.add("Add", sheet.add("Add", *(sheet.add("Mul", x, x) for x in z)), some)
    up, down = sheet.cut(squares, 1, PART // 2 + 1), sheet.cut(squares, PART - 1, PART // 2 - 1, -1)
    lines = sheet.reshape(sheet.add("Add", up, down), 1, BINS, PART // 2 // BINS)
    return sheet.add("ReduceMean", lines, sheet.constant(np.array([2])), keepdims=0)


def score(sheet, embedding, good, limit):
    """float32[1]: distance to the nearest row of `good`, in multiples of the limit."""
    apart = sheet.add("Sub", sheet.constant(good), embedding)
    squares = sheet.add("ReduceSum", sheet.add("Mul", apart, apart), sheet.constant(np.array([1])), keepdims=0)
    nearest = sheet.add("ReduceMin", squares, sheet.constant(np.array([0])), keepdims=1)
    return sheet.add("Mul", sheet.add("Sqrt", nearest), sheet.constant(np.float32(1 / limit)))


def monitor(good, limit):
    """The model. good: float32[n, 16], embeddings of windows that are known to be good."""
    sheet, network = Sheet(), onnx.load(HERE / "bearing.onnx").graph
    found = log_spectrum(sheet, sheet.reshape("samples", SAMPLES))
    sheet.nodes.append(helper.make_node("Identity", [found], [network.input[0].name], name="spectrum"))
    sheet.nodes += network.node
    sheet.constants += network.initializer
    last = score(sheet, network.output[0].name, good, limit)
    sheet.nodes.append(helper.make_node("Identity", [last], ["score"], name="score"))
    graph = helper.make_graph(
        sheet.nodes,
        "monitor",
        [helper.make_tensor_value_info("samples", TensorProto.FLOAT, [1, SAMPLES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])],
        sheet.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def known_good(rng):
    """Embeddings of good windows, and the limit that one in a hundred others passes."""
    network = littoral.load(littoral.compile(HERE / "bearing.onnx"))
    rows = [network.run({"spectrum": spectrum(window(rng))[None]})["embedding"][0] for _ in range(KNOWN + JUDGED)]
    good, others = np.stack(rows[:KNOWN]), np.stack(rows[KNOWN:])
    nearest = np.linalg.norm(others[:, None] - good, axis=2).min(axis=1)
    return good, float(np.quantile(nearest, 1 - FALSE_ALARMS))


def feeds(rng):
    """float32[n, 8192]: windows to calibrate on, good ones and faults."""
    return np.stack([window(rng, FAULTS[i % len(FAULTS)]) for i in range(CALIBRATED)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=HERE)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    good, limit = known_good(rng)
    onnx.save(monitor(good, limit), asked.folder / "monitor.onnx")
    np.savez(asked.folder / "feeds.npz", samples=feeds(rng))
    print(f"{len(good)} windows are known, the limit is {limit:.3f}")


if __name__ == "__main__":
    main()
