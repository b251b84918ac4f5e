"""Two compiled models side by side on the same feeds: how near the answers are, what each weighs, how long it takes.

Both run in turn, so that a change of the machine's speed meets both.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import littoral
from littoral.artifact import Model
from littoral.artifact.manifest import PAGE_BYTES
from littoral.clock import SYSTEM, Clock
from littoral.compiler.driver import Progress, silent
from littoral.errors import InputError
from littoral.quality.comparison import Agreement, Comparison, Side, bare
from littoral.runtime.instance import Session
from littoral.tensors import Array

__all__ = ["Feed", "Parts", "agreement", "compare", "fitting", "held_out"]

CALLS_MIN = 20
HOLD_OUT_EVERY = 5
DIGITS = 6

Feed = Mapping[str, Array]


class Parts(NamedTuple):
    """Feeds to calibrate with, and those to compare on."""

    calibration: list[Feed]
    held_out: list[Feed]


def held_out(feeds: Sequence[Feed]) -> Parts:
    """Every fifth feed apart. Raises InputError for fewer than five."""
    if len(feeds) < HOLD_OUT_EVERY:
        raise InputError(
            f"{len(feeds)} feeds: too few to hold some out, needs {HOLD_OUT_EVERY}",
            hint="give more feeds, or others to compare on (`--held-out`)",
        )
    kept = [feed for i, feed in enumerate(feeds) if (i + 1) % HOLD_OUT_EVERY]
    return Parts(kept, list(feeds[HOLD_OUT_EVERY - 1 :: HOLD_OUT_EVERY]))


def compare(
    exact: Model, other: Model, feeds: Sequence[Feed], *, progress: Progress = silent, clock: Clock = SYSTEM
) -> Comparison:
    """`exact` is the reference. Raises InputError for models with other ports, no feeds, or feeds that do not fit."""
    _check_ports(exact, other)
    if not feeds:
        raise InputError("no feeds to compare on")
    with littoral.load(exact) as a, littoral.load(other) as b:
        fits = [fitting(a, feed) for feed in feeds]
        tallies = {port.name: _Tally() for port in a.outputs}
        times_ms: tuple[list[float], list[float]] = ([], [])
        for session in (a, b):
            session.run(fits[0])
        for i in range(max(len(fits), CALLS_MIN)):
            feed = fits[i % len(fits)]
            answers = [_timed(session, feed, kept, clock) for session, kept in zip((a, b), times_ms, strict=True)]
            for name, tally in tallies.items() if i < len(fits) else ():
                tally.take(answers[0][name], answers[1][name])
            progress("compare", i + 1, max(len(fits), CALLS_MIN))
    sides = [_side(model, times) for model, times in zip((exact, other), times_ms, strict=True)]
    return Comparison(
        feeds=len(fits),
        exact=sides[0],
        other=sides[1],
        outputs=tuple(tally.agreement(name) for name, tally in tallies.items()),
    )


def agreement(name: str, exact: Array, other: Array) -> Agreement:
    """How near one answer is to another. Raises InputError for other shapes."""
    tally = _Tally()
    tally.take(exact, other)
    return tally.agreement(name)


def fitting(session: Session, feed: Feed) -> dict[str, Array]:
    """A feed as the session takes it: a leading dimension of 1 may be missing, and the name of the only input."""
    names = [port.name for port in session.inputs]
    if "" in feed and len(names) == 1:
        feed = {names[0]: feed[""]}
    ranks = {port.name: len(port.shape) for port in session.inputs}
    return {name: a[None] if a.ndim + 1 == ranks.get(name) else a for name, a in feed.items()}


def _check_ports(exact: Model, other: Model) -> None:
    for kind in ("inputs", "outputs"):
        known = [[str(port.spec) for port in getattr(m.manifest.variants[0], kind)] for m in (exact, other)]
        if known[0] != known[1]:
            told = " and ".join(f"`{', '.join(specs)}`" for specs in known)
            raise InputError(f"models of different {kind} cannot be compared: {told}")


def _timed(session: Session, feed: Feed, kept: list[float], clock: Clock) -> dict[str, Array]:
    began = clock.monotonic()
    outputs = session.run(feed)
    kept.append((clock.monotonic() - began) * 1000)
    return outputs


def _side(model: Model, times_ms: list[float]) -> Side:
    own = bare(model)
    memory = model.manifest.memory
    run_ms = round(statistics.median(times_ms), 4)
    return Side(model.manifest.name, own.digest, len(own.wasm), memory.weights[1], memory.pages * PAGE_BYTES, run_ms)


class _Tally:
    """Sums over the feeds of one output."""

    def __init__(self) -> None:
        self._cosines: list[float] = []
        self._rows = self._same = self._not_finite = 0
        self._has_rows = False
        self._error = self._magnitude = 0.0

    def take(self, exact: Array, other: Array) -> None:
        if exact.shape != other.shape:
            raise InputError(f"outputs of {list(exact.shape)} and {list(other.shape)} cannot be compared")
        a, b = exact.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        self._not_finite += int(a.size - finite.sum())
        if a.ndim and a.shape[-1] > 1 and a.size:
            self._has_rows = True
            self._rows += a.size // a.shape[-1]
            self._same += int((a.argmax(-1) == b.argmax(-1)).sum())
        a, b = a[finite], b[finite]
        self._cosines.append(_cosine(a, b))
        self._error = max(self._error, float(np.abs(a - b).max(initial=0.0)))
        self._magnitude = max(self._magnitude, float(np.abs(a).max(initial=0.0)))

    def agreement(self, name: str) -> Agreement:
        return Agreement(
            output=name,
            cosine=round(statistics.fmean(self._cosines), DIGITS),
            cosine_min=round(min(self._cosines), DIGITS),
            top_1=round(self._same / self._rows, DIGITS) if self._has_rows else None,
            error=_rounded(self._error),
            magnitude=_rounded(self._magnitude),
            not_finite=self._not_finite,
        )


def _cosine(a: Array, b: Array) -> float:
    """1 for two zeros, 0 where only one is."""
    lengths = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / lengths if lengths else float(not a.any() and not b.any())


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
