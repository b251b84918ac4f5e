"""What a model has done since its version was opened: counts, and seconds by what they were spent on."""

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["ModelStatistics", "Spent"]


class Spent(NamedTuple):
    """Seconds of one request: waiting for an instance, decoding, the model's own run, encoding; and of all of it."""

    queue: float = 0.0
    compute_input: float = 0.0
    compute_infer: float = 0.0
    compute_output: float = 0.0
    total: float = 0.0


@dataclass
class ModelStatistics:
    """Of one version of a model, or of one pipeline. spent: of requests that succeeded; fail_s: of the others.

    last_at: Unix time in seconds of the latest request, 0 before the first.
    """

    success_count: int = 0
    fail_count: int = 0
    fail_s: float = 0.0
    last_at: float = 0.0
    spent: Spent = field(default_factory=Spent)

    def succeeded(self, spent: Spent, at: float) -> None:
        self.success_count += 1
        self.last_at = at
        self.spent = Spent(*(a + b for a, b in zip(self.spent, spent, strict=True)))

    def failed(self, seconds: float, at: float) -> None:
        self.fail_count += 1
        self.fail_s += seconds
        self.last_at = at
