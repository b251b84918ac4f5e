"""What operators want of a node: asked at its next check-in, answered when it has it; bounded, and forgotten."""

import secrets

import msgspec

from littoral.errors import NotFoundError, QuotaError
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.store import Add, Put, Trim
from littoral.orchestrator.store.rows import AskRow
from littoral.updates.wire import Answered, Ask

__all__ = ["Asks"]

WAITING_COUNT_MAX = 16
KEPT_COUNT_MAX = 1000


class Asks:
    """Of one orchestrator. Those that wait are in memory too."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._waiting: dict[str, dict[str, AskRow]] = {}
        self._number = 0

    async def load(self) -> None:
        """What waits since before."""
        rows = await self._fleet.reading(lambda store: store.rows(AskRow, newest=KEPT_COUNT_MAX))
        for row in reversed(rows):
            self._number = max(self._number, row.number)
            if row.state == "waiting":
                self._waiting.setdefault(row.node, {})[row.id] = row

    def of(self, node: str) -> tuple[Ask, ...]:
        """That it has not answered."""
        waiting = self._waiting.get(node)
        return tuple(Ask(id=row.id, kind=row.kind, lines=row.lines) for row in waiting.values()) if waiting else ()

    async def ask(self, node: str, asked: Ask, by: str) -> AskRow:
        """Raises QuotaError where it has many to answer already."""
        waiting = self._waiting.setdefault(node, {})
        if len(waiting) >= WAITING_COUNT_MAX:
            raise QuotaError(f"node `{node}` has {len(waiting)} questions to answer, which is the most")
        self._number += 1
        row = AskRow(
            id=secrets.token_hex(8),
            number=self._number,
            node=node,
            kind=asked.kind,
            lines=asked.lines,
            at_s=self._fleet.clock.wall(),
            by=by,
        )
        event = self._fleet.event("ask", node, what=asked.kind, id=row.id, by=by)
        await self._fleet.write(Add(row), Trim(AskRow, KEPT_COUNT_MAX), event)
        waiting[row.id] = row
        return row

    async def answer(self, node: str, ask: str, answered: Answered) -> None:
        """Raises NotFoundError for what this node was not asked, or has answered."""
        row = self._waiting.get(node, {}).get(ask)
        if row is None:
            raise NotFoundError(f"node `{node}` was not asked `{ask[:40]}`, or has answered")
        now_s = self._fleet.clock.wall()
        body = msgspec.json.encode(answered.body).decode()
        done = msgspec.structs.replace(
            row, state="answered", answered_at_s=now_s, problem=answered.problem, answer=body
        )
        await self._fleet.write(Put(done), self._fleet.event("ask", node, what="answered", id=row.id))
        self._waiting[node].pop(ask, None)

    async def find(self, node: str, ask: str) -> AskRow:
        """Raises NotFoundError."""
        row = await self._fleet.reading(lambda store: store.get(AskRow, id=ask))
        if row is None or row.node != node:
            raise NotFoundError(f"node `{node}` was not asked `{ask[:40]}`")
        return row

    def forget(self, node: str) -> None:
        """A node that is no more."""
        self._waiting.pop(node, None)
