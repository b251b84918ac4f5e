"""What `GET /api/gateway` tells of a gateway, and what a scrape reads of it."""

from collections.abc import Iterator

from littoral.answers.watch import Watch
from littoral.gateway.budgets import Told
from littoral.gateway.order import Gateway
from littoral.gateway.remembered import Remembered
from littoral.gateway.tally import OUTCOMES, Tally
from littoral.gateway.upstreams import Seat
from littoral.node.gateway.readings import tenant_readings, upstream_readings
from littoral.node.gateway.rules_in_words import rules_in_words
from littoral.node.gateway.shown import (
    AheadTold,
    BudgetTold,
    CacheTold,
    ErrorTold,
    GatewayTold,
    HistoryTold,
    JudgeTold,
    SavedTold,
    UpstreamTold,
)
from littoral.telemetry import Reading

__all__ = ["MICRO", "gateway_readings", "told_gateway"]

MICRO = 1_000_000
SPAN_S = 3600


def told_gateway(gateway: Gateway, span_s: int = SPAN_S) -> GatewayTold:
    """span_s: of the history."""
    tally, answers = gateway.tally, gateway.answers
    return GatewayTold(
        upstreams=[_upstream(seat, is_whole=not gateway.tenant) for seat in gateway.upstreams.seats],
        budgets=[_budget(gateway.tenant, one) for one in gateway.budgets.told()],
        rules=[] if answers is None else rules_in_words(answers.rules),
        outcomes={str(outcome): count for outcome, count in tally.counts.items()},
        joined=tally.joined_count,
        ahead=AheadTold(*tally.ahead),
        hit_share=tally.hit_share,
        saved=_saved(tally),
        history=_history(tally, span_s),
        similarity_counts=tally.similarity_counts,
        cache=None if answers is None else _cache(answers),
        error=None if answers is None or answers.embed is None else _error(answers.watch),
        judge=None if answers is None or answers.embed is None else _judge(answers),
        misses=0 if answers is None else len(answers.misses),
    )


def gateway_readings(gateway: Gateway) -> Iterator[Reading]:
    """Of one tenant; of the operator, '', with the services that all share."""
    told = told_gateway(gateway)
    yield from tenant_readings(gateway.tenant, told)
    if not gateway.tenant:
        yield from upstream_readings(told.upstreams)


def _upstream(seat: Seat, *, is_whole: bool) -> UpstreamTold:
    """is_whole: for the operator."""
    one = seat.upstream
    return UpstreamTold(
        name=one.name,
        url=one.url if is_whole else None,
        models=[*one.models, *(name for name in one.rename if name not in one.models)],
        weight=one.weight,
        state=seat.breaker.state,
        requests=seat.requests if is_whole else None,
        failures=seat.failures if is_whole else None,
        retries=seat.retries if is_whole else None,
        seconds=seat.seconds if is_whole else None,
        first_token_s=seat.first_token_s if is_whole else None,
        streams=seat.streams if is_whole else None,
    )


def _budget(tenant: str, one: Told) -> BudgetTold:
    return BudgetTold(tenant, one.what, one.window_s, one.used, one.limit, one.refused)


def _saved(tally: Tally) -> SavedTold:
    saved = tally.saved
    return SavedTold(saved.tokens, saved.cost_micro / MICRO, saved.spent_tokens, saved.spent_micro / MICRO)


def _history(tally: Tally, span_s: int) -> HistoryTold:
    step_s, rows = tally.history(span_s)
    return HistoryTold(step_s, list(OUTCOMES), rows)


def _cache(answers: Remembered) -> CacheTold:
    found, bounds = answers.store.stats(), answers.store.bounds
    return CacheTold(
        embedder=answers.embedder,
        fit=answers.watch.policy.fit,
        policy_version=answers.rules.policy_version,
        ttl_s=answers.ttl_s,
        entries=found.entries,
        entries_max=bounds.entries_max,
        bytes=found.bytes,
        bytes_max=bounds.bytes_max,
        evicted=found.evicted,
        expired=found.expired,
    )


def _error(watch: Watch) -> ErrorTold:
    policy, counts, interval = watch.policy, watch.statistics(), watch.interval()
    is_known = counts.judged > 0 and interval.high < 1
    return ErrorTold(
        target=policy.target,
        delta=policy.delta,
        state=watch.state,
        judged=counts.judged,
        audited=counts.audited,
        wrong=counts.wrong,
        low=interval.low if is_known else None,
        estimate=interval.estimate if is_known else None,
        high=interval.high if is_known else None,
        alarms=counts.alarms,
        moved=counts.moved,
    )


def _judge(answers: Remembered) -> JudgeTold:
    found = answers.judging.statistics()
    return JudgeTold(
        answers.judge_name, found.same + found.other, found.untold, found.waiting, found.dropped + found.failed
    )
