"""`crop`: parts of a picture by boxes, each resized (bilinear, pixel centres, not antialiased) to one size."""

from math import prod

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import EdgeType, TensorsType
from littoral.runtime.host.kinds import FLOATS, Bound, Kind, spec_of
from littoral.runtime.host.options import Crop
from littoral.runtime.host.pictures import as_rows, channels_of, on_picture
from littoral.tensors import DTYPES, Array, TensorSpec

__all__ = ["CROP", "cropped"]

RESULT_BYTES_MAX = 256 << 20
_PICTURES = ("uint8", "float32")


def _takes(_options: Crop) -> TensorsType:
    return TensorsType((TensorSpec("image", "uint8", (-1, -1, 3)), TensorSpec("boxes", "float32", (-1, 4))))


def _bind(options: Crop, given: EdgeType) -> Bound:
    what = f"{_takes(options)}, the picture `{options.picture}` in {' or '.join(_PICTURES)}"
    picture = spec_of(given, "image", _PICTURES, what)
    boxes = spec_of(given, "boxes", FLOATS, what)
    is_alone = isinstance(given, TensorsType) and len(given.ports) == 2
    if picture is None or boxes is None or not is_alone or boxes.shape[-1:] not in ((4,), (-1,)):
        raise SettingError(f"takes {what}")
    if (channels := channels_of(picture, options.picture)) is None:
        raise SettingError(f"takes {what}")
    dtype = options.dtype or picture.dtype
    _check(options, dtype)
    shape = _shape(options, channels)
    if prod(map(abs, shape)) * options.limit * DTYPES[dtype].bytes > RESULT_BYTES_MAX:
        raise SettingError(f"gives more than {RESULT_BYTES_MAX >> 20} MiB with {options.limit} boxes of {list(shape)}")
    return Bound(
        TensorsType((TensorSpec("crops", dtype, (-1, *shape)),)),
        lambda tensors: {"crops": cropped(tensors["image"], tensors["boxes"], options)},
    )


def _check(options: Crop, dtype: str) -> None:
    is_plain = options.rescale == 1 and options.mean == 0 and options.std == 1
    if dtype == "uint8" and not is_plain:
        raise SettingError("`rescale`, `mean` and `std` have no meaning for uint8", hint='set dtype = "float32"')
    if 0 in np.atleast_1d(options.std):
        raise SettingError("`std` is 0")
    if options.fit == "stretch" and options.pad != 0:
        raise SettingError("`pad` has no meaning for `stretch`")
    if options.space is not None and min(options.space) <= 0:
        raise SettingError("`space` must be two numbers above 0")


def _shape(options: Crop, channels: int) -> tuple[int, int, int]:
    if options.layout == "nhwc":
        return (options.height, options.width, channels)
    return (channels, options.height, options.width)


def cropped(picture: Array, boxes: Array, options: Crop) -> Array:
    """[n, height, width, channels], or channels first: the part in each box, cut to the picture, at least one pixel.

    Raises InputError for what is no picture, more boxes than `limit`, or one that is not finite.
    """
    rows = as_rows(picture, options.picture, "crop")
    height, width, channels = rows.shape
    found = on_picture(boxes, options.format, options.space, (width, height), "crop")
    if len(found) > options.limit:
        raise InputError(f"step `crop`: {len(found)} boxes, at most {options.limit}")
    if options.grow:
        sides = found[:, 2:] - found[:, :2]
        found += np.concatenate([-sides, sides], axis=1) * options.grow
    dtype = options.dtype or picture.dtype.name
    result = np.full((len(found), options.height, options.width, channels), options.pad, np.float32)
    for part, box in zip(result, _cut(found, width, height), strict=True):
        _fill(part, rows, box, options)
    if dtype == "uint8":
        result = np.rint(result).clip(0, 255).astype(np.uint8)
    else:
        mean, std = np.asarray(options.mean, np.float32), np.asarray(options.std, np.float32)
        result = (result * np.float32(options.rescale) - mean) / std
    return result if options.layout == "nhwc" else np.ascontiguousarray(np.moveaxis(result, 3, 1))


def _cut(boxes: Array, width: int, height: int) -> Array:
    """Within the picture, and at least a pixel wide and high."""
    most = np.array([width, height], np.float64)
    first = np.clip(boxes[:, :2], 0, most - 1)
    return np.concatenate([first, np.clip(boxes[:, 2:], first + 1, most)], axis=1)


def _fill(part: Array, rows: Array, box: Array, options: Crop) -> None:
    left, top, right, bottom = box
    columns, lines = options.width, options.height
    if options.fit == "contain":
        scale = min(columns / (right - left), lines / (bottom - top))
        columns = max(1, min(columns, round((right - left) * scale)))
        lines = max(1, min(lines, round((bottom - top) * scale)))
    x, x_next, x_share = _places(left, right, columns, rows.shape[1])
    y, y_next, y_share = _places(top, bottom, lines, rows.shape[0])
    upper, lower = rows[y].astype(np.float32), rows[y_next].astype(np.float32)
    y_share, x_share = y_share[:, None, None], x_share[None, :, None]
    mixed = upper + (lower - upper) * y_share
    part[:lines, :columns] = mixed[:, x] + (mixed[:, x_next] - mixed[:, x]) * x_share


def _places(first: float, last: float, count: int, size: int) -> tuple[Array, Array, Array]:
    """Where `count` samples of a stretch lie: pixel, the next one, and its share."""
    at = np.clip(first + (np.arange(count) + 0.5) * ((last - first) / count) - 0.5, 0, size - 1)
    whole = np.floor(at).astype(np.int64)
    return whole, np.minimum(whole + 1, size - 1), (at - whole).astype(np.float32)


CROP = Kind(_takes, _bind)
