"""Variants: the sizes that set them apart, and what a host may do where none has the size that it is given.

A dimension may be padded and split where that is proven, or where the caller (or the kind of model) declares it. Proven
is: in every variant each item goes through alone (`ir/per_item.py`), and what happens to one item is the same graph
with the same constants in all of them. Where a set of other sizes comes with one size of the dimension only, the model
is imported once more at another, to compare.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from littoral.artifact import Axis
from littoral.compiler.ir.graph import Graph, Value
from littoral.compiler.ir.per_item import Items, MixedItemsError, per_item
from littoral.compiler.passes.canonicalize import canonicalize
from littoral.errors import LittoralError, ShapeError
from littoral.tensors import Array

__all__ = ["Dimension", "axes_of", "dimensions", "keys"]

Import = Callable[[Mapping[str, Sequence[int]]], Graph]
Padding = Literal["repeat"] | dict[str, int | float] | None
RULE_KEYS = {"pad", "split", "trim"}


class Dimension(NamedTuple):
    """A named size of the inputs. places: input and axis; sizes: one a variant."""

    name: str
    places: dict[str, int]
    sizes: tuple[int, ...]


def dimensions(
    graphs: Sequence[Graph], dims: Mapping[str, Sequence[str]], declared: Sequence[str] = (), *, all_named: bool = False
) -> list[Dimension]:
    """Those in which the graphs differ, by the model's names for them, or `input[axis]`; and the declared ones.

    all_named: also those that the model has a name for. One name for sizes that are not equal stands for none of them.
    Raises ShapeError for a declared one that is not there.
    """
    named: dict[str, dict[tuple[str, int], tuple[int, ...]]] = {}
    for i, value in enumerate(graphs[0].inputs):
        for axis in range(value.type.rank):
            sizes = tuple(graph.inputs[i].shape[axis] for graph in graphs)
            name = dims[value.name][axis] if value.name in dims else ""
            is_wanted = (all_named and name) or name in declared or f"{value.name}[{axis}]" in declared
            if len(set(sizes)) > 1 or is_wanted:
                named.setdefault(name or f"{value.name}[{axis}]", {})[value.name, axis] = sizes
    found = []
    for name, places in named.items():
        if len(set(places.values())) == 1 and len({value for value, _ in places}) == len(places):
            found.append(Dimension(name, dict(places.keys()), next(iter(places.values()))))
            continue
        found += [Dimension(f"{value}[{axis}]", {value: axis}, sizes) for (value, axis), sizes in places.items()]
    for name in declared:
        if name not in {d.name for d in found}:
            known = ", ".join(f"`{d.name}`" for d in found) or "none"
            raise ShapeError(f"axes: no dimension of the inputs is called `{name}`; in which variants differ: {known}")
    return found


def keys(found: Sequence[Dimension], count: int) -> Iterator[dict[str, int]]:
    """The sizes of each of `count` variants, by name."""
    for i in range(count):
        yield {d.name: d.sizes[i] for d in found}


def axes_of(
    graphs: Sequence[Graph], found: Sequence[Dimension], again: Import, rules: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Axis], dict[str, str]]:
    """What is allowed along each dimension, and where nothing is, why.

    again: imports the model at other shapes. rules: by name, `{"pad": …, "split": …, "trim": …}`: declared, not proven.
    Raises ShapeError for a rule that says nothing the graphs can hold.
    """
    axes, refused = {}, {}
    for i, dimension in enumerate(found):
        if dimension.name in rules:
            axes[dimension.name] = _declared(graphs, dimension, rules[dimension.name])
            continue
        try:
            outputs = _proven(graphs, dimension, [d for j, d in enumerate(found) if j != i], again)
        except MixedItemsError as error:
            refused[dimension.name] = str(error)
        else:
            axes[dimension.name] = Axis(dimension.places, outputs, "repeat", split=True)
    return axes, refused


def _declared(graphs: Sequence[Graph], dimension: Dimension, rule: Mapping[str, Any]) -> Axis:
    where = f"axes: `{dimension.name}`"
    if unknown := rule.keys() - RULE_KEYS:
        raise ShapeError(f"{where}: unknown key `{min(unknown)}`, can be: {', '.join(sorted(RULE_KEYS))}")
    pad, trim = _padding(rule.get("pad"), dimension, where), rule.get("trim")
    outputs = _following(graphs, dimension.sizes) if trim is None else dict(trim)
    for name, axis in outputs.items():
        if [_size(graph, name, axis) for graph in graphs] != list(dimension.sizes):
            raise ShapeError(f"{where}: output `{name}` has not the sizes {list(dimension.sizes)} along axis {axis}")
    split = bool(rule.get("split", False))
    if split and (apart := next((name for name, _ in graphs[0].outputs if name not in outputs), None)) is not None:
        raise ShapeError(f"{where}: output `{apart}` cannot be split: `trim` does not say along which axis")
    return Axis(dimension.places, outputs, pad, split)


def _padding(pad: Any, dimension: Dimension, where: str) -> Padding:
    if pad is None or pad == "repeat":
        return "repeat" if pad else None
    if isinstance(pad, int | float):
        return dict.fromkeys(dimension.places, pad)
    if not isinstance(pad, Mapping):
        raise ShapeError(f"{where}: `pad` is `{pad!r}`, must be a number, one for each input, or `repeat`")
    if pad.keys() != dimension.places.keys():
        raise ShapeError(f"{where}: `pad` must have a value for each of {', '.join(sorted(dimension.places))}")
    return {name: pad[name] for name in dimension.places}


def _size(graph: Graph, name: str, axis: int) -> int | None:
    shape = dict(graph.outputs)[name].shape if name in dict(graph.outputs) else ()
    return shape[axis] if 0 <= axis < len(shape) and name not in graph.dims else None


def _following(graphs: Sequence[Graph], sizes: tuple[int, ...]) -> dict[str, int]:
    """Outputs with one axis of these sizes, where they differ; declared otherwise by `trim`."""
    outputs: dict[str, int] = {}
    for name, value in graphs[0].outputs if len(set(sizes)) > 1 else ():
        axes = [axis for axis in range(value.type.rank) if tuple(_size(g, name, axis) for g in graphs) == sizes]
        if len(axes) == 1:
            outputs[name] = axes[0]
    return outputs


def _proven(graphs: Sequence[Graph], own: Dimension, others: Sequence[Dimension], again: Import) -> dict[str, int]:
    """Outputs along whose axis the items come out. Raises MixedItemsError."""
    if any(size < 1 for size in own.sizes):
        raise MixedItemsError("a variant has none")
    groups: dict[tuple[int, ...], dict[int, Graph]] = {}
    for i, graph in enumerate(graphs):
        groups.setdefault(tuple(d.sizes[i] for d in others), {})[own.sizes[i]] = graph
    found = [_items_of_group(group, own, again) for group in groups.values()]
    if any(items != found[0] for items in found):
        raise MixedItemsError("outputs differ in where their items are")
    return {name: items.axis for name, items in found[0].items()}


def _items_of_group(group: Mapping[int, Graph], own: Dimension, again: Import) -> dict[str, Items]:
    graphs = dict(group)
    if len(graphs) == 1 or max(graphs) == 1:
        ((size, graph), *_) = graphs.items()
        other = 3 if size == 2 else 2
        graphs[other] = _imported(graph, own, other, again)
    singles: list[Graph] = []
    items: dict[str, Items] = {}
    for size, graph in graphs.items():
        single = graph
        if size > 1:
            single, now = per_item(graph, own.places, size)
            if items and now != items:
                raise MixedItemsError("outputs differ in where their items are")
            items = now
        singles.append(canonicalize(single))
    for before, after in pairwise(singles):
        _compare(before, after)
    return items


def _imported(graph: Graph, own: Dimension, size: int, again: Import) -> Graph:
    shapes = {v.name: list(v.shape) for v in graph.inputs}
    for name, axis in own.places.items():
        shapes[name][axis] = size
    try:
        return again(shapes)
    except LittoralError as error:
        raise MixedItemsError(f"with a size of {size} the model cannot be imported: {error.message}") from error


def _compare(one: Graph, other: Graph) -> None:
    """Raises MixedItemsError unless both graphs compute the same, node by node."""
    if len(one.nodes) != len(other.nodes):
        raise MixedItemsError(f"{len(one.nodes)} or {len(other.nodes)} nodes, for one size or another")
    same: dict[Value, Value] = dict(zip(one.inputs, other.inputs, strict=True))
    for a, b in zip(one.nodes, other.nodes, strict=True):
        if (
            a.op != b.op
            or len(a.inputs) != len(b.inputs)
            or not all(_is_same(x, y, same) for x, y in zip(a.inputs, b.inputs, strict=True))
        ):
            raise MixedItemsError(f"node `{a.label}` (`{a.op.name}`) is not the same for all sizes")
        same.update(zip(a.outputs, b.outputs, strict=True))
    for (name, x), (_, y) in zip(one.outputs, other.outputs, strict=True):
        if not _is_same(x, y, same):
            raise MixedItemsError(f"output `{name}` is not the same for all sizes")


def _is_same(x: Value, y: Value, same: Mapping[Value, Value]) -> bool:
    if x.data is None or y.data is None:
        return same.get(x) is y
    return x.data is y.data or (x.type == y.type and np.array_equal(_bits(x.data), _bits(y.data)))


def _bits(data: Array) -> Array:
    return np.ascontiguousarray(data).reshape(-1).view("u1")
