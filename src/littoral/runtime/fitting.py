"""Which variants run for the shapes that a caller gives: one as it is, a larger one padded, several one after another.

What is allowed stands in the manifest (`Axis`). Pure: shapes in, runs out; and arrays into a variant's views and out.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from littoral.artifact.manifest import Axis, Manifest, Variant
from littoral.tensors import Array, TensorSpec

__all__ = ["RUNS_MAX", "Fitting", "Place", "Run", "Span", "fill", "joined", "split_dimension", "trimmed"]

RUNS_MAX = 1024

Shapes = tuple[tuple[int, ...], ...]


class Span(NamedTuple):
    """`taken` elements from `start` of what is given along a dimension, in a variant that takes `size`."""

    start: int
    taken: int
    size: int


class Run(NamedTuple):
    """One call. shapes: of the variant's inputs; spans: by dimension."""

    shapes: Shapes
    spans: dict[str, Span]


class Place(NamedTuple):
    """Where a request can be computed beside others: `items` of the dimension that may be split.

    whole: its spans of the other dimensions; requests may share a run if these have the same sizes. sizes: shapes of
    the variants by how many items they hold.
    """

    items: int
    whole: dict[str, Span]
    sizes: dict[int, Shapes]

    @property
    def group(self) -> tuple[int, ...]:
        return tuple(span.size for span in self.whole.values())


class Fitting:
    """The choices that a manifest leaves. may_share: whether several requests may be computed in one run."""

    def __init__(self, manifest: Manifest) -> None:
        self.axes = manifest.axes
        self._variants = manifest.variants
        self._names = [port.name for port in manifest.variants[0].inputs]
        self._split = split_dimension(self.axes)
        self._whole = [name for name in self.axes if name != self._split]
        self.may_share = self._may_share()

    def runs(self, shapes: Shapes) -> list[Run] | None:
        """The calls for inputs of these shapes, in order; None where the variants cannot serve them.

        The smallest variant that holds them runs; along a dimension that may be split, several run where one would be
        more than half empty.
        """
        if (given := self._given(shapes)) is None:
            return None
        groups: dict[tuple[int, ...], dict[int, Variant]] = {}
        for variant in self._variants:
            if self._holds(variant, shapes, given):
                sizes = tuple(variant.key[name] for name in self._whole)
                groups.setdefault(sizes, {})[variant.key.get(self._split, 0)] = variant
        for sizes in sorted(groups, key=lambda found: (prod(found), found)):
            whole = {name: Span(0, given[name], size) for name, size in zip(self._whole, sizes, strict=True)}
            if (found := self._runs_of(groups[sizes], given, whole)) is not None:
                return found
        return None

    def _runs_of(
        self, by_size: Mapping[int, Variant], given: Mapping[str, int], whole: Mapping[str, Span]
    ) -> list[Run] | None:
        """Runs of variants that differ in the dimension that may be split alone."""
        if not self._split:
            (variant,) = by_size.values()
            return [Run(_shapes(variant), dict(whole))]
        pieces = _pieces(given[self._split], sorted(by_size), self.axes[self._split].pad is not None)
        if pieces is None:
            return None
        return [Run(_shapes(by_size[piece.size]), {**whole, self._split: piece}) for piece in pieces]

    def place(self, shapes: Shapes) -> Place | None:
        """Where inputs of these shapes can be computed beside others; None where items may meet, or do not fit."""
        if not self.may_share or (given := self._given(shapes)) is None:
            return None
        groups: dict[tuple[int, ...], dict[int, Shapes]] = {}
        for variant in self._variants:
            if self._holds(variant, shapes, given):
                sizes = tuple(variant.key[name] for name in self._whole)
                groups.setdefault(sizes, {})[variant.key[self._split]] = _shapes(variant)
        if not groups:
            return None
        sizes = min(groups, key=lambda found: (prod(found), found))
        whole = {name: Span(0, given[name], size) for name, size in zip(self._whole, sizes, strict=True)}
        return Place(given[self._split], whole, groups[sizes])

    def _may_share(self) -> bool:
        """Whether requests may be computed in one run: every input and output has the dimension that may be split."""
        if not self._split:
            return False
        axis, first = self.axes[self._split], self._variants[0]
        is_known = all(port.name in axis.inputs for port in first.inputs)
        return is_known and all(port.name in axis.outputs and port.dims_offset is None for port in first.outputs)

    def offered(self) -> str:
        """What may be given along each dimension, for people; empty where only the variants' own shapes are taken."""
        return "; ".join(f"{name}: {self._told(name, axis)}" for name, axis in self.axes.items())

    def loosened(self, variant: Variant) -> list[TensorSpec]:
        """The inputs of a variant, with −1 for what padding or splitting leaves open."""
        return [self._loose(port.spec, True) for port in variant.inputs]

    def loosened_outputs(self, variant: Variant) -> list[TensorSpec]:
        """The outputs of a variant that is padded or split, with −1 for what depends on the inputs."""
        return [self._loose(port.spec, False) for port in variant.outputs]

    def may_serve(self, shapes: Shapes) -> bool:
        """Whether inputs of these shapes can be served; True where a size is not known (−1)."""
        return any(size < 0 for shape in shapes for size in shape) or self.runs(shapes) is not None

    def _loose(self, spec: TensorSpec, is_input: bool) -> TensorSpec:
        allowed = [axis for axis in self.axes.values() if axis.split or axis.pad is not None]
        places = [axis.inputs if is_input else axis.outputs for axis in allowed]
        open_axes = {place[spec.name] for place in places if spec.name in place}
        return TensorSpec(
            spec.name, spec.dtype, tuple(-1 if i in open_axes else size for i, size in enumerate(spec.shape))
        )

    def _given(self, shapes: Shapes) -> dict[str, int] | None:
        """The size along each dimension, the same in every input that has it."""
        given = {}
        for name, axis in self.axes.items():
            sizes = set()
            for value, at in axis.inputs.items():
                shape = shapes[self._names.index(value)]
                if at >= len(shape):
                    return None
                sizes.add(shape[at])
            if len(sizes) != 1 or not sizes:
                return None
            (given[name],) = sizes
        return given

    def _holds(self, variant: Variant, shapes: Shapes, given: Mapping[str, int]) -> bool:
        for port, shape in zip(variant.inputs, shapes, strict=True):
            own = {axis.inputs[port.name] for axis in self.axes.values() if port.name in axis.inputs}
            if len(shape) != len(port.shape):
                return False
            if any(a != b for i, (a, b) in enumerate(zip(shape, port.shape, strict=True)) if i not in own):
                return False
        return all(self._serves(name, given[name], variant.key[name]) for name in self.axes)

    def _serves(self, name: str, given: int, size: int) -> bool:
        is_padded = self.axes[name].pad is not None and given < size
        return given == size or (given > 0 and (is_padded or name == self._split))

    def _told(self, name: str, axis: Axis) -> str:
        sizes = sorted({v.key[name] for v in self._variants})
        listed = ", ".join(map(str, sizes))
        if name == self._split:
            return (
                f"any size from 1, by runs of {listed}" if axis.pad is not None or 1 in sizes else f"sums of {listed}"
            )
        return f"1 to {sizes[-1]}, padded to {listed}" if axis.pad is not None else listed


