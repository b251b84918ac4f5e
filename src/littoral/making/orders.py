"""What a worker is to do, and the files between it and who started it."""

from typing import Annotated, Any, Literal

import msgspec

from littoral.making.agent_feeds import FeedAgent

__all__ = ["FEEDS", "FIT", "FORMER", "MODEL", "ORDER", "SOURCE", "BuildOrder", "CompareOrder", "Int8Order", "Order"]

SOURCE = "source"
FEEDS = "feeds"
MODEL = "model.wasm"
ORDER = "order.json"
FORMER, FIT = "former.fit", "own.fit"
"""Names in the folder of a build."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]


class Int8Order(msgspec.Struct, forbid_unknown_fields=True):
    """As `littoral build --int8`. through: a pipeline of the site whose agents make inputs of the feeds."""

    bits: Literal[7, 8, "auto"] = 8
    budget: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    effort: Literal["normal", "high"] = "normal"
    through: _Name | None = None


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """How an ONNX model is compiled.

    like: a model of the site whose labels and ways of preparing inputs it gets. shapes: for dimensions left open.
    """

    name: _Name | None = None
    version: _Name | None = None
    like: _Name | None = None
    shapes: Annotated[dict[str, list[_Size]], msgspec.Meta(max_length=64)] = {}
    threads: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    int8: Int8Order | None = None


class CompareOrder(msgspec.Struct):
    """modules: files, the first is the reference. feed: file with an input, None = noise. through: agents that make
    inputs of it."""

    modules: list[str]
    feed: str | None = None
    through: tuple[FeedAgent, ...] | None = None


class BuildOrder(msgspec.Struct):
    """What is told to the worker. through: agents that make inputs of the feeds. labels, preprocess: for the manifest.
    variants: shapes of each, in place of `order.shapes`. is_measured: what it takes here is told, too. has_fit: the
    model's fit is left in the folder, for the version after it.
    """

    order: Order
    through: tuple[FeedAgent, ...] | None = None
    labels: list[str] | None = None
    preprocess: dict[str, Any] | None = None
    target: Literal["relaxed", "simd128", "mvp"] = "relaxed"
    variants: list[dict[str, list[int]]] | None = None
    is_measured: bool = False
    has_fit: bool = False
