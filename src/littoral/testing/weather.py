"""A network's conditions from a seed: delay, jitter, rate, loss."""

import random

__all__ = ["Weather"]


class Weather:
    """Conditions of `littoral.transport.fake.Network`; every pair of nodes has the same.

    delay_s one way, jitter_s uniform around it. rate: bytes a second of one direction of one pair, 0 = no bound.
    loss: the share of messages that a lower layer repeats after `repeat_s`; what was repeated `repeats_max` times
    in vain never arrives.
    """

    def __init__(
        self,
        seed: int,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        rate: float = 0.0,
        loss: float = 0.0,
        repeat_s: float = 0.2,
        repeats_max: int = 5,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._rate = rate
        self._loss = loss
        self._repeat_s = repeat_s
        self._repeats_max = repeats_max

    def delay_s(self, origin: str, target: str, body_bytes: int) -> float | None:  # noqa: ARG002
        """See `Conditions`."""
        delay_s = max(0.0, self._delay_s + self._jitter_s * (2 * self._random.random() - 1))
        if self._rate:
            delay_s += body_bytes / self._rate
        for _ in range(self._repeats_max):
            if self._random.random() >= self._loss:
                return delay_s
            delay_s += self._repeat_s
        return None
