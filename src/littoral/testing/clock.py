"""A clock that stands still until it is told to move."""

__all__ = ["SimulatedClock"]


class SimulatedClock:
    """Seconds, moved by `advance`; `wall` starts at 2026-01-01."""

    def __init__(self, wall: float = 1_767_225_600.0) -> None:
        self._monotonic = 0.0
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._monotonic += seconds
        self._wall += seconds

    def set_wall(self, wall: float) -> None:
        """The administrator, or NTP, sets the clock; `monotonic` does not care."""
        self._wall = wall
