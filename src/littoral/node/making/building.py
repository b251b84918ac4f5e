"""A model compiled from ONNX, in a worker: in float32, or in integers with a report of what that costs."""

from pathlib import Path
from typing import Any

import msgspec

import littoral
from littoral.errors import InputError
from littoral.node.making.about import about
from littoral.node.making.feed_files import Feeds, read_feeds
from littoral.node.making.orders import FEEDS, MODEL, ORDER, SOURCE, BuildOrder, Int8Order
from littoral.node.making.worker import Tell
from littoral.quality.compare import held_out
from littoral.quality.compared_build import compiled_and_compared

__all__ = ["work"]


def work(folder: Path, tell: Tell) -> dict[str, Any]:
    """Leaves the model in the folder. Raises what the compiler raises, and InputError for feeds that do not fit."""
    told = msgspec.json.decode((folder / ORDER).read_bytes(), type=BuildOrder)
    order = told.order
    planning = {"shapes": order.shapes, "threads": order.threads}
    writing = {"name": order.name, "version": order.version, "labels": told.labels, "preprocess": told.preprocess}
    source = (folder / SOURCE).read_bytes()
    comparison = None
    if order.int8 is None:
        model = littoral.compile(source, **planning, **writing, progress=tell)  # type: ignore[arg-type]
    else:
        tell("feeds", 0, 1)
        parts = held_out(_feeds(folder / FEEDS, told.through))
        asked = _int8(order.int8, parts.calibration)
        model, found = compiled_and_compared(
            source, asked, parts.held_out, planning=planning, writing={"target": "relaxed"} | writing, progress=tell
        )
        comparison = msgspec.to_builtins(found)
    model.save(folder / MODEL)
    return about(model.manifest, model.digest, len(model.wasm)) | {"comparison": comparison}


def _feeds(folder: Path, through: str | None) -> Feeds:
    """Of one .npz, of several files, or of files through agents."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if not files:
        raise InputError("no files to calibrate with", hint="give .npz or .npy files, or files for a pipeline's agents")
    if through is None and len(files) == 1:
        return read_feeds(files[0])
    return read_feeds(folder, through)


def _int8(asked: Int8Order, feeds: Feeds) -> littoral.Int8:
    return littoral.Int8(feeds, asked.bits, asked.budget, "auto", asked.effort)
