"""How long it takes to and from another node, as its answers told: a round trip, and so much more a byte. Pure."""

__all__ = ["Transfer"]

FIRST_ROUND_S = 0.002
FIRST_BYTE_S = 1 / 12_500_000
SMALL_BYTES_MAX = 4096
LARGE_BYTES_MIN = 32_768
SHARE_OF_THE_LATEST = 0.2


class Transfer:
    """To one node. Before the first answer: a network of 100 Mbit/s."""

    def __init__(self) -> None:
        self.round_s = FIRST_ROUND_S
        self.byte_s = FIRST_BYTE_S
        self._has_round = False

    def note(self, size_bytes: int, taken_s: float) -> None:
        """A message and its answer had so many bytes, and were on the way for so long, without what was done there."""
        if size_bytes <= SMALL_BYTES_MAX:
            self.round_s += (taken_s - self.round_s) * (SHARE_OF_THE_LATEST if self._has_round else 1)
            self._has_round = True
        elif size_bytes >= LARGE_BYTES_MIN:
            self.byte_s += (max(0.0, taken_s - self.round_s) / size_bytes - self.byte_s) * SHARE_OF_THE_LATEST

    def expected_s(self, size_bytes: int) -> float:
        return self.round_s + size_bytes * self.byte_s
