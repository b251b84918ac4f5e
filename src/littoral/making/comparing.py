"""Two models, or one, on the same input in a worker: answers, how near they are, and how long a call takes here."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import littoral
from littoral.errors import InputError
from littoral.making.feed_files import Feeds, read_feeds
from littoral.making.measuring import noise, timed
from littoral.making.orders import FEEDS, ORDER, CompareOrder
from littoral.making.worker import Tell
from littoral.quality.compare import Feed, agreement, fitting
from littoral.tensors import Array

__all__ = ["work"]

NUMBERS = 12


def work(folder: Path, tell: Tell) -> dict[str, Any]:
    """Raises InputError for an input that a model does not take."""
    order = msgspec.json.decode((folder / ORDER).read_bytes(), type=CompareOrder)
    with ExitStack() as stack:
        sessions = [stack.enter_context(littoral.load(Path(path))) for path in order.modules]
        feed = noise(sessions[0].manifest.variants[0].inputs) if order.feed is None else _feed(folder / FEEDS, order)
        fits = [fitting(session, feed) for session in sessions]
        answers = [session.run(fit) for session, fit in zip(sessions, fits, strict=True)]
        times_ms = timed(sessions, fits, tell, "compare")
    sides = [
        {"run_ms": statistics.median(times), "calls": len(times), "outputs": [_told(n, a) for n, a in answer.items()]}
        for times, answer in zip(times_ms, answers, strict=True)
    ]
    return {"input": "noise" if order.feed is None else order.feed, "sides": sides, "agreement": _agreement(answers)}


def _feed(folder: Path, order: CompareOrder) -> Feed:
    """The first of the file's."""
    feeds: Feeds = read_feeds(folder, order.through)
    return feeds[0]


def _told(name: str, answer: Array) -> dict[str, Any]:
    """Its first numbers, and where the largest is."""
    flat = answer.reshape(-1)
    largest = int(np.nanargmax(flat)) if flat.size and np.isfinite(flat.astype(np.float64)).any() else None
    return {
        "name": name,
        "dtype": str(answer.dtype),
        "shape": list(answer.shape),
        "first": [float(value) for value in flat[:NUMBERS]],
        "largest": largest,
        "largest_value": None if largest is None else float(flat[largest]),
    }


def _agreement(answers: Sequence[Mapping[str, Array]]) -> list[dict[str, Any]] | None:
    """Output by output, in order; None for one model, and where outputs are not alike."""
    if len(answers) < 2:
        return None
    pairs = list(zip_longest(answers[0].items(), answers[1].items()))
    try:
        return [msgspec.to_builtins(agreement(one[0], one[1], other[1])) for one, other in pairs]
    except (InputError, TypeError):  # other shapes, or another number of outputs
        return None
