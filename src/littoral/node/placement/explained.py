"""What an answer says of a step that might have run elsewhere: who did it, why, and who did not."""

from collections.abc import Mapping
from typing import Any

from littoral.node.placement.racing import Raced
from littoral.node.placement.scheduler import Choice, Ranked
from littoral.runtime.edges import Value

__all__ = ["explained"]

REFUSED_MAX = 8
WORDS_MAX = 200


def explained(
    step: str, choice: Choice, raced: Raced[Ranked, Value], taken_s: float, did: Mapping[str, str]
) -> dict[str, Any]:
    """For `How.placement`. predicted_ms: of the node that did it; taken_ms: of the whole, also where others failed.

    did: by who was asked, who did it for them.
    """
    winner = raced.winner
    told: dict[str, Any] = {
        "step": step,
        "node": winner.node,
        "predicted_ms": round(winner.expected.likely_s * 1000, 3),
        "taken_ms": round(taken_s * 1000, 3),
        "why": choice.why if winner == choice.order[0] else _instead(choice, raced),
        "refused": [{"node": one.node, "why": one.why[:WORDS_MAX]} for one in choice.refused[:REFUSED_MAX]],
    }
    if winner.node in did:
        told["by"] = did[winner.node]
    if choice.tried is not None:
        told["tried"] = choice.tried.node
    return told


def _instead(choice: Choice, raced: Raced[Ranked, Value]) -> str:
    """Why it was not the first of the order."""
    told = [f"`{one.node}` failed: {error.message[:WORDS_MAX]}" for one, error in raced.failures]
    told += [f"`{one.node}` is slow" for one in raced.slow]
    return "; ".join(told) or f"faster than `{choice.order[0].node}`, tried beside it"
