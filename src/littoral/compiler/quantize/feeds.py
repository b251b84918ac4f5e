"""Calibration feeds as they are given: read once, no more of them than are allowed, and as the graph takes them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from littoral.compiler.ir.graph import Graph
from littoral.errors import InputError
from littoral.tensors import Array

__all__ = ["FEEDS_MAX", "collected", "fitting"]

FEEDS_MAX = 10_000


def collected(feeds: Any) -> list[Mapping[str, Array]]:
    """All of them. Raises InputError for what is no series of mappings, or for too many; an endless one ends here."""
    if isinstance(feeds, Mapping) or not isinstance(feeds, Iterable):
        kind = type(feeds).__name__
        raise InputError(f"int8: calibration feeds are one `{kind}`, must be a series", hint="a list of inputs by name")
    found = list(islice(feeds, FEEDS_MAX + 1))
    if not 0 < len(found) <= FEEDS_MAX:
        count = len(found) if len(found) <= FEEDS_MAX else f"more than {FEEDS_MAX}"
        raise InputError(f"int8: {count} calibration feeds, must be 1..{FEEDS_MAX}")
    for i, feed in enumerate(found):
        if not isinstance(feed, Mapping):
            raise InputError(f"int8: calibration feed {i} is a `{type(feed).__name__}`, must be inputs by name")
    return found


def fitting(graph: Graph, feed: Mapping[str, Array], number: int) -> dict[str, Array]:
    """A feed as the graph takes it: a leading dimension of 1 may be missing, and the name of the only input."""
    fitting = {}
    for value in graph.inputs:
        name = "" if "" in feed and len(graph.inputs) == 1 else value.name
        if name not in feed:
            raise InputError(f"int8: calibration feed {number} lacks input `{value.name}`")
        array = _array(feed[name], name, number)
        if array.shape == value.shape[1:] and value.shape[:1] == (1,):
            array = array[None]
        if array.shape != value.shape or array.dtype.name != value.dtype:
            got = f"{array.dtype.name}{list(array.shape)}"
            raise InputError(f"int8: calibration feed {number}: `{value.name}` is {got}, expected {value.type}")
        fitting[value.name] = array
    return fitting


def _array(given: Any, name: str, number: int) -> Array:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise InputError(f"int8: calibration feed {number}: `{name}` is no array: {error}") from error
