"""What each host step can be told, as the tables of a site file. Imports no numpy: a site file is read without it."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "COUNT_MAX",
    "NAME_PATTERN",
    "OPTIONS",
    "PLACE_PATTERN",
    "RESIDENCY_PATTERN",
    "BoxFormat",
    "Crop",
    "Ctc",
    "Draw",
    "HostOptions",
    "Join",
    "Nms",
    "Normalize",
    "PlacedTable",
    "Regions",
    "Softmax",
    "Source",
    "Threshold",
    "TopK",
]

COUNT_MAX = 4096
SIDE_MAX = 4096
NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
PLACE_PATTERN = r"^(here|auto|node:[a-z0-9-]{1,63})$"
RESIDENCY_PATTERN = r"^(node|site|any|region:.{1,64})$"

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Source = str | list[str] | dict[str, str] | None
BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
Share = Annotated[float, Meta(ge=0, le=1)]
Side = Annotated[int, Meta(ge=1, le=SIDE_MAX)]
Numbers = float | Annotated[list[float], Meta(min_length=3, max_length=3)]


class PlacedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every step may say: who it is, and whom it takes from."""

    name: Annotated[Name | None, Meta(description="For `from` and `how`; default: what the step uses")] = None
    source: Annotated[
        Source, Meta(description="A step, several, or tensors by the name that the step knows; default: the one before")
    ] = msgspec.field(default=None, name="from")
    place: Annotated[
        str,
        Meta(
            pattern=PLACE_PATTERN,
            description="Where a model or agent runs: `here`, `auto` (wherever it is done first) or `node:NAME`",
        ),
    ] = "here"
    residency: Annotated[
        str,
        Meta(
            pattern=RESIDENCY_PATTERN,
            description="How far what the step is given may go: `node`, `region:NAME`, `site` or `any`",
        ),
    ] = "site"


class HostOptions(PlacedTable, frozen=True, kw_only=True):
    """One of `OPTIONS`, told apart by `step`."""

    step: str


class Normalize(HostOptions, frozen=True, kw_only=True):
    """Vectors of length 1 along the last axis."""

    step: Annotated[Literal["normalize"], Meta(description="Length 1 along the last axis")] = "normalize"


class Softmax(HostOptions, frozen=True, kw_only=True):
    """Exponentials that sum to 1 along the last axis."""

    step: Annotated[Literal["softmax"], Meta(description="Exponentials that sum to 1 along the last axis")] = "softmax"


class TopK(HostOptions, frozen=True, kw_only=True):
    """The largest along the last axis."""

    step: Annotated[Literal["top_k"], Meta(description="The largest along the last axis")] = "top_k"
    k: Annotated[int, Meta(ge=1, le=1 << 20, description="How many")] = 5
    labels: Annotated[
        str | None, Meta(description="A model of this file whose class names become the payload of hits")
    ] = None


class Threshold(HostOptions, frozen=True, kw_only=True):
    """Rows that score enough, or where values are at least `at`."""

    step: Annotated[Literal["threshold"], Meta(description="What is at least `at`")] = "threshold"
    at: Annotated[float, Meta(description="The least that stays")]
    by: Annotated[
        str | None, Meta(description="Tensor by which rows of all tensors stay; default: bool for each value")
    ] = None


class Join(HostOptions, frozen=True, kw_only=True):
    """Tensors of several steps, as they are."""

    step: Annotated[Literal["join"], Meta(description="Tensors of several steps, as they are")] = "join"


class Nms(HostOptions, frozen=True, kw_only=True):
    """The best of boxes that overlap."""

    step: Annotated[Literal["nms"], Meta(description="Of boxes that overlap, the best")] = "nms"
    layout: Annotated[
        Literal["boxes_scores", "rows", "columns", "rows_objectness"],
        Meta(
            description="`boxes_scores`: two tensors; else one: a row a box (4 + classes), a column a box, or rows with"
            " an objectness before the classes"
        ),
    ] = "boxes_scores"
    format: Annotated[BoxFormat | None, Meta(description="Of boxes; default `xyxy` for two tensors, else `cxcywh`")] = (
        None
    )
    iou: Annotated[Share, Meta(description="Overlap above which the lesser box goes")] = 0.5
    score_min: Annotated[float, Meta(description="Boxes below it are not looked at")] = 0.25
    limit: Annotated[int, Meta(ge=1, le=COUNT_MAX, description="Boxes that stay at most, best first")] = 100
    across_classes: Annotated[bool, Meta(description="Boxes of different classes suppress each other too")] = False


