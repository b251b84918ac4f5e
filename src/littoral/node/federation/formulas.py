"""Formulas over what several shards have found: `$score` becomes numbers, so that each shard can work them out.

What a score is worth depends on prefetches over all nodes, and what else a formula reads are payloads, which are on the
shards. So a formula goes to them with the scores written into it, one for each candidate.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from littoral.errors import InputError, TooLargeError
from littoral.vectors.asks import Formula
from littoral.vectors.records import Hit, PointId

__all__ = ["CANDIDATES_MAX", "with_scores"]

CANDIDATES_MAX = 1024
"""A shard compares each of its candidates with each of all."""

DEPTH_MAX = 32
PARTS_MAX = 256
SCORE = re.compile(r"\$score(?:\[(\d{1,3})\])?")
INSIDE = {
    "div": ("left", "right"),
    "pow": ("base", "exponent"),
    **dict.fromkeys(("lin_decay", "exp_decay", "gauss_decay"), ("x", "target")),
}
"""Parts that are expressions, of what is not an expression as a whole."""

WHOLE = frozenset({"mult", "sum", "max", "min", "neg", "abs", "sqrt", "exp", "log10", "ln", "acosh"})


def with_scores(ask: Formula, sources: Sequence[Sequence[Hit]]) -> Formula:
    """The formula for exactly these candidates. Raises TooLargeError for more than `CANDIDATES_MAX` of them."""
    candidates = {hit.id for source in sources for hit in source}
    if len(candidates) > CANDIDATES_MAX:
        raise TooLargeError(
            f"formula: {len(candidates)} candidates in a collection that is spread, at most {CANDIDATES_MAX}",
            hint="lower `limit` of the prefetches",
        )

    def numbers(at: int, name: str) -> Any:
        scores = {hit.id: hit.score for hit in sources[at]} if at < len(sources) else {}
        return _of_candidates(scores, _default(ask.defaults, name, at))

    return Formula(_replaced(ask.expression, numbers, DEPTH_MAX), ask.defaults)


def _default(defaults: Mapping[str, Any], name: str, at: int) -> float:
    names = {name, f"$score[{at}]"} | ({"$score"} if at == 0 else set())
    found = next((defaults[one] for one in sorted(names) if one in defaults), 0.0)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InputError(f"defaults: `{name}` must be a number")
    return float(found)


def _of_candidates(scores: Mapping[PointId, float], default: float) -> Any:
    """An expression whose value is the score of the point that it is worked out for."""
    parts: list[Any] = [{"mult": [score - default, {"has_id": [point]}]} for point, score in scores.items()]
    while len(parts) >= PARTS_MAX:
        parts = [{"sum": parts[at : at + PARTS_MAX]} for at in range(0, len(parts), PARTS_MAX)]
    return {"sum": [default, *parts]}


def _replaced(json: Any, numbers: Callable[[int, str], Any], depth_left: int) -> Any:
    if not depth_left:
        raise TooLargeError(f"formula: nested deeper than {DEPTH_MAX}")

    def inner(part: Any) -> Any:
        return _replaced(part, numbers, depth_left - 1)

    if isinstance(json, str) and (found := SCORE.fullmatch(json)) is not None:
        return numbers(int(found[1] or 0), json)
    if not isinstance(json, dict) or len(json) != 1:
        return json
    name, value = next(iter(json.items()))
    if name in WHOLE:
        return {name: [inner(part) for part in value] if isinstance(value, list) else inner(value)}
    if name in INSIDE and isinstance(value, dict):
        return {name: {key: inner(part) if key in INSIDE[name] else part for key, part in value.items()}}
    return json
