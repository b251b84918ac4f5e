"""A model compiled from ONNX, in a worker: in float32, or in integers with a report of what that costs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import littoral
from littoral.errors import InputError
from littoral.making.about import about
from littoral.making.agent_feeds import FeedAgent
from littoral.making.feed_files import Feeds, read_feeds
from littoral.making.measuring import measured
from littoral.making.orders import FEEDS, FIT, FORMER, MODEL, ORDER, SOURCE, BuildOrder, Int8Order
from littoral.making.worker import Tell
from littoral.quality.compare import held_out
from littoral.quality.compared_build import compiled_and_compared

__all__ = ["work"]


def work(folder: Path, tell: Tell) -> dict[str, Any]:
    """Leaves the model in the folder. Raises what the compiler raises, and InputError for feeds that do not fit."""
    told = msgspec.json.decode((folder / ORDER).read_bytes(), type=BuildOrder)
    order = told.order
    planning = {"shapes": order.shapes, "threads": order.threads} | _variants(told)
    writing: dict[str, Any] = {"name": order.name, "version": order.version, "target": told.target}
    writing |= {"labels": told.labels, "preprocess": told.preprocess}
    source = (folder / SOURCE).read_bytes()
    more: dict[str, Any] = {"comparison": None}
    if order.int8 is None:
        model = littoral.compile(source, **planning, **writing, progress=tell)  # type: ignore[arg-type]
    else:
        tell("feeds", 0, 1)
        parts = held_out(_feeds(folder / FEEDS, told.through))
        asked = _int8(order.int8, parts.calibration, folder / FIT if told.has_fit else None, folder / FORMER)
        model, found = compiled_and_compared(
            source, asked, parts.held_out, planning=planning, writing=writing, progress=tell
        )
        more = {"comparison": msgspec.to_builtins(found), "calibration_sha256": digest_of(folder / FEEDS)}
    model.save(folder / MODEL)
    if told.is_measured:
        more["figures"] = measured(model, tell)
    return about(model.manifest, model.digest, len(model.wasm)) | more


def digest_of(folder: Path) -> str:
    """SHA-256 of the files' own, in the order of their names: the same feeds have the same."""
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _variants(told: BuildOrder) -> dict[str, Any]:
    return {} if told.variants is None else {"shapes": {}, "variants": told.variants}


def _feeds(folder: Path, through: Sequence[FeedAgent] | None) -> Feeds:
    """Of one .npz, of several files, or of files through agents."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if not files:
        raise InputError("no files to calibrate with", hint="give .npz or .npy files, or files for a pipeline's agents")
    if through is None and len(files) == 1:
        return read_feeds(files[0])
    return read_feeds(folder, through)


def _int8(asked: Int8Order, feeds: Feeds, fit: Path | None, former: Path) -> littoral.Int8:
    """former: with the fit of the version before, if it is there."""
    like = former if former.exists() else None
    return littoral.Int8(feeds, asked.bits, asked.budget, "auto", asked.effort, like=like, fit=fit)
