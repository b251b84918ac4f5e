"""A network's conditions from a seed: delay, jitter, rate, loss, and messages that come twice."""

import random
from collections.abc import Sequence

__all__ = ["Weather"]


class Weather:
    """Conditions of `littoral.transport.fake.Network`; every pair of nodes has the same, but for nodes that are `slow`.

    delay_s one way, jitter_s uniform around it. rate: bytes a second of one direction of one pair, 0 = no bound.
    loss: the share of messages that a lower layer repeats after `repeat_s`; what was repeated `repeats_max` times
    in vain never arrives. twice: the share that arrives a second time, a while later. slow: by node, what every
    message to it and from it takes longer.
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
        twice: float = 0.0,
    ) -> None:
        self.loss = loss
        self.twice = twice
        self.slow: dict[str, float] = {}
        self._random = random.Random(seed)  # noqa: S311
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._rate = rate
        self._repeat_s = repeat_s
        self._repeats_max = repeats_max

    def arrivals_s(self, origin: str, target: str, body_bytes: int) -> Sequence[float]:
        """See `Conditions`."""
        delay_s = max(0.0, self._delay_s + self._jitter_s * (2 * self._random.random() - 1))
        if self._rate:
            delay_s += body_bytes / self._rate
        if self.slow:
            delay_s += self.slow.get(origin, 0.0) + self.slow.get(target, 0.0)
        if self.loss:
            if (lost_s := self._lost_s()) is None:
                return ()
            delay_s += lost_s
        if self.twice and self._random.random() < self.twice:
            return delay_s, delay_s + self._repeat_s * self._random.random()
        return (delay_s,)

    def _lost_s(self) -> float | None:
        """What repeating takes; None where it was in vain."""
        for count in range(self._repeats_max):
            if self._random.random() >= self.loss:
                return count * self._repeat_s
        return None