class Regions(HostOptions, frozen=True, kw_only=True):
    """What hangs together in a map of probabilities, as boxes."""

    step: Annotated[Literal["regions"], Meta(description="What hangs together in a map, as boxes")] = "regions"
    at: Annotated[float, Meta(description="The least that belongs to a region")] = 0.3
    score_min: Annotated[float, Meta(description="Regions whose mean is below it are left out")] = 0.5
    side_min: Annotated[float, Meta(ge=0, description="Regions with a side below it are left out")] = 3.0
    unclip: Annotated[float, Meta(ge=0, le=10, description="Grown by area × this / perimeter on each side")] = 1.5
    limit: Annotated[int, Meta(ge=1, le=COUNT_MAX, description="Regions that stay at most, the best")] = 64


class Ctc(HostOptions, frozen=True, kw_only=True):
    """Columns of letters to a text."""

    step: Annotated[Literal["ctc"], Meta(description="Columns of letters to a text")] = "ctc"
    labels: Annotated[str, Meta(description="A model of this file whose class names are the letters, blank first")]


class Crop(HostOptions, frozen=True, kw_only=True):
    """Parts of a picture, resized."""

    step: Annotated[Literal["crop"], Meta(description="Parts of a picture, resized")] = "crop"
    picture: Annotated[Literal["nhwc", "nchw"], Meta(description="Order of the picture's dimensions")] = "nhwc"
    width: Annotated[Side, Meta(description="Columns of each")]
    height: Annotated[Side, Meta(description="Rows of each")]
    fit: Annotated[
        Literal["stretch", "contain"],
        Meta(description="`contain` keeps the shape and fills right and below with `pad`"),
    ] = "stretch"
    pad: Annotated[float, Meta(description="Only with `contain`")] = 0.0
    format: Annotated[BoxFormat, Meta(description="Of the boxes")] = "xyxy"
    space: Annotated[
        Annotated[list[float], Meta(min_length=2, max_length=2)] | None,
        Meta(description="Width and height that the boxes are in; default: the picture's"),
    ] = None
    grow: Annotated[float, Meta(ge=0, le=4, description="Of a box's sides, added on each side")] = 0.0
    limit: Annotated[int, Meta(ge=1, le=1024, description="Most boxes; more are an error")] = 64
    layout: Annotated[Literal["nchw", "nhwc"], Meta(description="Order of the result's dimensions")] = "nhwc"
    dtype: Annotated[Literal["uint8", "float32"] | None, Meta(description="Of the result; default: the picture's")] = (
        None
    )
    rescale: Annotated[float, Meta(description="Only `float32`: a value is (v × rescale − mean) / std")] = 1.0
    mean: Annotated[Numbers, Meta(description="Only `float32`: a number, or three")] = 0.0
    std: Annotated[Numbers, Meta(description="Only `float32`: a number, or three, not 0")] = 1.0


class Draw(HostOptions, frozen=True, kw_only=True):
    """Boxes and names on a picture, as a file."""

    step: Annotated[Literal["draw"], Meta(description="Boxes and names on a picture, as a JPEG or PNG file")] = "draw"
    file: Annotated[Literal["jpeg", "png"], Meta(description="What comes out")] = "jpeg"
    quality: Annotated[int, Meta(ge=1, le=100, description="Only `jpeg`")] = 85
    labels: Annotated[str | list[str] | None, Meta(description="Names of classes, or a model of this file")] = None
    format: Annotated[BoxFormat, Meta(description="Of the boxes")] = "xyxy"
    space: Annotated[
        Annotated[list[float], Meta(min_length=2, max_length=2)] | None,
        Meta(description="Width and height that the boxes are in; default: the picture's"),
    ] = None
    line: Annotated[int, Meta(ge=1, le=16, description="Width of lines in pixels")] = 2


OPTIONS: Mapping[str, type[HostOptions]] = {
    "normalize": Normalize,
    "softmax": Softmax,
    "top_k": TopK,
    "threshold": Threshold,
    "join": Join,
    "nms": Nms,
    "regions": Regions,
    "ctc": Ctc,
    "crop": Crop,
    "draw": Draw,
}
"""Host steps by name."""
