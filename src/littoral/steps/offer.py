"""What a node says of one step that it could run. Pure."""

from typing import NamedTuple

__all__ = ["Offer"]


class Offer(NamedTuple):
    """What a node says of one step: calls that wait, instances at work, and in all. service_s: of a call, in the mean;
    0 = none yet.
    """

    waiting: int
    busy: int
    slots: int
    service_s: float

    def start_s(self, more: int, service_s: float) -> float:
        """Until a call that comes now is begun. more: calls on their way that it does not know of."""
        slots = max(1, self.slots)
        beyond = self.waiting + self.busy + more - slots
        return 0.0 if beyond < 0 else (beyond + 0.5) * service_s / slots
