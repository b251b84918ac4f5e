"""Pictures as arrays of rows: what `crop` and `draw` are given, and the boxes that lie on one."""

from collections.abc import Sequence

import numpy as np

from littoral.errors import InputError
from littoral.runtime.host.boxes import corners
from littoral.runtime.host.options import BoxFormat
from littoral.tensors import Array, TensorSpec

__all__ = ["as_rows", "channels_of", "on_picture"]


def channels_of(port: TensorSpec, layout: str) -> int | None:
    """Channels of a picture of this shape, with a leading 1 or without: 1, 3 or −1 (not known). None: it is none."""
    shape = port.shape[1:] if len(port.shape) == 4 and port.shape[0] in (1, -1) else port.shape
    if len(shape) != 3:
        return None
    channels = shape[2 if layout == "nhwc" else 0]
    return channels if channels in (1, 3, -1) else None


def as_rows(picture: Array, layout: str, step: str) -> Array:
    """[height, width, channels], a view. Raises InputError for what is no picture."""
    rows = picture[0] if picture.ndim == 4 and picture.shape[0] == 1 else picture
    if rows.ndim == 3 and layout == "nchw":
        rows = np.moveaxis(rows, 0, 2)
    if rows.ndim != 3 or rows.shape[2] not in (1, 3) or 0 in rows.shape:
        raise InputError(
            f"step `{step}`: picture of shape {list(picture.shape)}, expected `{layout}` of 1 or 3 channels"
        )
    return rows


def on_picture(boxes: Array, form: BoxFormat, space: Sequence[float] | None, size: tuple[int, int], step: str) -> Array:
    """float64[n, 4]: left, top, right, bottom in pixels of a picture of `size` (width, height), not cut to it.

    Raises InputError for another shape, and naming a box that is not finite.
    """
    if boxes.ndim == 3 and boxes.shape[0] == 1:
        boxes = boxes[0]
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"step `{step}`: boxes of shape {list(boxes.shape)}, expected [?, 4]")
    found = corners(boxes, form).astype(np.float64)
    if len(unsound := np.flatnonzero(~np.isfinite(found).all(axis=1))):
        raise InputError(f"step `{step}`: box {unsound[0]} is not finite")
    if space is not None:
        found *= np.tile([size[0] / space[0], size[1] / space[1]], 2)
    return found
