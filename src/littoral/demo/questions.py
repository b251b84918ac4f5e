"""What the demo indexes, what it asks, and when an answer is a hit. Pure: no network, no clock, seeded."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from littoral.demo.pictures import VIEWS, Picture, changed, spread, strangers

__all__ = ["HITS_ASKED", "Plan", "Question", "is_hit", "plan_of", "unasked"]

HITS_ASKED = 5
HIT_WITHIN_S = 1.0
UNSEEN_COUNT = 50
VIEW_COUNT = 30
STRANGER_COUNT = 30
KEPT_OUT_COUNT = 20
SEED = 20


class Question(NamedTuple):
    """kind: `unseen`, a view of `VIEWS`, or one of `UNRELATED`. without: the source that may not answer."""

    kind: str
    picture: Picture
    without: str | None = None

    @property
    def is_related(self) -> bool:
        """Whether the collection holds what it looks for."""
        return self.kind not in UNRELATED


STRANGER = "stranger"
KEPT_OUT = "clip kept out"
UNRELATED = (STRANGER, KEPT_OUT)


@dataclass(frozen=True)
class Plan:
    indexed: tuple[Picture, ...]
    questions: tuple[Question, ...]


def plan_of(pictures: Sequence[Picture]) -> Plan:
    """Of a source with several pictures every second is indexed; all changed views are of indexed ones."""
    rng = random.Random(SEED)  # noqa: S311
    by_source = _by_source(pictures)
    indexed = _indexed(by_source)
    unseen = spread([p for frames in by_source.values() for p in frames[1::2]], UNSEEN_COUNT)
    questions = [Question("unseen", p) for p in unseen]
    for view in VIEWS:
        questions += [Question(view, changed(p, view, rng)) for p in spread(indexed, VIEW_COUNT)]
    questions += [Question(STRANGER, p) for p in strangers(STRANGER_COUNT, rng)]
    if unseen and len(by_source) > 1:
        questions += [Question(KEPT_OUT, p, without=p.source) for p in spread(unseen, KEPT_OUT_COUNT)]
    return Plan(indexed, tuple(questions))


def unasked(pictures: Sequence[Picture]) -> list[Picture]:
    """Those indexed of which no question shows a view: what a model may be calibrated with."""
    indexed = _indexed(_by_source(pictures))
    asked = {id(picture) for picture in spread(indexed, VIEW_COUNT)}
    return [picture for picture in indexed if id(picture) not in asked]


def _by_source(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        found.setdefault(picture.source, []).append(picture)
    return found


def _indexed(by_source: Mapping[str, Sequence[Picture]]) -> tuple[Picture, ...]:
    return tuple(p for frames in by_source.values() for p in frames[::2])


def is_hit(asked: Picture, source: object, seconds: object) -> bool:
    """The right clip within ±1 s, or the right file."""
    return source == asked.source and isinstance(seconds, int | float) and abs(seconds - asked.seconds) <= HIT_WITHIN_S
