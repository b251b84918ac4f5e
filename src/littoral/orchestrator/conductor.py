"""What goes on by itself: rollouts take their next step, and what nodes are to run is signed and told.

First the rows say it, then the director signs it, then the node hears of it. Whatever was interrupted is done from the
rows: a node whose row is ahead of what the director has signed is signed for.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from littoral.errors import LittoralError
from littoral.orchestrator import rollouts
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.rollouts import NodeView, Step
from littoral.orchestrator.signing import Signing
from littoral.orchestrator.store import Put
from littoral.orchestrator.store.rows import GroupRow, NodeRow, RolloutRow
from littoral.orchestrator.telling import Telling

__all__ = ["Conductor", "joining", "view_of", "views_of"]

TICK_S = 1.0
BATCH_COUNT_MAX = 64
AGAIN_S = 10.0
REFRESH_S = 600.0

_A = TypeVar("_A")
_T = TypeVar("_T")

_log = logging.getLogger("littoral.orchestrator")


class Conductor:
    """Of one orchestrator, for one event loop. untold: nodes that could not be told, and why."""

    def __init__(self, fleet: Fleet, signing: Signing, telling: Telling) -> None:
        self.fleet = fleet
        self.untold: dict[str, str] = {}
        self.failures = 0
        self._signing = signing
        self._telling = telling
        self._again_at_s: dict[str, float] = {}
        self._refresh_at_s = 0.0

    @contextlib.asynccontextmanager
    async def conducting(self) -> AsyncIterator[None]:
        """Until the block ends."""
        told = await asyncio.to_thread(self._told, list(self.fleet.nodes))
        for node, deployment in told.items():
            self._telling.publish(node, deployment)
        task = asyncio.create_task(self._run(), name="littoral-conductor")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def turn(self) -> None:
        """Every rollout that is followed takes its step; then whoever is to be told is."""
        async with self.fleet.changing:
            views = views_of(self.fleet)
            for rollout in list(self.fleet.rollouts.values()):
                members = self.fleet.members[rollout.id]
                if not rollouts.is_followed(rollout, members):
                    continue
                group = self.fleet.groups.get(rollout.plan.group)
                found = rollouts.step(rollout, members, views, group, self.fleet.clock.wall())
                if found.rows:
                    await self.take(rollout, found)
                    views = views_of(self.fleet)
        await self._tell()

    async def take(self, rollout: RolloutRow, found: Step) -> None:
        """What a step changed, with what happened, in one transaction."""
        events = [
            self.fleet.event("rollout", rollout.id, **({"what": what} | detail)) for what, detail in found.happened
        ]
        await self.fleet.write(*(Put(row) for row in found.rows), *events)
        if not events:
            self.fleet.events.tell("rollout", {"on": rollout.id})

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self.fleet.woken.wait()
            self.fleet.woken.clear()
            try:
                await self.turn()
                await self._refresh()
            except LittoralError as error:
                self.failures += 1
                _log.error("%s; tried again", error)
                await asyncio.sleep(TICK_S)

    async def _tell(self) -> None:
        """Signs for nodes whose rows are ahead, and lets them hear of it."""
        while behind := self._behind():
            batch = behind[:BATCH_COUNT_MAX]
            for name, error in (await _whole(self._signing.tell, batch)).items():
                self._after(self.fleet.nodes.get(name), {node.name: node for node in batch}[name], error)

    def _after(self, now: NodeRow | None, told: NodeRow, error: LittoralError | None) -> None:
        if error is not None:
            if self.untold.get(told.name) != str(error):
                _log.error("node `%s` is not told deployment %d: %s", told.name, told.deployment, error)
            self.untold[told.name] = str(error)
            self._again_at_s[told.name] = self.fleet.clock.monotonic() + AGAIN_S
            return
        self.untold.pop(told.name, None)
        self._again_at_s.pop(told.name, None)
        if now is not None:
            self._telling.publish(told.name, told.deployment)

    def _behind(self) -> list[NodeRow]:
        now_s = self.fleet.clock.monotonic()
        return [
            node
            for node in self.fleet.nodes.values()
            if node.deployment > self._telling.published(node.name) and self._again_at_s.get(node.name, 0.0) <= now_s
        ]

    async def _refresh(self) -> None:
        """Metadata that is signed by online keys, before it expires."""
        if self.fleet.clock.monotonic() < self._refresh_at_s:
            return
        self._refresh_at_s = self.fleet.clock.monotonic() + REFRESH_S
        await _whole(self._refresh_all, [*self.fleet.nodes])

    def _refresh_all(self, nodes: Iterable[str]) -> None:
        self._signing.image.refresh()
        for node in nodes:
            if self._telling.published(node):
                self._signing.director.refresh(node)

    def _told(self, nodes: Iterable[str]) -> dict[str, int]:
        return {node: self._signing.told(node) for node in nodes}


async def _whole(work: Callable[[_A], _T], of: _A) -> _T:
    """In a thread. Cancelled, it ends what was begun first: whoever opens this fleet next writes the same files."""
    task = asyncio.ensure_future(asyncio.to_thread(work, of))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def views_of(fleet: Fleet) -> dict[str, NodeView]:
    """Of all nodes, now."""
    return {name: view_of(fleet, node) for name, node in fleet.nodes.items()}


def view_of(fleet: Fleet, node: NodeRow, group: GroupRow | None = None) -> NodeView:
    """group: None = the one that it is in."""
    since_s = fleet.online_since_s(node.name)
    return NodeView(node, group or fleet.group_of(node), fleet.checkin_of(node.name), since_s)


def joining(fleet: Fleet, node: NodeRow) -> NodeRow:
    """The node's row as its group wants it: told what the group runs, unless it is told that already."""
    group = fleet.group_of(node)
    if group is None or (node.assigned == group.assigned and node.is_frozen == group.is_frozen):
        return node
    return rollouts.told(view_of(fleet, node, group), group.assigned)
