"""`draw`: boxes with names and scores on a picture, as a JPEG or PNG file."""

from collections.abc import Mapping, Sequence

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import BYTES, EdgeType, TensorsType
from littoral.runtime.host.glyphs import text_mask
from littoral.runtime.host.jpeg import encode_jpeg
from littoral.runtime.host.kinds import FLOATS, Bound, Kind, spec_of
from littoral.runtime.host.options import COUNT_MAX, Draw
from littoral.runtime.host.pictures import as_rows, channels_of, on_picture
from littoral.runtime.host.png import encode_png
from littoral.tensors import Array, TensorSpec

__all__ = ["DRAW", "drawn"]

LABEL_CHARACTERS_MAX = 40
_INTEGERS = ("int64", "int32")
_OPTIONAL = {"scores": FLOATS, "classes": _INTEGERS, "indices": _INTEGERS}
_COLOURS = np.array(
    [[230, 60, 60], [40, 160, 70], [50, 110, 230], [235, 165, 20], [160, 70, 200], [20, 170, 180], [225, 90, 160]],
    np.uint8,
)


def _takes(_options: Draw) -> TensorsType:
    return TensorsType((TensorSpec("image", "uint8", (-1, -1, 3)), TensorSpec("boxes", "float32", (-1, 4))))


def _bind(options: Draw, given: EdgeType, labels: Sequence[str] | None = None) -> Bound:
    what = f"{_takes(options)}, and with them `scores`, `classes`"
    picture = spec_of(given, "image", ("uint8",), what)
    boxes = spec_of(given, "boxes", FLOATS, what)
    more = [name for name, dtypes in _OPTIONAL.items() if spec_of(given, name, dtypes, what) is not None]
    count = len(given.ports) if isinstance(given, TensorsType) else 0
    if picture is None or boxes is None or count != 2 + len(more) or channels_of(picture, "nhwc") is None:
        raise SettingError(f"takes {what}")
    if options.file == "png" and options.quality != Draw().quality:
        raise SettingError("`quality` has no meaning for `png`")
    return Bound(BYTES, lambda tensors: drawn(tensors, options, labels))


def drawn(tensors: Mapping[str, Array], options: Draw, labels: Sequence[str] | None = None) -> bytes:
    """The file. tensors: `image` uint8[height, width, 1 or 3], `boxes` [n, 4]; `scores`, `classes` or `indices` [n].

    Raises InputError for what is no picture, more than 4,096 boxes, one that is not finite, or unequal numbers.
    """
    rows = as_rows(tensors["image"], "nhwc", "draw")
    canvas = np.ascontiguousarray(np.broadcast_to(rows, (*rows.shape[:2], 3))).copy()
    boxes = on_picture(tensors["boxes"], options.format, options.space, (canvas.shape[1], canvas.shape[0]), "draw")
    if len(boxes) > COUNT_MAX:
        raise InputError(f"step `draw`: {len(boxes)} boxes, at most {COUNT_MAX}")
    scores = _beside(boxes, "scores", tensors)
    classes = _beside(boxes, "classes", tensors)
    if classes is None:
        classes = _beside(boxes, "indices", tensors)
    for i in reversed(range(len(boxes))):  # the best is drawn last
        number = 0 if classes is None else int(classes[i])
        words = [] if classes is None else [_name(number, labels)]
        words += [] if scores is None else [f"{float(scores[i]):.2f}"]
        _draw(canvas, boxes[i], _COLOURS[number % len(_COLOURS)], " ".join(words), options.line)
    return encode_png(canvas) if options.file == "png" else encode_jpeg(canvas, quality=options.quality)


def _beside(boxes: Array, name: str, tensors: Mapping[str, Array]) -> Array | None:
    if (found := tensors.get(name)) is None:
        return None
    if found.size != len(boxes):
        raise InputError(f"step `draw`: {len(boxes)} boxes and {found.size} `{name}`")
    return found.reshape(-1)


def _name(number: int, labels: Sequence[str] | None) -> str:
    known = labels is not None and 0 <= number < len(labels)
    return labels[number][:LABEL_CHARACTERS_MAX] if known and labels is not None else str(number)


def _draw(canvas: Array, box: Array, colour: Array, text: str, line: int) -> None:
    """Whatever of it lies on the picture."""
    height, width = canvas.shape[:2]
    left, right = np.rint(box[[0, 2]].clip(-line, width + line)).astype(int)
    top, bottom = np.rint(box[[1, 3]].clip(-line, height + line)).astype(int)
    if left >= right or top >= bottom:
        return
    for y_from, y_to, x_from, x_to in (
        (top, top + line, left, right),
        (bottom - line, bottom, left, right),
        (top, bottom, left, left + line),
        (top, bottom, right - line, right),
    ):
        canvas[max(0, y_from) : max(0, y_to), max(0, x_from) : max(0, x_to)] = colour
    if text:
        _write(canvas, left, top, colour, text)


def _write(canvas: Array, left: int, top: int, colour: Array, text: str) -> None:
    """White on the colour, above the box where there is room."""
    scale = 1 if canvas.shape[0] < 480 else 2
    ink = np.pad(text_mask(text, scale), scale)
    y = max(0, top - len(ink) if top >= len(ink) else top)
    x = max(0, min(left, canvas.shape[1] - ink.shape[1]))
    part = canvas[y : y + len(ink), x : x + ink.shape[1]]
    ink = ink[: part.shape[0], : part.shape[1]]
    part[:] = colour
    part[ink] = 255


DRAW = Kind(_takes, _bind)
