"""The agent `image` beside Pillow: a picture's bytes to the tensor a model takes, in the guarded engine."""

import io
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.rows import Row, median_ms, row
from littoral import settings
from littoral.runtime.agents import Agent

__all__ = ["run"]

REPEATS = 41
SLOWER_MAX = 2.0
SIDE = 224
FLOAT: dict[str, Any] = {"width": SIDE, "height": SIDE}
BYTES = FLOAT | {"dtype": "uint8", "layout": "nhwc"}

# Name, width, height, how the file is saved, configuration; and whether Pillow decodes at a smaller scale too.
CASES: list[tuple[str, int, int, dict[str, Any], dict[str, Any], bool]] = [
    ("jpeg_640x272_uint8", 640, 272, {}, BYTES, False),
    ("jpeg_640x272_float32", 640, 272, {}, FLOAT, False),
    ("jpeg_640x480_float32", 640, 480, {}, FLOAT, False),
    ("jpeg_640x480_progressive_float32", 640, 480, {"progressive": True}, FLOAT, False),
    ("jpeg_1080p_float32_whole", 1920, 1080, {}, FLOAT | {"dct_scaling": False}, False),
    ("jpeg_1080p_float32_scaled", 1920, 1080, {}, FLOAT, True),
    ("jpeg_12_megapixels_float32_scaled", 4000, 3000, {}, FLOAT, True),
    ("png_640x480_float32", 640, 480, {"format": "PNG"}, FLOAT, False),
]


def picture(width: int, height: int) -> Image.Image:
    """Smooth light, texture of a 1/f spectrum, edges: about as many bytes as a photograph has."""
    rng = np.random.default_rng(width)
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    phases = np.exp(2j * np.pi * rng.random((3, *frequencies.shape)))
    texture = np.fft.irfft2(phases / np.maximum(frequencies, 1 / width), (height, width)).transpose(1, 2, 0)
    y, x = np.mgrid[0:height, 0:width] / width
    light = 0.5 + 0.4 * np.cos(2.5 * x + 1.5 * y)[..., None] + 0.1 * texture / texture.std()
    light[(x - 0.6) ** 2 + (y - 0.3) ** 2 < 0.03] *= 0.5
    return Image.fromarray((light.clip(0, 1) * 255).astype(np.uint8))


def with_pillow(data: bytes, config: Mapping[str, Any], is_scaled: bool) -> npt.NDArray[Any]:
    """The same tensor; scaled as the agent does it, to twice the size or more."""
    file = Image.open(io.BytesIO(data))
    if is_scaled:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))
    pixels = np.asarray(file.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    if config.get("dtype") == "uint8":
        return pixels[None]
    return np.ascontiguousarray((pixels.transpose(2, 0, 1) / np.float32(255))[None])


def run() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder, settings.override(LITTORAL_CACHE=folder, LITTORAL_STATE=folder):
        for name, width, height, saved, config, is_scaled in CASES:
            file = io.BytesIO()
            picture(width, height).save(file, **({"format": "JPEG", "quality": 85} | saved))
            with Agent.open("builtin:image", config) as agent:
                rows.append(
                    compared(name, agent, file.getvalue(), lambda d, c=config, s=is_scaled: with_pillow(d, c, s))
                )
    return rows


def compared(name: str, agent: Agent, data: bytes, peer: Callable[[bytes], object]) -> Row:
    """Milliseconds a picture, ours and Pillow's, measured in turn."""
    ours = median_ms(lambda: agent.infer(data), repeats=REPEATS, warm_up=3)
    theirs = median_ms(lambda: peer(data), repeats=REPEATS, warm_up=3)
    return row(name, ours, "ms", limit=round(SLOWER_MAX * theirs, 2), peer="Pillow", peer_value=theirs)
