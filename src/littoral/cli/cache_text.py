"""What `/api/gateway` tells, as lines for people."""

from collections.abc import Iterator
from typing import Any

__all__ = ["explain_lines", "stats_lines"]

TITLES = {
    "hit": "same request",
    "semantic": "similar question",
    "stale": "expired, service away",
    "explore": "asked to learn",
    "miss": "asked",
    "off": "not cached",
}
REACHES = {"nothing": "to nobody", "exact": "to the same request only", "semantic": "to similar questions too"}


def stats_lines(told: dict[str, Any]) -> Iterator[str]:
    """told: `GET /api/gateway` of a node that is a gateway."""
    total = sum(told["outcomes"].values())
    share = told["hit_share"]
    again = "" if share is None else f", {_percent(share)} told again"
    yield f"requests   {total:,}{again}; {told['joined']:,} waited for the same one"
    for outcome, title in TITLES.items():
        yield f"  {title:<22} {told['outcomes'].get(outcome, 0):>10,}"
    if (ahead := told["ahead"])["asked"]:
        counts = f"{ahead['given_up']:,} for nothing, {ahead['outrun']:,} faster than the remembered answer"
        yield f"ahead      {ahead['asked']:,} asked while compared; {counts}"
    saved = told["saved"]
    spent = f"spent {saved['spent_tokens']:,}, {saved['spent_money']:.4f}"
    yield f"saved      {saved['tokens']:,} tokens, {saved['money']:.4f}; {spent}"
    if (error := told["error"]) is not None:
        yield from _error_lines(error, told["judge"])
    if (cache := told["cache"]) is not None:
        held = f"{cache['entries']:,} of {cache['entries_max']:,}"
        size = f"{cache['bytes']:,} bytes of {cache['bytes_max']:,}; evicted {cache['evicted']:,}"
        yield f"answers    {held}; {size}"
    for one in told["upstreams"]:
        if one["requests"] is None:
            yield f"service    {one['name']}: {one['state']}"
            continue
        answered = one["requests"] - one["failures"]
        mean_s = one["seconds"] / answered if answered > 0 else 0.0
        counts = f"{one['requests']:,} requests, {one['failures']:,} failed, {mean_s:.2f} s"
        yield f"service    {one['name']}: {one['state']}, {counts}"
    for one in told["budgets"]:
        used = f"{one['used']:,.10g} of {one['limit']:,.10g} {one['what']} in {one['window_s']:g} s"
        yield f"budget     {one['tenant'] or 'operator'}: {used}, refused {one['refused']:,}"


def _error_lines(error: dict[str, Any], judge: dict[str, Any] | None) -> Iterator[str]:
    of = "of what is told again" if error["target"] == "hit" else "of all requests"
    bound = f"at most {_percent(error['delta'])} {of} may be"
    if error["estimate"] is None:
        yield f"wrong      nothing is judged yet; {bound}"
    else:
        interval = f"between {_percent(error['low'])} and {_percent(error['high'])}"
        counts = f"{error['wrong']:,} of {error['audited']:,} at random"
        yield f"wrong      {_percent(error['estimate'])}, {interval} ({counts}); {bound}"
    if error["state"] == "alarm":
        yield "ALARM      the bound is broken: only the same requests are told again"
    if error["moved"]:
        times = "once" if error["moved"] == 1 else f"{error['moved']:,} times"
        yield f"moved      questions came from elsewhere {times}: what was judged before weighs little since"
    if judge is not None:
        counts = f"{judge['judged']:,} said, {judge['unsure']:,} unsure, {judge['dropped']:,} dropped"
        yield f"judge      {judge['name']}: {counts}"


def explain_lines(told: dict[str, Any]) -> Iterator[str]:
    """told: `POST /api/gateway/explain`."""
    yield f"{told['outcome']}: {TITLES.get(told['outcome'], '')}"
    yield f"may be told again {REACHES[told['reach']]}{': ' + told['reason'] if told['reason'] else ''}"
    is_there = "is" if told["is_exact"] else "is not"
    yield f"the same request {is_there} remembered; partition {told['partition'][:12] or '–'}"
    for one in told["near"]:
        threshold = "–" if one["threshold"] is None else f"{one['threshold']:.3f}"
        verdict = "told again" if one["is_served"] else "asked"
        tier = ", curated" if one["tier"] == "curated" else ""
        bound = f"wrong at most {_percent(one['bound'])}, {one['observed']} seen{tier}"
        yield f"  {one['similarity']:.3f}  {one['question']}"
        yield f"         {verdict}: {one['reason']}; from {threshold}, {bound}"
    if not told["near"]:
        yield "nothing near it is remembered"
    for one in told["elsewhere"]:
        yield f"with other parameters, so never told here: {one['similarity']:.3f}  {one['question']}"
        yield f"         {'; '.join(map(_differs, one['differs'])) or 'what differs was not kept with it'}"


def _differs(one: list[str]) -> str:
    name, there, here = one
    return f"{name}: {there} there, {here} here"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
