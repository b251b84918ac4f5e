"""Audits what is told: the share of wrong ones among judged samples, and an alarm where it is above delta."""

from typing import Literal, NamedTuple, Self

from littoral.answers.decision import Decision, Policy
from littoral.answers.decision import decide as by_entry
from littoral.answers.fits import wilson_at_most
from littoral.answers.observations import Observations

__all__ = ["Estimate", "State", "Watch", "WatchStatistics"]

State = Literal["ok", "alarm"]
Z_TWO_SIDED = 1.959963984540054
ALARM_MIN = 20


class Estimate(NamedTuple):
    """Of the share of wrong ones, with its interval at 95 %."""

    low: float
    estimate: float
    high: float


class WatchStatistics(NamedTuple):
    """Since the start: requests that reached a decision, those told, samples judged, those of them that could be told
    (audited) and the wrong ones among these; alarms.
    """

    requests: int
    told: int
    judged: int
    audited: int
    wrong: int
    alarms: int


class Watch:
    """Of one policy and tenant. Each request that may be told a similar answer: `decide` it, and call `judged` once it
    is known whether the entry's answer would have been right. For one thread. Kept over restarts by `told` and `of`.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state: State = "ok"
        self._requests = self._hits = self._audited = self._wrong = self._alarms = 0

    @classmethod
    def of(cls, policy: Policy, told: dict[str, object]) -> Self:
        """As it was when it `told`; as new where that is of another policy or of another version."""
        return cls(policy)

    def told(self) -> dict[str, object]:
        """All that a restart needs, for JSON."""
        return {}

    def decide(self, observations: Observations | None, similarity: float, u: float) -> Decision:
        """observations: of the nearest entry, None where there is none. u: uniform in 0 … 1. Counts the request."""
        self._requests += 1
        if observations is None:
            return Decision(False, False, 1.0, 2.0, "nothing to tell")
        decision = by_entry(observations, similarity, self.policy, u)
        if self.state == "alarm" and decision.serve:
            decision = decision._replace(serve=False, is_forced=True, reason="alarm: only exact answers are told")
        self._hits += decision.serve
        return decision

    def judged(self, decision: Decision, similarity: float, is_correct: bool) -> None:
        """What a judge said of the entry that `decision` was about: of explored requests, or of those told."""
        if not (decision.is_forced or decision.serve):
            return
        self._audited += 1
        self._wrong += not is_correct
        if self.state == "ok" and self._audited >= ALARM_MIN and self.interval().low > self.policy.delta:
            self.state, self._alarms = "alarm", self._alarms + 1

    def interval(self) -> Estimate:
        """Of the wrong ones per hit, or per request, as the policy's target says."""
        count, wrong = self._audited, self._wrong
        if count == 0:
            return Estimate(0.0, 0.0, 1.0)
        high = wilson_at_most(wrong, count, Z_TWO_SIDED)
        low = 1 - wilson_at_most(count - wrong, count, Z_TWO_SIDED)
        share = self._hits / max(1, self._requests) if self.policy.target == "request" else 1.0
        return Estimate(low * share, wrong / count * share, high * share)

    def statistics(self) -> WatchStatistics:
        return WatchStatistics(self._requests, self._hits, self._audited, self._audited, self._wrong, self._alarms)

    def curve(self, observations: Observations, similarities: list[float]) -> list[tuple[float, float, bool]]:
        """For each similarity: how likely the entry is wrong there, the bound on it, and whether it is told."""
        found = [by_entry(observations, similarity, self.policy, 1.0) for similarity in similarities]
        return [(one.bound, one.bound, one.serve and self.state == "ok") for one in found]
