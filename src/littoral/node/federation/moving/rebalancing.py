"""What gains most, done by itself."""

from collections.abc import Callable, Mapping

from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.mesh.shard_map import Spread
from littoral.node.federation.moving.changes import Changes
from littoral.node.federation.moving.moving import Moving
from littoral.node.federation.moving.wishes import Asked, Level

__all__ = ["Rebalancing"]

REBALANCE_S = 60.0


class Rebalancing:
    """As the writer of the map, where the site file says so (`is_on`): one change of a collection at a time."""

    def __init__(
        self, changes: Changes, moving: Moving, clock: Clock, say: Callable[[str], None], *, is_on: bool
    ) -> None:
        self._changes = changes
        self._moving = moving
        self._clock = clock
        self._say = say
        self._is_on = is_on
        self._at_s = clock.monotonic() + REBALANCE_S

    async def look(self, spreads: Mapping[str, Spread]) -> None:
        """Once a minute, however often it is called."""
        now_s = self._clock.monotonic()
        if not self._is_on or now_s < self._at_s:
            return
        self._at_s = now_s + REBALANCE_S
        for name, spread in spreads.items():
            if spread.change is not None or self._moving.owed.get(name):
                continue
            try:
                plan = await self._changes.ask(Asked(Level(name), is_applied=True))
            except LittoralError as error:
                self._say(f"mesh: `{name}` is not rebalanced: {error}")
                continue
            if plan.is_begun:
                self._say(f"mesh: `{name}` is rebalanced: {plan.why}")
