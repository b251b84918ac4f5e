"""What page and command line need of a gateway."""

from collections.abc import Sequence
from typing import Protocol

from littoral.answers.asked import Asked
from littoral.answers.entries import Near
from littoral.answers.judges import Embed
from littoral.answers.judging import Judging
from littoral.answers.keys import Rules
from littoral.answers.standing import Standing
from littoral.answers.store import AnswerStore
from littoral.answers.watch import Watch
from littoral.gateway.near_misses import NearMisses
from littoral.gateway.tally import Tally
from littoral.gateway.upstreams import Upstreams
from littoral.node.gateway.shown import BudgetTold

__all__ = ["SeenAnswers", "SeenGateway"]


class SeenAnswers(Protocol):
    """Of one tenant. embed: None where only the same request is known."""

    store: AnswerStore
    watch: Watch
    rules: Rules
    judging: Judging
    judge_name: str
    misses: NearMisses
    embed: Embed | None
    embedder: str
    ttl_s: int

    def standing(self, near: Near, asked: Asked) -> Standing:
        """Whether this entry may be told to this author at all, and what was observed of it that counts."""
        ...

    def cost_micro(self, model: str, prompt_tokens: int, completion_tokens: int) -> int: ...


class SeenGateway(Protocol):
    """Of one tenant. answers: None where nothing is told again."""

    tenant: str
    upstreams: Upstreams
    tally: Tally
    answers: SeenAnswers | None

    def budgets(self) -> Sequence[BudgetTold]: ...
