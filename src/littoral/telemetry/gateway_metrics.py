"""Rows of the table of metrics about a gateway: requests, what was told again and how surely, services, budgets.

`tenant` is empty for the operator's own requests. Money is in the currency of the site file's prices.
"""

from typing import Literal

from littoral.telemetry.metric_spec import MetricSpec

__all__ = ["OF_GATEWAY"]


def _of_tenant(name: str, kind: Literal["gauge", "read_counter"], sentence: str, *labels: str) -> MetricSpec:
    return MetricSpec(f"littoral_gateway_{name}", kind, ("tenant", *labels), sentence)


def _of_upstream(name: str, kind: Literal["gauge", "read_counter"], sentence: str, *labels: str) -> MetricSpec:
    return MetricSpec(f"littoral_gateway_upstream_{name}", kind, ("upstream", *labels), sentence)


OF_GATEWAY = (
    _of_tenant(
        "requests_total",
        "read_counter",
        "Requests by what became of them: `hit`, `semantic`, `miss`, `explore`, `stale`, `off`",
        "outcome",
    ),
    _of_tenant("joined_total", "read_counter", "Of these, those that waited for the same one in flight"),
    _of_tenant("asked_ahead_total", "read_counter", "Requests that a service was asked while they were compared"),
    _of_tenant("given_up_total", "read_counter", "Of these, given up there, since a remembered answer was told"),
    _of_tenant("outrun_total", "read_counter", "Of these, answered by a service before one could be told"),
    _of_tenant(
        "similarity_total",
        "read_counter",
        "Similarity of the nearest remembered question, by the twentieth it is in: from 0, from 0.05, … from 0.95",
        "from",
    ),
    _of_tenant("saved_tokens_total", "read_counter", "Tokens of answers that were told again"),
    _of_tenant("saved_money_total", "read_counter", "What these would have cost"),
    _of_tenant("spent_tokens_total", "read_counter", "Tokens of answers of services"),
    _of_tenant("spent_money_total", "read_counter", "What these cost"),
    _of_tenant(
        "error_share",
        "gauge",
        "Wrong ones among what the bound counts, as judged: `estimate`, and its interval from `low` to `high`",
        "of",
    ),
    _of_tenant("error_bound", "gauge", "The share of wrong ones that is allowed, `delta`"),
    _of_tenant("alarm", "gauge", "1 while the bound is broken, and only the same requests are told again"),
    _of_tenant("alarms_total", "read_counter", "Times that the bound was found broken"),
    _of_tenant("moved_total", "read_counter", "Times that questions were found to come from elsewhere"),
    _of_tenant("judged_total", "read_counter", "Samples that were judged, to learn from"),
    _of_tenant(
        "audited_total",
        "read_counter",
        "Of these, those that could have been told, drawn at random: `right`, `wrong`",
        "verdict",
    ),
    _of_tenant("judge_unsure_total", "read_counter", "Samples of which the judge could not tell"),
    _of_tenant("judge_waiting", "gauge", "Samples that wait for the judge"),
    _of_tenant("judge_dropped_total", "read_counter", "Samples that were not judged: too many waited"),
    _of_tenant("misses_waiting", "gauge", "Near misses that wait for people"),
    _of_tenant("entries", "gauge", "Remembered answers"),
    _of_tenant("entries_bytes", "gauge", "Their bytes"),
    _of_tenant("evictions_total", "read_counter", "Remembered answers that left for want of room"),
    _of_tenant("expired_total", "read_counter", "Remembered answers that were taken out after their time"),
    _of_tenant("budget_used", "gauge", "Of a budget, in the window that is under way", "what", "window"),
    _of_tenant("budget_limit", "gauge", "The budget", "what", "window"),
    _of_tenant("budget_refused_total", "read_counter", "Requests beyond a budget", "what", "window"),
    _of_upstream("requests_total", "read_counter", "Requests to a service"),
    _of_upstream("failures_total", "read_counter", "Of these, those that failed"),
    _of_upstream("retries_total", "read_counter", "Of these, those that were tried again"),
    _of_upstream("seconds_total", "read_counter", "Time of those that were answered"),
    _of_upstream("streams_total", "read_counter", "Of these, those that were streamed"),
    _of_upstream("first_token_seconds_total", "read_counter", "Time until the first token of these"),
    _of_upstream("state", "gauge", "1 for the state of its breaker: `closed`, `open`, `half-open`", "state"),
)
