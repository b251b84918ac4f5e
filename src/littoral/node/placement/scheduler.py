"""Which node does a step: who may, who can, who is done first. Pure.

In this order: data residency, then whether a node can be asked at all, the model's digest, the power budget, and what
is left until the deadline; of those that remain the one that is expected to be done first. This node comes before
others that are hardly faster. The orchestrator's node is outside the site: it is asked only when the whole site would
take too long, and until the site would be fast enough by far (hysteresis).
"""

from collections.abc import Sequence
from typing import NamedTuple

from littoral.node.placement.experience import Expected, Experience
from littoral.node.residency import Residency, Standing, Wish
from littoral.steps.offer import Offer

__all__ = ["Candidate", "Choice", "Job", "Ranked", "Refusal", "Scheduler"]

MARGIN_SHARE = 0.1
MARGIN_S = 0.0005
"""Another node must be faster than this one by both."""
BACK_SHARE = 0.5
UNKNOWN_S = 0.05
"""Of a step that nobody has run yet."""
LOOK_S = 2.0
"""An exhausted site does one step so often, beside the one outside."""
TRY_FACTOR = 4.0
"""A node that is likely to take so many times as long as the best is not tried."""


class Candidate(NamedTuple):
    """A node at this moment. away: why it cannot be asked, else empty. offer: None where it has no such step, with this
    very digest. transfer_s: for these tensors there and back. is_spent: its power budget leaves no room.
    """

    node: str
    standing: Standing
    region: str = ""
    away: str = ""
    offer: Offer | None = None
    transfer_s: float = 0.0
    on_the_way: int = 0
    is_spent: bool = False


class Job(NamedTuple):
    """One step of one request. key: kind and digest. left_s: until nobody waits for it any more; None = for ever.
    bounds: all must hold.
    """

    key: str
    wish: Wish
    bounds: tuple[Residency, ...]
    left_s: float | None = None


class Ranked(NamedTuple):
    """predicted_s: from facts alone. expected: with what was learned."""

    node: str
    standing: Standing
    predicted_s: float
    expected: Expected


class Refusal(NamedTuple):
    node: str
    why: str


class Choice(NamedTuple):
    """order: the first is asked, the next where that fails; never empty. tried: asked beside, to learn."""

    order: tuple[Ranked, ...]
    why: str
    refused: tuple[Refusal, ...]
    tried: Ranked | None = None


