"""One deadline for a request to a spread collection, however often its shards go to other places meanwhile."""

from types import SimpleNamespace

import pytest

from littoral.errors import UnavailableError
from littoral.node.federation.spread_shard import SpreadShard
from littoral.testing import SimulatedClock, run_simulated
from littoral.vectors import frames

DEADLINE_S = 3.0


def test_what_is_tried_again_has_the_rest_of_the_deadline() -> None:
    clock, number, deadlines_s = SimulatedClock(), iter(range(100)), list[float]()

    class Tried(SpreadShard):
        async def _settled(self, _whole: object, _request: frames.Request, deadline_s: float) -> frames.Answer:  # type: ignore[override]
            deadlines_s.append(deadline_s)
            clock.advance(1.4)
            raise UnavailableError("a shard went elsewhere")

    async def pull() -> None:
        return None

    async def main() -> None:
        asking = SimpleNamespace(clock=clock, here="a")
        shard = Tried(lambda: SimpleNamespace(map_number=next(number)), asking, None, pull, None)  # type: ignore[arg-type, return-value]
        with pytest.raises(UnavailableError, match="went elsewhere"):
            await shard.ask(frames.Count(call=0), DEADLINE_S)

    run_simulated(main, clock)
    assert deadlines_s == pytest.approx([3.0, 1.6, 0.2])
