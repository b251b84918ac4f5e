"""Decides by all entries of a tenant together, audits what is told, and ends it where the bound does not hold.

What is known of an entry orders requests by risk; judged samples decide how far down that order answers are told. So
any error of the order costs answers, not the bound. A level is used while a run of the length to come has a
share of wrong ones of at most delta, except with a small probability, by all that was judged so far.
"""

from typing import Any, Literal, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from littoral.answers.decision import NEVER, Decision, Policy, wrong_at_most
from littoral.answers.drift import Bets
from littoral.answers.evidence import evidence_of, similarity_at
from littoral.answers.levels import BINS, EDGES, Counts, bin_of
from littoral.answers.moved import Moved
from littoral.answers.observations import Observations
from littoral.answers.pooled import Pooled

__all__ = ["Estimate", "State", "Watch", "WatchStatistics"]

State = Literal["ok", "alarm"]

VERSION = 1
WARM_UP = 150
"""Judgements that the order is learned from before any is counted."""

RISK, RISK_KEPT = 0.01, 0.03
"""That a run does not keep its bound: for a level to come, for the one in use."""

RUN_WRONG_MIN, RUN_GROWTH_MAX = 5, 20
"""A run is so long that delta allows five wrong ones, or as long as what has been, up to twenty times that."""

LOOK_EVERY = 8
RISK_TIMES_MAX = 4.0
"""Answers of a predicted risk above so many times delta are not told, whatever the mean: for delta of those told."""

CHECKS = 30
AUDIT_QUIET, ALL_SUSPECT, ALL_QUIET = 200.0, 30.0, 3000.0
SUSPECTED = 2.0
"""Capital of the bets from which on more is asked to check, in proportion: long before they would win."""

JUDGED_MIN = 100
SHARE_MAX = 0.25
MEMORY = 0.998
"""Of how many requests could be told: about the newest five hundred."""

DOUBT = 40
MOVED = 0.25
"""What was counted weighs so much where questions come from elsewhere."""
Z = 1.6448536269514722
Z_TWO_SIDED = 1.959963984540054
UNKNOWN_RISK = 0.5


class Estimate(NamedTuple):
    """Of the share of wrong ones, with its interval at 95 %; 0, 0 and 1 where nothing is told."""

    low: float
    estimate: float
    high: float


class WatchStatistics(NamedTuple):
    """Since it was begun: requests that reached a decision, those told, those asked of the upstream though they could
    be told (forced), and of these the ones judged (audited) and wrong; alarms; how often questions were found to come
    from elsewhere (moved). checking: how many are yet to be asked since a wrong one was found. risk_max: predicted risk
    up to which answers are told, 0: none.
    """

    requests: int
    told: int
    forced: int
    judged: int
    audited: int
    wrong: int
    alarms: int
    moved: int
    checking: int
    risk_max: float


class _Tally(msgspec.Struct):
    requests: int = 0
    told: int = 0
    forced: int = 0
    judged: int = 0
    audited: int = 0
    wrong: int = 0
    alarms: int = 0
    moved: int = 0


