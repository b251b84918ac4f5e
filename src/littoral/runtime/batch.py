"""Several requests in one run: each has items of its own along the dimension that may be split. Pure but for memory."""

from collections.abc import Mapping, Sequence

from littoral.errors import InputError
from littoral.runtime.fitting import Fitting, Place, Run, Span, fill, split_dimension, trimmed
from littoral.runtime.model_memory import BoundVariant
from littoral.tensors import Array

__all__ = ["Batch"]


class Batch:
    """names: the inputs in order; requests: their arrays in that order.

    Raises InputError where the requests cannot share a run. `shapes` are those of the variant that runs.
    """

    def __init__(self, fitting: Fitting, label: str, names: Sequence[str], requests: Sequence[Sequence[Array]]) -> None:
        places = [fitting.place(tuple(array.shape for array in arrays)) for arrays in requests]
        self._places = [place for place in places if place is not None]
        if len(self._places) != len(requests) or len({place.group for place in self._places}) != 1:
            raise InputError(f"{label}: requests of these shapes cannot be computed together")
        self._items = sum(place.items for place in self._places)
        sizes = self._places[0].sizes
        if (size := min((size for size in sizes if size >= self._items), default=0)) == 0:
            raise InputError(f"{label}: {self._items} items, at most {max(sizes)} can be computed together")
        self.shapes = sizes[size]
        self._size = size
        self._axes = fitting.axes
        self._split = split_dimension(fitting.axes)
        self._names = names
        self._requests = requests

    def fill(self, variant: BoundVariant) -> None:
        """Copies every request's inputs into the variant's memory, and its last item into the room that is left."""
        for index, (name, view) in enumerate(zip(self._names, variant.inputs, strict=True)):
            at = self._axes[self._split].inputs[name]
            start = 0
            for place, arrays in zip(self._places, self._requests, strict=True):
                part = view[_along(at, start, start + place.items)]
                fill(part, arrays[index], name, self._run(place), self._axes)
                start += place.items
            if start < self._size:
                view[_along(at, start, self._size)] = view[_along(at, start - 1, start)]

    def parts(self, outputs: Mapping[str, Array]) -> list[dict[str, Array]]:
        """Each request's own part of the outputs."""
        found: list[dict[str, Array]] = []
        start = 0
        for place in self._places:
            run, part = self._run(place), {}
            for name, array in outputs.items():
                at = self._axes[self._split].outputs[name]
                each = array.shape[at] // self._size
                own = array[_along(at, start * each, (start + place.items) * each)]
                part[name] = trimmed(own, name, run, self._axes)
            found.append(part)
            start += place.items
        return found

    def _run(self, place: Place) -> Run:
        return Run((), {**place.whole, self._split: Span(0, place.items, place.items)})


def _along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, slice(start, stop))
