"""Streams of questions, and what a cache that may tell a remembered answer does with them.

A stream is made of real questions that people have grouped, or synthetic: answers have a place each on a sphere, those
of one family near to each other, and questions lie about them. At half-time the world may change: `region` gives
all questions of a third of the families other answers, `part` half of them by a trait that was of no matter before,
`shift` moves the embeddings of all questions to come by one vector.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from littoral.answers.decision import Decision, Policy, decide
from littoral.answers.observations import Observations
from littoral.answers.watch import Watch

if TYPE_CHECKING:
    from bench.question_pairs import Questions

__all__ = ["Drift", "Run", "Stream", "by_entry", "by_threshold", "by_watch", "real_stream", "synthetic_stream"]

Drift = Literal["none", "region", "part", "shift"]

SIZE, FAMILIES, PER_FAMILY = 32, 60, 6
REGION_SHARE = 3
SHIFT = 0.8
LABELS_APART = 1_000_000

_Decides = Callable[[Observations | None, float, float], Decision]
"""By the nearest entry's observations (None: there is none), its similarity and a number by lot."""


@dataclass(frozen=True, eq=False)
class Stream:
    """asked: which of `vectors` each request asks. answers: which answer was right for it when it was asked."""

    vectors: npt.NDArray[np.float32]
    asked: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]

    @cached_property
    def similarities(self) -> npt.NDArray[np.float32]:
        """Of each vector to each: multiplied once for all runs over the stream."""
        return self.vectors @ self.vectors.T


class Run(NamedTuple):
    """Of the requests that no exact answer was told to, in order: was a similar one told, and was that one wrong.
    at: the request's place in the stream. alarms: places of them. moved: where questions were found to come from
    elsewhere.
    """

    told: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]
    at: npt.NDArray[np.int64]
    alarms: list[int]
    moved: list[int]

    @property
    def hit_share(self) -> float:
        return float(self.told.mean())

    @property
    def per_hit(self) -> float:
        return float(self.wrong.sum() / max(1, self.told.sum()))

    @property
    def per_request(self) -> float:
        return float(self.wrong.mean())

    def since(self, place: int) -> "Run":
        kept = self.at >= place
        alarms, moved = ([one for one in places if one >= place] for places in (self.alarms, self.moved))
        return Run(self.told[kept], self.wrong[kept], self.at[kept], alarms, moved)


def real_stream(questions: "Questions", seed: int, *, count: int, heads: int, zipf: float) -> Stream:
    """heads: groups of several questions that are taken, by lot, with all groups that a pair tells apart from them.
    Groups are asked by Zipf's law in an order by lot, each of a group's questions as likely.
    """
    rng = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for at, group in enumerate(questions.groups.tolist()):
        members.setdefault(group, []).append(at)
    several = sorted(group for group, found in members.items() if len(found) > 1)
    chosen = {int(group) for group in rng.choice(several, min(heads, len(several)), replace=False)}
    chosen |= {rival for group in sorted(chosen) for rival in questions.rivals.get(group, ())}
    order = rng.permutation(sorted(chosen))
    weights = np.arange(1, len(order) + 1) ** -zipf
    groups = rng.choice(order, count, p=weights / weights.sum())
    asked = np.array([rng.choice(members[group]) for group in groups.tolist()])
    used, places = np.unique(asked, return_inverse=True)
    return Stream(questions.vectors[used], places.astype(np.int64), groups.astype(np.int64))


def synthetic_stream(seed: int, *, count: int, drift: Drift = "none") -> Stream:
    rng = np.random.default_rng(seed)
    answers = FAMILIES * PER_FAMILY
    families = _unit(rng.normal(size=(FAMILIES, SIZE)))
    apart = rng.uniform(0.35, 0.8, (answers, 1)) * _unit(rng.normal(size=(answers, SIZE)))
    places, spread = _unit(np.repeat(families, PER_FAMILY, 0) + apart), rng.uniform(0.15, 0.55, answers)
    weights = rng.permutation(np.arange(1, answers + 1) ** -0.7)
    asked = rng.choice(answers, count, p=weights / weights.sum())
    vectors = places[asked] + spread[asked, None] * rng.normal(size=(count, SIZE)) / np.sqrt(SIZE)
    labels, is_later = asked.copy(), np.arange(count) >= count // 2
    is_there = np.isin(asked // PER_FAMILY, rng.permutation(FAMILIES)[: FAMILIES // REGION_SHARE])
    has_trait = rng.random(count) < 0.5
    if drift == "shift":
        vectors[is_later] += SHIFT * _unit(rng.normal(size=SIZE))
    elif drift != "none":
        labels[is_later & is_there & (has_trait | (drift == "region"))] += LABELS_APART
    return Stream(_unit(vectors).astype(np.float32), np.arange(count), labels)


def by_watch(stream: Stream, policy: Policy, seed: int) -> Run:
    watch = Watch(policy)
    return _run(stream, seed, watch.decide, watch)


def by_entry(stream: Stream, policy: Policy, seed: int) -> Run:
    """By each entry's own pairs alone: vCache's rule for errors per request, its twin for errors per hit."""

    def own(observations: Observations | None, similarity: float, u: float) -> Decision:
        return decide(observations or Observations(), similarity, policy, u)

    return _run(stream, seed, own, None)


def by_threshold(stream: Stream, threshold: float) -> Run:
    """As caches do that tell what is similar enough and know no judge: what is asked of the upstream is remembered."""
    return _run(stream, 0, lambda _, similarity, __: Decision(similarity >= threshold, False, 1.0, threshold, ""), None)


def _run(stream: Stream, seed: int, decided: _Decides, watch: Watch | None) -> Run:
    asked, answers, count = stream.asked, stream.answers, len(stream.vectors)
    lots = np.random.default_rng(seed + LABELS_APART).random(len(asked))
    entries, right = np.empty(count, np.int64), np.empty(count, np.int64)
    exact: dict[int, int] = {}
    observed: list[Observations] = []
    rows, alarms, moved = list[tuple[bool, bool, int]](), list[int](), list[int]()
    for at, question in enumerate(asked.tolist()):
        answer = int(answers[at])
        if exact.get(question) == answer:
            continue
        nearest, similarity = _nearest(stream.similarities[question], entries[: len(observed)])
        if watch is not None:
            moved += [at] * watch.asked(stream.vectors[question])
        decision = decided(None if nearest is None else observed[nearest], similarity, float(lots[at]))
        is_correct = nearest is not None and int(right[nearest]) == answer
        rows.append((decision.serve, decision.serve and not is_correct, at))
        if decision.serve:
            continue
        if nearest is not None:
            observed[nearest] = observed[nearest].added(similarity, is_correct)
        if nearest is not None and watch is not None:
            was_quiet = watch.state == "ok"
            watch.judged(decision, is_correct)
            alarms += [at] * (was_quiet and watch.state == "alarm")
        if not is_correct and question not in exact:
            entries[len(observed)], right[len(observed)] = question, answer
            observed.append(Observations())
            exact[question] = answer
    told, wrong, places = (np.array(column) for column in zip(*rows, strict=True))
    return Run(told, wrong, places, alarms, moved)


def _nearest(similarities: npt.NDArray[np.float32], entries: npt.NDArray[np.int64]) -> tuple[int | None, float]:
    if not len(entries):
        return None, 0.0
    found = similarities[entries]
    nearest = int(found.argmax())
    return nearest, min(float(found[nearest]), 1.0)


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return found
