"""What is told of a gateway, as numbers for a scrape."""

from collections.abc import Iterator
from typing import get_args

from littoral.gateway.breaker import State
from littoral.node.gateway.shown import BudgetTold, CacheTold, ErrorTold, GatewayTold, JudgeTold, UpstreamTold
from littoral.telemetry import Reading

__all__ = ["tenant_readings", "upstream_readings"]


def tenant_readings(tenant: str, told: GatewayTold) -> Iterator[Reading]:
    """Of one tenant; '' is the operator. What all share is not among it."""
    for outcome, count in told.outcomes.items():
        yield Reading("littoral_gateway_requests_total", (tenant, outcome), count)
    saved = told.saved
    values: dict[str, float] = {
        "joined_total": told.joined,
        "asked_ahead_total": told.ahead.asked,
        "given_up_total": told.ahead.given_up,
        "outrun_total": told.ahead.outrun,
        "saved_tokens_total": saved.tokens,
        "saved_money_total": saved.money,
        "spent_tokens_total": saved.spent_tokens,
        "spent_money_total": saved.spent_money,
    }
    if told.error is not None:
        values |= _of_error(told.error)
        yield from _verdicts(tenant, told.error)
    if told.judge is not None:
        values |= _of_judge(told.judge)
    if told.cache is not None:
        values |= {**_of_cache(told.cache), "misses_waiting": told.misses}
        step = 1 / len(told.similarity_counts)
        for number, count in enumerate(told.similarity_counts):
            yield Reading("littoral_gateway_similarity_total", (tenant, f"{number * step:.2f}"), count)
    for name, value in values.items():
        yield Reading(f"littoral_gateway_{name}", (tenant,), value)
    for budget in told.budgets:
        yield from _of_budget(budget)


def upstream_readings(upstreams: list[UpstreamTold]) -> Iterator[Reading]:
    """Of the services that all tenants share."""
    for one in upstreams:
        values: dict[str, float | None] = {
            "requests_total": one.requests,
            "failures_total": one.failures,
            "retries_total": one.retries,
            "seconds_total": one.seconds,
            "streams_total": one.streams,
            "first_token_seconds_total": one.first_token_s,
        }
        for name, value in values.items():
            if value is not None:
                yield Reading(f"littoral_gateway_upstream_{name}", (one.name,), value)
        for state in get_args(State):
            yield Reading("littoral_gateway_upstream_state", (one.name, state), state == one.state)


def _of_error(error: ErrorTold) -> dict[str, float]:
    return {
        "error_bound": error.delta,
        "alarm": error.state == "alarm",
        "alarms_total": error.alarms,
        "moved_total": error.moved,
        "judged_total": error.judged,
    }


def _verdicts(tenant: str, error: ErrorTold) -> Iterator[Reading]:
    for of, share in (("low", error.low), ("estimate", error.estimate), ("high", error.high)):
        if share is not None:
            yield Reading("littoral_gateway_error_share", (tenant, of), share)
    for verdict, count in (("right", error.audited - error.wrong), ("wrong", error.wrong)):
        yield Reading("littoral_gateway_audited_total", (tenant, verdict), count)


def _of_judge(judge: JudgeTold) -> dict[str, float]:
    return {
        "judge_unsure_total": judge.unsure,
        "judge_waiting": judge.waiting,
        "judge_dropped_total": judge.dropped,
    }


def _of_cache(cache: CacheTold) -> dict[str, float]:
    return {
        "entries": cache.entries,
        "entries_bytes": cache.bytes,
        "evictions_total": cache.evicted,
        "expired_total": cache.expired,
    }


def _of_budget(budget: BudgetTold) -> Iterator[Reading]:
    labels = (budget.tenant, budget.what, f"{budget.window_s:g}")
    yield Reading("littoral_gateway_budget_used", labels, budget.used)
    yield Reading("littoral_gateway_budget_limit", labels, budget.limit)
    yield Reading("littoral_gateway_budget_refused_total", labels, budget.refused)