class Watch:
    """Of one policy and tenant. Each request that no exact answer was told to: `decide` it, and call `judged` once it
    is known whether the entry's answer would have been right. For one thread. Kept over restarts by `told` and `of`.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state: State = "ok"
        self._order, self._counts = Pooled(), Counts()
        self._audit, self._all = Bets(), Bets()
        self._moved = Moved()
        self._level = self._lost = self._checking = 0
        self._tellable = 0.0
        self._bounds = [1.0] * BINS
        self._tally = _Tally()

    @classmethod
    def of(cls, policy: Policy, told: dict[str, Any]) -> Self:
        """As it was when it `told`; as new where that is of another policy or version, or damaged."""
        found = cls(policy)
        try:
            if told["version"] != VERSION or told["policy"] != msgspec.to_builtins(policy):
                return found
            order, counts = Pooled.of(told["order"]), Counts.of(told["counts"])
            tally = msgspec.convert(told["tally"], _Tally)
            audit, everything = Bets(told["audit"]), Bets(told["all"])
            moved = Moved.of(told["moved"]) if "moved" in told else Moved()
            tellable = min(max(float(told.get("tellable", 0.0)), 0.0), 1.0)
            lost, level = (min(max(int(told.get(name, 0)), 0), BINS - 1) for name in ("lost", "level"))
            checking = min(max(int(told.get("checking", 0)), 0), CHECKS)
        except (KeyError, TypeError, ValueError, OverflowError, msgspec.ValidationError):
            return found
        found._order, found._counts, found._tally = order, counts, tally
        found._audit, found._all, found._moved = audit, everything, moved
        found._tellable, found._lost, found._level, found._checking = tellable, lost, level, checking
        found.state = "alarm" if told.get("state") == "alarm" else "ok"
        found._look()
        return found

    def told(self) -> dict[str, Any]:
        """All that a restart needs, for JSON; about 15 KB."""
        return {
            "version": VERSION,
            "policy": msgspec.to_builtins(self.policy),
            "state": self.state,
            "order": self._order.told(),
            "counts": self._counts.told(),
            "tally": msgspec.to_builtins(self._tally),
            "audit": self._audit.told(),
            "all": self._all.told(),
            "moved": self._moved.told(),
            "tellable": self._tellable,
            "lost": self._lost,
            "level": self._level,
            "checking": self._checking,
        }

    def asked(self, vector: NDArray[np.floating[Any]]) -> bool:
        """Before `decide`, the question's vector, of unit length. Where questions come from elsewhere than before, what
        was counted weighs little from now on, so that most is asked of the upstream until enough is judged of them:
        then it returns true.
        """
        if not (has_moved := self._moved.question(vector)):
            return False
        self._tally.moved += 1
        self._counts.fade(MOVED)
        self._look()
        return has_moved

    @property
    def may_tell(self) -> bool:
        """Whether there is any question whose answer could be told now."""
        return self._level > 0

    def learn_from(self, told: dict[str, Any]) -> bool:
        """What another one of the same policy `told`, where nothing was learned here; false where it is not taken. What
        it counted of its requests stays there.
        """
        found = type(self).of(self.policy, told)
        if self._order.count or not found._order.count:
            return False
        self._order, self._counts, self._moved = found._order, found._counts, found._moved
        self._audit, self._all = found._audit, found._all
        self._tellable, self._lost, self.state = found._tellable, found._lost, found.state
        self._look()
        return True

    def decide(
        self, observations: Observations | None, similarity: float, u: float, *, is_late: bool = False
    ) -> Decision:
        """observations: of the nearest entry, None where there is none. u: uniform in 0 … 1, drawn for this request
        alone. Counts the request.

        is_late: an upstream answers it already. If it could have been told it is none of those that are: nothing is
        counted of it, and `judged` learns nothing, so that what is judged stays a sample of what is told.
        """
        self._tally.requests += 1
        if observations is None:
            return self._untellable("nothing to tell")
        evidence = self._evidence(observations, similarity)
        if not len(observations):
            return self._untellable("entry was never judged", (-1.0, *evidence))
        at = bin_of(self._order.risk(evidence))
        is_tellable = at < self._level
        found = Decision(
            False, False, self._bounds[at], self._threshold(evidence), "", (float(at), *evidence), is_tellable
        )
        if is_tellable and is_late:
            return found._replace(reason="could be told; the upstream answered first", evidence=())
        self._counts.request(at)
        self._tellable = MEMORY * self._tellable + (1 - MEMORY) * is_tellable
        if not is_tellable:
            return found._replace(reason=self._why_not(at))
        if self._is_drawn(u):
            self._tally.forced += 1
            return found._replace(is_forced=True, reason="could be told; asked to check")
        self._tally.told += 1
        return found._replace(serve=True, reason=f"of those told {self._bounds[at]:.3g} at most are wrong")

    def judged(self, decision: Decision, is_correct: bool, *, is_of_many: bool = False) -> None:
        """What a judge said of the entry that `decision` was about; of one that was told, as `labelled`.

        is_of_many: by an author of whom much was counted of late: it may raise the alarm, and teaches nothing.
        """
        if not decision.evidence:
            return
        if decision.serve:
            self.labelled(is_correct=is_correct)
            return
        self._tally.judged += 1
        at, *evidence = decision.evidence
        if is_of_many:
            self._watched(int(at), decision.is_forced, is_correct)
            return
        self._order.learn(evidence, is_correct)
        if self._order.count < WARM_UP and self.state == "ok":
            self._counts = Counts()
        elif at >= 0:
            self._counted(int(at), decision.is_forced, is_correct)

    def labelled(self, *, is_correct: bool) -> None:
        """What somebody said of an answer that was told: nothing where it is good, a check where it is not. Those who
        say it are no random sample.
        """
        self._checking = self._checking if is_correct else CHECKS

    def interval(self) -> Estimate:
        """Of wrong ones among those told, or among all requests, as the policy's target says."""
        if not self._level:
            return Estimate(0.0, 0.0, 1.0)
        share = self._counts.share(self._level, of_all=self._is_of_all)
        low = share._replace(shape=share.estimate / share.scale).at_most(-Z_TWO_SIDED) if share.estimate else 0.0
        return Estimate(min(low, share.estimate), share.estimate, share.at_most(Z_TWO_SIDED))

    def statistics(self) -> WatchStatistics:
        tally = msgspec.structs.asdict(self._tally)
        return WatchStatistics(**tally, checking=self._checking, risk_max=self._risk_max)

    def curve(self, observations: Observations, similarities: list[float]) -> list[tuple[float, float, bool]]:
        """For each similarity: predicted risk, upper bound of the share of wrong ones up to it, whether it is told."""
        risks = [self._order.risk(self._evidence(observations, s)) for s in similarities]
        return [(r, self._bounds[bin_of(r)], bool(len(observations)) and bin_of(r) < self._level) for r in risks]

    @property
    def _is_of_all(self) -> bool:
        return self.policy.target == "request"

    @property
    def _risk_max(self) -> float:
        return EDGES[self._level - 1] if self._level else 0.0

    def _evidence(self, observations: Observations, similarity: float) -> tuple[float, ...]:
        has_curve = len(observations) >= self.policy.observations_min
        own = wrong_at_most(observations, similarity, self.policy.fit) if has_curve else UNKNOWN_RISK
        return evidence_of(observations, similarity, own)

    def _untellable(self, reason: str, evidence: tuple[float, ...] = ()) -> Decision:
        self._counts.request(None)
        self._tellable *= MEMORY
        return Decision(False, False, 1.0, NEVER, reason, evidence)

    def _why_not(self, at: int) -> str:
        if self.state == "alarm":
            return "alarm: only exact answers are told, until a level is found again"
        if not self._level:
            return "too few judgements to tell anything"
        return f"of those told {self._bounds[at]:.3g} may be wrong, too many"

    def _threshold(self, evidence: tuple[float, ...]) -> float:
        return similarity_at(self._order.coefficients, evidence, self._risk_max) if self._level else NEVER

    def _is_drawn(self, u: float) -> bool:
        if self._checking:
            self._checking -= 1
            return True
        suspicion = max(1.0, self._audit.capital / SUSPECTED, self._all.capital / SUSPECTED)
        return u < min(SHARE_MAX, suspicion * self.policy.explore_share / max(self._tellable, 1e-3))

    def _watched(self, at: int, is_forced: bool, is_correct: bool) -> bool:
        """False where what was counted is no use any more."""
        if at < 0 or not self._lost or self._counts.judged.sum() < JUDGED_MIN:
            return True
        self._all.judgement(self._counts.risk_at_most(at), is_correct)
        if is_forced:
            self._audited(is_correct)
        if self._audit.capital >= AUDIT_QUIET or self._all.capital >= ALL_QUIET:
            self._begin_anew()
            return False
        if self._level and self._all.capital >= ALL_SUSPECT:
            self._checking = CHECKS
        return True

    def _counted(self, at: int, is_forced: bool, is_correct: bool) -> None:
        if not self._watched(at, is_forced, is_correct):
            return
        self._counts.judgement(at, is_correct)
        if self._tally.judged % LOOK_EVERY == 0 or (is_forced and not is_correct):
            self._look()

    def _audited(self, is_correct: bool) -> None:
        self._tally.audited += 1
        self._tally.wrong += not is_correct
        self._audit.judgement(self.policy.delta, is_correct)
        if not is_correct:
            self._checking = CHECKS

    def _look(self) -> None:
        """Which level is used from here on; where none can be shown to hold all is asked of the upstream. That is an
        alarm if a wrong one was found just now. If by what is then judged too many are wrong at the level that was,
        what was counted is no use any more.
        """
        had, self._level = self._level, next((n for n in range(BINS - 1, 0, -1) if self._is_kept(n)), 0)
        if self._level:
            self.state, self._lost = "ok", self._level
        elif self._counts.share(self._lost, of_all=self._is_of_all).estimate > self.policy.delta:
            self._begin_anew()
            return
        elif had and self._checking:
            self._alarm()
        shares = (self._counts.share(bins + 1, of_all=self._is_of_all) for bins in range(BINS))
        self._bounds = [share.at_most(Z) for share in shares]

    def _is_kept(self, bins: int) -> bool:
        delta = self.policy.delta
        if not self._is_of_all and EDGES[bins - 1] > RISK_TIMES_MAX * delta:
            return False
        share, shortest = self._counts.share(bins, of_all=self._is_of_all), RUN_WRONG_MIN / delta
        run = min(max(self._counts.base(bins, of_all=self._is_of_all), shortest), RUN_GROWTH_MAX * shortest)
        return share.mean < delta and share.is_kept(delta, run, RISK_KEPT if bins <= self._level else RISK)

    def _alarm(self) -> None:
        self._tally.alarms += self.state == "ok"
        self.state, self._level, self._checking = "alarm", 0, 0

    def _begin_anew(self) -> None:
        """What was counted was of another time, and so may be most of what the order was learned from."""
        self._alarm()
        self._lost = 0
        self._counts, self._audit, self._all = Counts(), Bets(), Bets()
        self._order.doubt(DOUBT)
        self._bounds = [1.0] * BINS
