"""`regions`: a map of probabilities to the boxes of what hangs together in it, as text detectors are read.

Method: real-time scene text detection with differentiable binarization (arXiv 1911.08947), 3.3; boxes are upright.
"""

from collections.abc import Mapping

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import EdgeType, TensorsType
from littoral.runtime.host.kinds import FLOATS, Bound, Kind
from littoral.runtime.host.options import Regions
from littoral.tensors import Array, TensorSpec

__all__ = ["REGIONS", "regions"]

RUNS_MAX = 1 << 16
"""Stretches of a row that are above the threshold; more are noise."""


def _takes(_options: Regions) -> TensorsType:
    return TensorsType((TensorSpec("map", "float32", (1, 1, -1, -1)),))


def _bind(options: Regions, given: EdgeType) -> Bound:
    ports = given.ports if isinstance(given, TensorsType) else ()
    is_map = len(ports) == 1 and ports[0].dtype in FLOATS and 2 <= len(ports[0].shape) <= 4
    if not is_map or any(size not in (1, -1) for size in ports[0].shape[:-2]):
        raise SettingError(f"takes {_takes(options)}, with leading 1s or without")
    gives = (TensorSpec("boxes", "float32", (-1, 4)), TensorSpec("scores", "float32", (-1,)))
    return Bound(TensorsType(gives), lambda tensors: regions(tensors, options))


def regions(tensors: Mapping[str, Array], options: Regions) -> dict[str, Array]:
    """`boxes` float32[n, 4] (left, top, right, bottom, in pixels of the map), `scores` float32[n], from the top down.

    A region is what is at least `at` and touches by a side; its score is the mean within it. Those under `score_min` or
    with a side under `side_min` are left out; the `limit` best stay. Each is grown by area × `unclip` / perimeter.
    Raises InputError for a map that is noise.
    """
    (found,) = tensors.values()
    values = found.reshape(found.shape[-2:]).astype(np.float64)
    rows, starts, ends = _runs(values >= options.at)
    roots = _joined(rows, starts, ends)
    names, member = np.unique(roots, return_inverse=True)
    sums = np.pad(np.cumsum(np.nan_to_num(values), axis=1), ((0, 0), (1, 0)))
    totals = np.bincount(member, sums[rows, ends] - sums[rows, starts], len(names))
    counts = np.bincount(member, ends - starts, len(names))
    least, most = np.full((2, len(names)), np.inf), np.full((2, len(names)), -np.inf)
    for axis, (first, last) in enumerate(((starts, ends), (rows, rows + 1))):
        np.minimum.at(least[axis], member, first)
        np.maximum.at(most[axis], member, last)
    corners = np.concatenate([least, most]).T
    scores = totals / np.maximum(counts, 1)
    sides = corners[:, 2:] - corners[:, :2]
    kept = np.flatnonzero((scores >= options.score_min) & (sides.min(axis=1, initial=np.inf) >= options.side_min))
    kept = kept[np.argsort(-scores[kept], kind="stable")][: options.limit]
    kept = kept[np.lexsort((corners[kept, 0], corners[kept, 1]))]
    grown = (sides[kept].prod(axis=1) * options.unclip / np.maximum(2 * sides[kept].sum(axis=1), 1))[:, None]
    boxes = np.concatenate([corners[kept, :2] - grown, corners[kept, 2:] + grown], axis=1)
    return {"boxes": boxes.astype(np.float32), "scores": scores[kept].astype(np.float32)}


def _runs(mask: Array) -> tuple[Array, Array, Array]:
    """Row, start and end of each stretch, in the order of rows."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges > 0)
    if len(rows) > RUNS_MAX:
        raise InputError(f"step `regions`: {len(rows)} stretches in the map, at most {RUNS_MAX}")
    return rows, starts, np.nonzero(edges < 0)[1]


def _joined(rows: Array, starts: Array, ends: Array) -> Array:
    """For each stretch the first one that it hangs together with."""
    parents = list(range(len(rows)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    row, start, end = rows.tolist(), starts.tolist(), ends.tolist()
    above = 0
    for index in range(len(row)):
        while row[above] < row[index] - 1 or (row[above] == row[index] - 1 and end[above] <= start[index]):
            above += 1
        other = above
        while row[other] == row[index] - 1 and start[other] < end[index]:
            one, two = root(other), root(index)
            parents[max(one, two)] = min(one, two)
            other += 1
    return np.array([root(index) for index in range(len(row))], np.int64)


REGIONS = Kind(_takes, _bind)