class Scheduler:
    """Of one node. spill_s: what takes longer in the whole site goes to the orchestrator's node, if it may."""

    def __init__(self, experience: Experience, *, spill_s: float) -> None:
        self.experience = experience
        self._spill_s = spill_s
        self._spilling: dict[str, float] = {}
        """Steps for which the site is exhausted, and when it was looked at last."""

    def is_spilling(self, key: str) -> bool:
        """Whether the site was exhausted for this step when it was last asked for."""
        return key in self._spilling

    def choose(self, job: Job, candidates: Sequence[Candidate], now_s: float) -> Choice:
        """candidates: this node first, as `here`, which is never refused altogether."""
        refused: list[Refusal] = []
        able: list[Ranked] = []
        here_service_s = candidates[0].offer.service_s if candidates[0].offer is not None else 0.0
        for candidate in candidates:
            if (why := _refusal(job, candidate)) is not None:
                refused.append(Refusal(candidate.node, why))
            else:
                able.append(self._ranked(job, candidate, here_service_s, now_s))
        last = next((one for one in able if one.standing == "here"), None)
        last = last or self._ranked(job, candidates[0], here_service_s, now_s)
        outside = sorted((one for one in able if one.standing == "orchestrator"), key=_handicapped)
        site = [one for one in able if one.standing != "orchestrator"]
        if job.wish.pinned is not None:
            return _pinned(job.wish.pinned, able, last, refused)
        return self._best(job, site, outside, last, refused, now_s)

    def _best(
        self, job: Job, site: list[Ranked], outside: list[Ranked], last: Ranked, refused: list[Refusal], now_s: float
    ) -> Choice:
        self.experience.count()
        timely = [one for one in site if job.left_s is None or one.expected.cautious_s <= job.left_s]
        refused += [
            Refusal(one.node, f"{_ms(one.expected.cautious_s)} ms, and {_ms(job.left_s or 0)} ms are left")
            for one in site
            if one not in timely
        ]
        ranked = sorted(timely, key=_handicapped)
        is_exhausted = self._is_exhausted(job, ranked, now_s)
        if is_exhausted and outside:
            order = (*outside, *(ranked or [last]))
            return Choice(order, "the site is exhausted", tuple(refused), self._looked_at(job.key, site, now_s))
        refused += [Refusal(one.node, "outside, and the site is not exhausted") for one in outside]
        if not ranked:
            likeliest = sorted(site, key=lambda one: (one.expected.likely_s, one.node))[:1]
            order = (*likeliest, *([] if likeliest and likeliest[0].standing == "here" else [last]), *outside)
            return Choice(order, "nobody is sure to be in time", tuple(refused))
        order = (*ranked, *([] if any(one.standing == "here" for one in ranked) else [last]), *outside)
        return Choice(order, _reason(ranked), tuple(refused), self._tried(job, ranked))

    def _is_exhausted(self, job: Job, ranked: list[Ranked], now_s: float) -> bool:
        limit_s = self._spill_s if job.left_s is None else min(self._spill_s, job.left_s)
        best_s = ranked[0].expected.cautious_s if ranked else float("inf")
        if best_s > limit_s:
            self._spilling.setdefault(job.key, now_s)
        elif best_s <= limit_s * BACK_SHARE:
            self._spilling.pop(job.key, None)
        return job.key in self._spilling

    def _looked_at(self, key: str, site: list[Ranked], now_s: float) -> Ranked | None:
        """Who is tried beside now and then, since a site where nothing runs would be held for slow for ever."""
        if not site or now_s - self._spilling[key] < LOOK_S:
            return None
        self._spilling[key] = now_s
        return min(site, key=lambda one: (one.expected.likely_s, one.node))

    def _tried(self, job: Job, ranked: list[Ranked]) -> Ranked | None:
        """A node that may be better than the best for all that is known. Only where its answer can still be of use."""
        best, others = ranked[0], ranked[1:]
        hopeful = [
            one
            for one in others
            if one.expected.low_s < best.expected.likely_s
            and one.expected.likely_s < TRY_FACTOR * best.expected.likely_s
            and (job.left_s is None or one.expected.high_s <= job.left_s)
        ]
        if not hopeful or not self.experience.may_try():
            return None
        return min(hopeful, key=lambda one: (one.expected.low_s, one.node))

    def _ranked(self, job: Job, candidate: Candidate, here_service_s: float, now_s: float) -> Ranked:
        offer = candidate.offer or Offer(0, 0, 1, 0.0)
        service_s = offer.service_s or here_service_s or UNKNOWN_S
        start_s = offer.start_s(candidate.on_the_way, service_s)
        predicted_s = start_s + service_s + candidate.transfer_s
        expected = self.experience.expected((candidate.node, job.key), predicted_s, now_s)
        return Ranked(candidate.node, candidate.standing, predicted_s, expected)


def _refusal(job: Job, candidate: Candidate) -> str | None:
    """Residency comes first: it alone is about where data go."""
    for bound in job.bounds:
        if (why := bound.refusal(candidate.standing, candidate.region)) is not None:
            return why
    if candidate.away:
        return candidate.away
    if candidate.offer is None:
        return "has it not, in this version"
    if candidate.is_spent:
        return "its power budget is spent"
    return None


def _pinned(name: str, able: list[Ranked], last: Ranked, refused: list[Refusal]) -> Choice:
    first = [one for one in able if one.node == name]
    order = (*first, *([] if first and first[0].standing == "here" else [last]))
    return Choice(order, "as the step says" if first else f"not on `{name}`: here", tuple(refused))


def _handicapped(one: Ranked) -> tuple[float, str]:
    time_s = one.expected.cautious_s
    return (time_s if one.standing == "here" else time_s * (1 + MARGIN_SHARE) + MARGIN_S), one.node


def _reason(ranked: list[Ranked]) -> str:
    if len(ranked) == 1:
        return "nobody else can"
    if ranked[0].standing == "here":
        return "here is fast enough"
    return f"{_ms(ranked[0].expected.cautious_s)} ms, `{ranked[1].node}` {_ms(ranked[1].expected.cautious_s)} ms"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}"
