"""Guesses at tokens, counted by the address they come from: after some in a row, the next have to wait."""

from collections import OrderedDict

from littoral.clock import Clock
from littoral.web.addresses import network_of

__all__ = ["Guesses"]

ADDRESS_COUNT_MAX = 4096
BURST_COUNT = 10
REFILL_S = 6.0
"""One guess more is free after so long."""


class Guesses:
    """A bucket for each address, of IPv6 for each network of 64 bits. Bounded: who guessed longest ago is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long until a guess from there is looked at; 0: now."""
        return max(0.0, (self._left(network_of(address)) - BURST_COUNT + 1) * REFILL_S)

    def count(self, address: str) -> None:
        """A wrong one came from there."""
        network = network_of(address)
        left = self._left(network)
        self._used[network] = (min(left + 1, float(BURST_COUNT)), self._clock.monotonic())
        self._used.move_to_end(network)
        while len(self._used) > ADDRESS_COUNT_MAX:
            self._used.popitem(last=False)

    def _left(self, network: str) -> float:
        used, at_s = self._used.get(network, (0.0, 0.0))
        return max(0.0, used - (self._clock.monotonic() - at_s) / REFILL_S)
