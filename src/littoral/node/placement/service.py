"""Answers other nodes: what this one could run, and steps of theirs, through the same pools as its own requests."""

from collections import Counter
from collections.abc import Callable, Mapping

from littoral.clock import Clock
from littoral.errors import ForbiddenError, LittoralError, UnavailableError
from littoral.node.placement.power import PowerMeter
from littoral.node.placement.workplace import Workplace
from littoral.node.placement_tables import PlacementTable
from littoral.runtime.call import Call, Waits, calling
from littoral.steps.messages import LOADS, STEP, decode_step, encode_loads, encode_told
from littoral.steps.offer import Offer
from littoral.transport import Transport

__all__ = ["StepService"]

QUEUE_SHARE = 2
"""Steps of others at a time: twice as many as they may keep at work."""
RETRY_S = 0.05


class StepService:
    """members: names that may ask over the mesh. boot: another one after each start of the node."""

    def __init__(
        self,
        workplace: Workplace,
        table: PlacementTable,
        power: PowerMeter,
        members: Callable[[], Mapping[str, str]],
        *,
        boot: str,
        clock: Clock,
    ) -> None:
        self._workplace = workplace
        self._table = table
        self._power = power
        self._members = members
        self._boot = boot
        self._clock = clock
        self._busy_max = max(1, int(table.share * workplace.threads)) * QUEUE_SHARE
        self.busy = 0
        self.served: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def open(self, transport: Transport) -> None:
        """From now on others are answered."""
        await transport.serve(LOADS, self._tell_loads)
        await transport.serve(STEP, self._run)

    async def _tell_loads(self, caller: str, _body: bytes) -> bytes:
        self._check(caller)
        return self.loads()

    def loads(self, bytes_max: int | None = None) -> bytes:
        """What this node could run now, for somebody who may know. bytes_max: of a frame."""
        power = self._power
        return encode_loads(
            self._boot,
            self._offers(),
            spent=power.is_spent(),
            watts=power.watts(),
            watts_max=power.watts_max,
            bytes_max=bytes_max,
        )

    def _offers(self) -> dict[str, Offer]:
        if not self._table.serves:
            return {}
        return {key: self._own(offer) for key, offer in self._workplace.offers().items()}

    def _own(self, offer: Offer) -> Offer:
        """As much of it as others may have."""
        slots = max(1, int(self._table.share * offer.slots))
        return offer._replace(slots=slots, busy=min(offer.busy, slots))

    async def _run(self, caller: str, body: bytes) -> bytes:
        arrived_s = self._clock.monotonic()
        self._check(caller)
        return await self.run(caller, body, arrived_s)

    async def run(self, caller: str, body: bytes, arrived_s: float, *, node: str = "") -> bytes:
        """One step of somebody who may ask. arrived_s: when the request came. node: says in the answer who did it.

        Raises InputError, TooLargeError for a frame that is none, UnavailableError, and as `Workplace.run`.
        """
        ask, value = decode_step(body, caller)
        self._admit()
        waits = Waits()
        self.busy += 1
        try:
            with calling(Call(arrived_s + ask.left_s, ask.priority, waits)):
                result = await self._workplace.run(ask.key, value, ask.take)
        except UnavailableError:
            self.refused["busy"] += 1
            raise
        except LittoralError:
            self.refused["failed"] += 1
            raise
        finally:
            self.busy -= 1
        self.served[caller] += 1
        offer = self._workplace.offer(ask.key) or Offer(0, 0, 1, 0.0)
        return encode_told(
            result,
            self._workplace.dtypes(ask.key),
            inside_s=self._clock.monotonic() - arrived_s,
            waited_s=waits.seconds,
            offer=self._own(offer),
            spent=self._power.is_spent(),
            node=node,
        )

    def _check(self, caller: str) -> None:
        if caller not in self._members():
            self.refused["stranger"] += 1
            raise ForbiddenError(f"node `{caller}` is no member of this site")

    def _admit(self) -> None:
        """Raises UnavailableError; the caller goes elsewhere at once."""
        if not self._table.serves:
            self.refused["closed"] += 1
            raise UnavailableError("this node runs no steps of others", retry_after_s=60.0)
        if self._power.is_spent():
            self.refused["power"] += 1
            raise UnavailableError("the power budget of this node is spent", retry_after_s=1.0)
        if self.busy >= self._busy_max:
            self.refused["busy"] += 1
            raise UnavailableError(f"{self.busy} steps of others run here", retry_after_s=RETRY_S)