def split_dimension(axes: Mapping[str, Axis]) -> str:
    """The one along which several runs follow each other: the first that may be split; empty if none."""
    return next((name for name, axis in axes.items() if axis.split), "")


def _shapes(variant: Variant) -> Shapes:
    return tuple(port.shape for port in variant.inputs)


def _pieces(count: int, sizes: Sequence[int], may_pad: bool) -> list[Span] | None:
    """Spans that cover `count` elements: the smallest size that holds the rest if more than half of it is used or
    nothing smaller is there, else the largest that is filled.
    """
    if count > sizes[-1] * RUNS_MAX:
        return None
    pieces: list[Span] = []
    start = 0
    while start < count:
        rest = count - start
        above = [size for size in sizes if size >= rest]
        below = [size for size in sizes if size <= rest]
        fits = above and (above[0] == rest or (may_pad and (2 * rest > above[0] or not below)))
        if not fits and not below:
            return None
        size = above[0] if fits else below[-1]
        pieces.append(Span(start, min(rest, size), size))
        start += pieces[-1].taken
    return pieces if pieces and len(pieces) <= RUNS_MAX else None


def fill(view: Array, array: Array, name: str, run: Run, axes: Mapping[str, Axis]) -> None:
    """Copies an input's part for a run into the variant's memory, and pads it."""
    own = [(axis.inputs[name], run.spans[key], axis.pad) for key, axis in axes.items() if name in axis.inputs]
    source, target = [slice(None)] * array.ndim, [slice(None)] * array.ndim
    for at, span, _ in own:
        source[at] = slice(span.start, span.start + span.taken)
        target[at] = slice(span.taken)
    np.copyto(view[tuple(target)], array[tuple(source)])
    for at, span, pad in own:
        if span.taken == span.size:
            continue
        target[at] = slice(span.taken, None)
        last = (*target[:at], slice(span.taken - 1, span.taken), *target[at + 1 :])
        view[tuple(target)] = view[last] if not isinstance(pad, dict) else pad[name]
        target[at] = slice(None)


def trimmed(array: Array, name: str, run: Run, axes: Mapping[str, Axis]) -> Array:
    """An output without what was made of padding."""
    picks = [slice(None)] * array.ndim
    for key, axis in axes.items():
        if (at := axis.outputs.get(name)) is not None:
            span = run.spans[key]
            picks[at] = slice(array.shape[at] // span.size * span.taken)
    return np.ascontiguousarray(array[tuple(picks)])


def joined(parts: Sequence[Mapping[str, Array]], axes: Mapping[str, Axis]) -> dict[str, Array]:
    """The outputs of several runs as one; those without items are the first run's."""
    if len(parts) == 1:
        return dict(parts[0])
    along = axes[split_dimension(axes)].outputs
    return {
        name: np.concatenate([part[name] for part in parts], along[name]) if name in along else array
        for name, array in parts[0].items()
    }
