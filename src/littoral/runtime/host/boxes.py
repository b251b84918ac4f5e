"""Boxes as arrays: their formats, and `nms`, which keeps the best of those that overlap."""

from collections.abc import Mapping

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import EdgeType, TensorsType
from littoral.runtime.host.kinds import FLOATS, Bound, Kind
from littoral.runtime.host.options import BoxFormat, Nms
from littoral.tensors import Array, TensorSpec

__all__ = ["NMS", "corners", "nms"]

CANDIDATES_MAX = 4096
"""Boxes that are compared with each other: the best by score."""


def corners(boxes: Array, form: BoxFormat) -> Array:
    """Boxes of any format as float32[n, 4] of left, top, right, bottom."""
    first, second = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    if form == "xywh":
        second = first + second
    elif form == "cxcywh":
        first, second = first - second / 2, first + second / 2
    with np.errstate(over="ignore"):
        return np.concatenate([first, second], axis=1).astype(np.float32)


def _bind(options: Nms, given: EdgeType) -> Bound:
    ports = {port.name: port for port in given.ports} if isinstance(given, TensorsType) else {}
    wanted = _takes(options)
    if len(wanted.ports) == 1 and len(ports) == 1:
        ports = {wanted.ports[0].name: next(iter(ports.values()))}
    if ports.keys() != {port.name for port in wanted.ports} or not all(_is_fit(options, p, ports[p]) for p in ports):
        raise SettingError(f"takes {wanted}, with a leading 1 or without")
    gives = (
        TensorSpec("boxes", "float32", (-1, 4)),
        TensorSpec("scores", "float32", (-1,)),
        TensorSpec("classes", "int64", (-1,)),
    )
    return Bound(TensorsType(gives), lambda tensors: nms(tensors, options))


def _takes(options: Nms) -> TensorsType:
    if options.layout == "boxes_scores":
        return TensorsType((TensorSpec("boxes", "float32", (-1, 4)), TensorSpec("scores", "float32", (-1, -1))))
    return TensorsType((TensorSpec("detections", "float32", (-1, -1)),))


def _is_fit(options: Nms, name: str, port: TensorSpec) -> bool:
    shape = port.shape[1:] if len(port.shape) == 3 and port.shape[0] in (1, -1) else port.shape
    if port.dtype not in FLOATS or len(shape) not in ((1, 2) if name == "scores" else (2,)):
        return False
    if options.layout == "boxes_scores":
        return name == "scores" or shape[1] in (4, -1)
    return _is_enough(shape[0 if options.layout == "columns" else 1], options)


def _is_enough(size: int, options: Nms) -> bool:
    return size < 0 or size >= (6 if options.layout == "rows_objectness" else 5)


def nms(tensors: Mapping[str, Array], options: Nms) -> dict[str, Array]:
    """`boxes` float32[n, 4] as left, top, right, bottom, `scores` float32[n], `classes` int64[n]: best first.

    Each box counts for its best class. Those below `score_min` and those that are not finite are left out; of two that
    overlap by more than `iou` the lesser goes, by class unless `across_classes`. Ties go to the earlier box. At most
    4,096 boxes are compared, the best. Raises InputError for shapes that do not fit.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        boxes, scores = _boxes_and_scores(tensors, options)
    classes = scores.argmax(axis=1) if scores.shape[1] else np.zeros(len(scores), np.int64)
    best = scores[np.arange(len(scores)), classes] if scores.shape[1] else np.zeros(len(scores), np.float32)
    is_sound = np.isfinite(boxes).all(axis=1) & (best >= options.score_min)
    order = np.flatnonzero(is_sound)
    order = order[np.argsort(-best[order], kind="stable")][:CANDIDATES_MAX]
    boxes, best, classes = boxes[order], best[order], classes[order].astype(np.int64)
    kept = _suppressed(boxes.astype(np.float64), np.zeros_like(classes) if options.across_classes else classes, options)
    return {"boxes": boxes[kept], "scores": best[kept], "classes": classes[kept]}


def _boxes_and_scores(tensors: Mapping[str, Array], options: Nms) -> tuple[Array, Array]:
    if options.layout == "boxes_scores":
        boxes, scores = _plain(tensors["boxes"], 2), tensors["scores"]
        if scores.ndim == 2 and scores.shape[0] == 1 and len(boxes) != 1:
            scores = scores[0]
        scores = scores[:, None] if scores.ndim == 1 else _plain(scores, 2)
        form: BoxFormat = options.format or "xyxy"
    else:
        (array,) = tensors.values()
        rows = _plain(array, 2)
        rows = rows.T if options.layout == "columns" else rows
        if not _is_enough(rows.shape[1], options):
            raise InputError(f"step `nms`: {rows.shape[1]} numbers a box, which is too few")
        boxes, scores = rows[:, :4], rows[:, 4:]
        if options.layout == "rows_objectness":
            scores = scores[:, :1] * scores[:, 1:]
        form = options.format or "cxcywh"
    if boxes.shape != (len(scores), 4):
        raise InputError(f"step `nms`: boxes of shape {list(boxes.shape)} with scores of shape {list(scores.shape)}")
    return corners(boxes, form), scores.astype(np.float32)


def _plain(array: Array, rank: int) -> Array:
    """Without a leading dimension of 1."""
    if array.ndim == rank + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != rank:
        raise InputError(f"step `nms`: tensor of shape {list(array.shape)}, expected {rank} dimensions")
    return array


def _suppressed(boxes: Array, classes: Array, options: Nms) -> Array:
    """Indices that stay, of boxes sorted by score."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas = sides[:, 0] * sides[:, 1]
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < options.limit:
        at, left = int(left[0]), left[1:]
        kept.append(at)
        inner = np.minimum(boxes[left, 2:], boxes[at, 2:]) - np.maximum(boxes[left, :2], boxes[at, :2])
        overlap = np.maximum(inner, 0).prod(axis=1)
        union = areas[left] + areas[at] - overlap
        share = overlap / np.where(union > 0, union, 1)
        is_other = (share <= options.iou) | (classes[left] != classes[at])
        left = left[is_other]
    return np.array(kept, np.int64)


NMS = Kind(_takes, _bind)
