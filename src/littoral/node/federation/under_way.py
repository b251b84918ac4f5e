"""The requests of one read that are on their way: who has answered, and who is so slow that another is to be asked."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence

from littoral.clock import Clock
from littoral.node.federation.links import Links
from littoral.node.federation.messages import Part, PartTold
from littoral.node.federation.patience import Patience
from littoral.node.federation.taking import is_whole
from littoral.vectors import frames

__all__ = ["Asks"]

LEFT_S_MIN = 0.001

AskNode = Callable[[str, Sequence[Part], float], Coroutine[None, None, list[PartTold]]]


class Asks:
    """Of one read. ask: a node for these parts, within seconds; one that does not answer has failed at every shard.

    here: this node. alive: who may be asked. apart: one answer a shard, not one a node.
    """

    def __init__(
        self,
        ask: AskNode,
        request: frames.Read,
        deadline_s: float,
        *,
        here: str,
        alive: Callable[[], frozenset[str]],
        links: Links,
        clock: Clock,
        patience: Patience,
        apart: bool,
    ) -> None:
        self._ask = ask
        self._request = request
        self._here = here
        self._alive = alive
        self._links = links
        self._clock = clock
        self._patience = patience
        self._apart = apart
        self._end = clock.monotonic() + deadline_s
        self._ended: list[asyncio.Task[list[PartTold]]] = []
        self._moved: asyncio.Future[None] | None = None
        self._is_news = False
        self._asks_beside = False
        self.running: dict[asyncio.Task[list[PartTold]], tuple[str, list[int], float]] = {}

    def alive(self) -> frozenset[str]:
        """Who may be asked: nobody else when no answer would be waited for."""
        return frozenset() if self._patience.is_over else self._alive()

    def start(self, asks: Mapping[str, list[int]]) -> None:
        """Shards of this node one by one: that one of them hangs holds up none of the others."""
        self._asks_beside = self._asks_beside or bool(asks and self.running)
        for node, shards in asks.items():
            if node == self._here:
                for shard in shards:
                    self._start(node, [shard], self._end)
            else:
                self._patience.begin()
                self._start(node, shards, min(self._end, self._patience.end_s))

    def _start(self, node: str, shards: list[int], end: float) -> None:
        now = self._clock.monotonic()
        left_s = max(LEFT_S_MIN, end - now)
        groups = [[shard] for shard in shards] if self._apart else [shards]
        parts = [Part(group, self._request) for group in groups]
        task = asyncio.create_task(self._ask(node, parts, left_s), name=f"littoral-ask-{node}")
        # Another replica that is asked instead must have time to answer, however slow this node usually is.
        self.running[task] = (node, shards, now + min(self._links.hedge_s(node), left_s / 2))
        task.add_done_callback(self._note)

    async def next(self, slow: Callable[[str], None]) -> list[tuple[str, list[int], list[PartTold]]]:
        """Who has answered: all, or some where another may be asked beside one that is slow, or instead of one that
        did not answer for all it was asked for. While nobody else is to be asked, answers wait for each other.
        """
        if not self._is_news:
            await self._move()
        done, self._ended, self._is_news = self._ended, [], False
        self._mark_slow(slow)
        return [(node, shards, task.result()) for task in done for node, shards, _ in [self.running.pop(task)]]

    async def _move(self) -> None:
        """Until one has ended, or is slow, or the time is over. `asyncio.wait` does this too, at thrice the price."""
        now = self._clock.monotonic()
        due = min((at for _, _, at in self.running.values() if at > now), default=self._end)
        loop = asyncio.get_running_loop()
        moved = self._moved = loop.create_future()
        timer = loop.call_later(max(0.0, min(due, self._end) - now), _settle, moved)
        try:
            await moved
        finally:
            timer.cancel()
            self._moved = None

    def _note(self, task: asyncio.Task[list[PartTold]]) -> None:
        if task.cancelled():
            return
        self._ended.append(task)
        self._is_news = (
            self._is_news
            or self._asks_beside
            or len(self._ended) == len(self.running)
            or task.exception() is not None
            or not all(map(is_whole, task.result()))
        )
        if self._is_news and self._moved is not None:
            _settle(self._moved)

    def _mark_slow(self, slow: Callable[[str], None]) -> None:
        now = self._clock.monotonic()
        for task, (node, _, at) in self.running.items():
            if at <= now and not task.done():
                slow(node)
                self._links.was_silent(node)

    @property
    def is_over(self) -> bool:
        return self._clock.monotonic() >= self._end

    def cancel(self) -> None:
        for task in self.running:
            task.cancel()


def _settle(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)
