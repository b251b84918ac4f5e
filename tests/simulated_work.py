"""Nodes whose steps take simulated time: the real scheduler, asker and service over the network in one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random

import numpy as np

from littoral.clock import Clock
from littoral.node.placement.asker import Asker, MovableStep
from littoral.node.placement.power import PowerMeter
from littoral.node.placement.service import StepService
from littoral.node.placement.workplace import Workplace, model_key
from littoral.node.placement_tables import PlacementTable, PowerTable
from littoral.node.residency import parse_residency, parse_wish
from littoral.runtime.edges import TensorsType, Value
from littoral.runtime.step import How
from littoral.steps.offer import Offer
from littoral.tensors import TensorSpec
from littoral.transport import Transport
from littoral.transport.fake import Network

KEY = model_key("ab" * 32)
GIVES = TensorsType((TensorSpec("y", "float32", (1, 4)),))
PIXELS = {"pixels": np.zeros((1, 64, 64, 3), np.uint8)}
SHARE_OF_THE_LATEST = 0.1

Service = Callable[[float], float]
"""Seconds that a step takes which begins at a time."""


class SimulatedWork(Workplace):
    """One step, `slots` at a time, in the order in which they come."""

    def __init__(self, service_s: Service, clock: Clock, *, slots: int = 1) -> None:
        super().__init__({}, {}, {}, 2)
        self._service_s = service_s
        self._clock = clock
        self._slots = slots
        self._turn = asyncio.Semaphore(slots)
        self.busy = self.waiting = self.runs = 0
        self._mean_s = self._spent_s = 0.0

    def backlog_s(self, now_s: float) -> float:
        """What an oracle knows: until a step that comes now would be done."""
        service_s = self._service_s(now_s)
        beyond = max(0, self.busy + self.waiting - self._slots + 1)
        return service_s + beyond * service_s / self._slots

    def offers(self) -> dict[str, Offer]:
        return {KEY: Offer(self.waiting, self.busy, self._slots, self._mean_s)}

    def offer(self, key: str) -> Offer | None:
        return self.offers().get(key)

    def worked_s(self) -> float:
        return self._spent_s

    async def run(self, key: str, value: Value, take: Sequence[str]) -> Value:  # noqa: ARG002
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        self.busy += 1
        try:
            took_s = self._service_s(self._clock.monotonic())
            await asyncio.sleep(took_s)
        finally:
            self.busy -= 1
            self._turn.release()
        self.runs += 1
        self._spent_s += took_s
        self._mean_s += (took_s - self._mean_s) * max(SHARE_OF_THE_LATEST, 1 / self.runs)
        return {"y": np.full((1, 4), 7, np.float32)}


class Member:
    """One node as `Asker` and `StepService` see it. outside: names of nodes that are not of the site."""

    def __init__(self, transport: Transport, regions: Mapping[str, str], outside: Sequence[str] = ()) -> None:
        self.transport = transport
        self._regions = regions
        self._outside = outside

    @property
    def name(self) -> str:
        return self.transport.name

    def roster(self) -> Mapping[str, str]:
        return {name: region for name, region in self._regions.items() if name not in self._outside}


class PlacedMember:
    """work: of this node. asker: of its steps."""

    def __init__(self, member: Member, work: SimulatedWork, asker: Asker, service: StepService) -> None:
        self.member = member
        self.work = work
        self.asker = asker
        self.service = service

    async def ask(self, *, place: str = "auto", residency: str = "site") -> tuple[Value, How]:
        """One step of a pipeline of this node."""
        how = How(node=self.member.name)
        bounds = (parse_residency(residency),)
        step = MovableStep("m", KEY, parse_wish(place), bounds, ("y",), {"pixels": "uint8"}, GIVES)
        return await self.asker.run(step, PIXELS, lambda: self.work.run(KEY, PIXELS, ["y"]), how), how


@contextlib.asynccontextmanager
async def placed_members(
    services: Mapping[str, Service],
    network: Network,
    clock: Clock,
    *,
    tables: Mapping[str, PlacementTable] | None = None,
    regions: Mapping[str, str] | None = None,
    outside: str | None = None,
    slots: int = 1,
    seed: int = 1,
) -> AsyncIterator[dict[str, PlacedMember]]:
    """services: by node; each knows the loads of the others. outside: the orchestrator's node."""
    regions = dict.fromkeys(services, "") | dict(regions or {})
    found = {}
    async with contextlib.AsyncExitStack() as opened:
        for name, service_s in services.items():
            table = (tables or {}).get(name, PlacementTable())
            member = Member(network.join(name), regions, [outside] if outside is not None and name != outside else [])
            work = SimulatedWork(service_s, clock, slots=slots)
            power = PowerMeter(table.power, work.worked_s, clock)
            service = StepService(work, table, power, member.roster, boot=name, clock=clock)
            asker = Asker(
                member,
                work,
                table,
                outside=() if outside is None or name == outside else (outside,),
                is_spent=power.is_spent,
                clock=clock,
                rng=Random(f"{seed} {name}"),
            )
            await service.open(member.transport)
            opened.push_async_callback(asker.close)
            found[name] = PlacedMember(member, work, asker, service)
        await asyncio.sleep(0.01)
        for one in found.values():
            await one.asker.open()
            await one.asker.informed()
        yield found


def budget(watts: float) -> PlacementTable:
    """A table whose power budget is this; a core at work draws 5 W."""
    return PlacementTable(power=PowerTable(watts=watts, idle_watts=2, core_watts=5))
