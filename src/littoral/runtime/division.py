"""Whether a run of a model for several threads is divided among them: where cores are idle, and where it has paid.

With other work on the cores every thread waits for the one that was held up, at every step, and a run by one thread is
the faster one. What that other work is, nobody can know; what a run took, everybody can.
"""

from collections.abc import Callable
from typing import Protocol

from littoral.clock import SYSTEM, Clock

__all__ = ["Cores", "Division"]

SHARE_OF_THE_LATEST = 0.25
TRY_EVERY = 32
"""Runs, of which one is made the other way, as what else works here changes."""


class Cores(Protocol):
    """Who knows whether cores are idle."""

    def borrow(self, count: int) -> bool:
        """Whether `count` more threads may work; then they are to be given back."""
        ...

    def give_back(self, count: int) -> None: ...


class Division:
    """Of one session, whose calls take turns. helpers: threads of a run beside the one that calls."""

    def __init__(self, cores: Cores, helpers: int, *, clock: Clock = SYSTEM) -> None:
        self._cores = cores
        self._helpers = helpers
        self._clock = clock
        self._count = 0
        self._took_s: dict[tuple[str, bool], float] = {}

    def run(self, entry: str, divided: Callable[[], object], alone: Callable[[], object]) -> None:
        """Carries out one of the two; times are kept for each entry. Raises what it raises."""
        is_divided = self._is_wanted(entry) and self._cores.borrow(self._helpers)
        began = self._clock.monotonic()
        try:
            (divided if is_divided else alone)()
        finally:
            if is_divided:
                self._cores.give_back(self._helpers)
        self._note((entry, is_divided), self._clock.monotonic() - began)

    def _is_wanted(self, entry: str) -> bool:
        self._count += 1
        together_s, alone_s = (self._took_s.get((entry, is_divided)) for is_divided in (True, False))
        if together_s is None or alone_s is None:
            return together_s is None
        return (together_s < alone_s) != (self._count % TRY_EVERY == 0)

    def _note(self, way: tuple[str, bool], took_s: float) -> None:
        before_s = self._took_s.get(way, took_s)
        self._took_s[way] = before_s + (took_s - before_s) * SHARE_OF_THE_LATEST
