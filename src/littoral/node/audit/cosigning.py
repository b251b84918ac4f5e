"""How far the log of a node is cosigned: one count for all its witnesses, wherever they are."""

from collections.abc import Iterator

from littoral.audit.recorder import Recorder
from littoral.clock import Clock
from littoral.telemetry import Reading

__all__ = ["Cosigning"]


class Cosigning:
    """Of one node. cosigned, unanswered, refused: requests to witnesses, by what became of them.

    refused: witnesses that said that this log contradicts what they have seen of it.
    """

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._size = 0
        self._since = clock.monotonic()
        self.cosigned = 0
        self.unanswered = 0
        self.refused = 0

    def signed(self, size: int, shown_at: float) -> None:
        """A checkpoint of that size, which was the last one at `shown_at`, has a cosignature, on the disk."""
        self.cosigned += 1
        if size >= self._size:
            self._size, self._since = size, shown_at

    @property
    def uncosigned_s(self) -> float:
        """How long at most there have been entries that no witness has seen; 0 if there are none."""
        return self._clock.monotonic() - self._since if self._recorder.size > self._size else 0.0

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        yield Reading("littoral_audit_cosigned_total", (), self.cosigned)
        yield Reading("littoral_audit_cosign_failures_total", ("unanswered",), self.unanswered)
        yield Reading("littoral_audit_cosign_failures_total", ("refused",), self.refused)
        yield Reading("littoral_audit_uncosigned_seconds", (), self.uncosigned_s)
