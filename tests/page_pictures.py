"""Pictures drawn from a seed: three sources of slowly moving shapes, so that neighbours in time look alike."""

import colorsys
import io
import math

from PIL import Image, ImageDraw

from page_node import Shown

SOURCES = ("harbour", "market", "workshop")
FRAMES = 12
FRAMES_PER_S = 4
WIDTH, HEIGHT = 320, 180


def page_pictures() -> list[Shown]:
    return [
        Shown(source, i / FRAMES_PER_S, jpeg(draw(which, i)))
        for which, source in enumerate(SOURCES)
        for i in range(FRAMES)
    ]


def draw(which: int, frame: float) -> Image.Image:
    """Frame `frame` of source `which`; fractions lie between frames."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _colour(which / 3, 0.35))
    canvas = ImageDraw.Draw(image)
    for i in range(5):
        angle = frame / 9 + i * (1.3 + which)
        x, y = WIDTH * (0.5 + 0.4 * math.cos(angle)), HEIGHT * (0.5 + 0.4 * math.sin(angle * (1 + which)))
        size = 24 + 12 * i
        box = (x - size, y - size, x + size, y + size)
        (canvas.ellipse if which % 2 else canvas.rectangle)(box, fill=_colour(which / 3 + i / 11, 0.9))
    return image


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _colour(hue: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.6, value)
    return int(255 * red), int(255 * green), int(255 * blue)
