"""What nodes fetch, under caps that hold for many of them together: bytes go in turns, one node after the other.

A node has one place in the line, however many downloads it has open, so that each gets the same share of what its caps
leave; what one does not take is the others'. A cap lets `rate · seconds` bytes go, and a twentieth of a second's more.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import UnavailableError

__all__ = ["FLEET", "Cap", "Download", "Pacer", "Traffic"]

FLEET = "fleet"
"""The cap of all nodes."""


TURN_BYTES_MIN, TURN_BYTES_MAX = 1 << 12, 1 << 18
TURNS_PER_S = 64
"""Of a cap, as long as a turn has not too few bytes."""

WAIT_S_MAX = 10.0
"""More downloads at a time than get a turn each in this time are refused: who waits longer gives up anyway."""

BURST_S = 0.05
LANE_COUNT_MAX = 1024
SPAN_S = 5.0


class Cap(NamedTuple):
    """Of many nodes together. name: `FLEET`, `group/NAME` or `rollout/ID`. bytes_per_s_max: None: it only counts."""

    name: str
    bytes_per_s_max: int | None = None


class Traffic(NamedTuple):
    """Under a cap. downloads: open now. sent_bytes, waited_s: since this process began."""

    bytes_per_s_max: int | None = None
    downloads: int = 0
    sent_bytes: int = 0
    bytes_per_s: float = 0.0
    waited_s: float = 0.0


class Lane:
    """One cap, and what went under it."""

    def __init__(self, now_s: float) -> None:
        self.most: int | None = None
        self.downloads = 0
        self.sent_bytes = 0
        self.waited_s = 0.0
        self.free_at_s = now_s
        self._span_from_s = now_s
        self._span_bytes, self._before_bytes = 0, 0

    @property
    def turn_bytes(self) -> int:
        if self.most is None:
            return TURN_BYTES_MAX
        return max(TURN_BYTES_MIN, min(TURN_BYTES_MAX, self.most // TURNS_PER_S))

    @property
    def downloads_max(self) -> float:
        return float("inf") if self.most is None else max(1.0, self.most * WAIT_S_MAX / self.turn_bytes)

    def send(self, count: int, now_s: float) -> None:
        self._roll(now_s)
        self.sent_bytes += count
        self._span_bytes += count
        if self.most is not None:
            self.free_at_s = max(self.free_at_s, now_s - BURST_S) + count / self.most

    def traffic(self, now_s: float) -> Traffic:
        self._roll(now_s)
        seconds = SPAN_S + now_s - self._span_from_s
        per_s = (self._before_bytes + self._span_bytes) / seconds
        return Traffic(self.most, self.downloads, self.sent_bytes, per_s, self.waited_s)

    def _roll(self, now_s: float) -> None:
        """The rate is over this span and the one before."""
        passed = int((now_s - self._span_from_s) // SPAN_S)
        if passed > 0:
            self._before_bytes = self._span_bytes if passed == 1 else 0
            self._span_bytes = 0
            self._span_from_s += passed * SPAN_S


class _Turn(NamedTuple):
    byte_count: int
    lanes: Sequence[Lane]
    granted: "asyncio.Future[None]"

    def ready_at_s(self) -> float:
        return max((lane.free_at_s for lane in self.lanes if lane.most is not None), default=0.0)


class Pacer:
    """For one event loop. caps_of: those that a node's downloads are under now; known: before anybody is under them.
    refused: downloads.
    """

    def __init__(self, clock: Clock, caps_of: Callable[[str], Sequence[Cap]], known: Sequence[Cap] = ()) -> None:
        self._clock = clock
        self.refused = 0
        self._caps_of = caps_of
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._line: OrderedDict[str, deque[_Turn]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        for cap in known:
            self._lane(cap)

    @property
    def waiting_count(self) -> int:
        """Turns that have not come."""
        return sum(len(turns) for turns in self._line.values())

    def traffic(self, cap: str) -> Traffic:
        """Under the cap of this name."""
        lane = self._lanes.get(cap)
        return Traffic() if lane is None else lane.traffic(self._clock.monotonic())

    def check(self, node: str) -> None:
        """Raises UnavailableError where one download more would let all of them wait too long."""
        for lane in self.lanes_of(node):
            if lane.downloads >= lane.downloads_max:
                self.refused += 1
                raise UnavailableError(
                    f"{lane.downloads} downloads share {lane.most} bytes a second, which is the most",
                    hint="`download_bytes_per_s_max`, or `total_bytes_per_s_max` of the group or rollout",
                    retry_after_s=WAIT_S_MAX,
                )

    @contextlib.contextmanager
    def downloading(self, node: str) -> Iterator["Download"]:
        """Counted until the block ends."""
        download = Download(self, node)
        try:
            yield download
        finally:
            download.leave()

    async def turn(self, node: str, count: int, lanes: Sequence[Lane]) -> None:
        """Returns when so many bytes may go to this node."""
        begun_s = self._clock.monotonic()
        turn = _Turn(count, lanes, asyncio.get_running_loop().create_future())
        turns = self._line.setdefault(node, deque())
        turns.append(turn)
        self._grant()
        try:
            await turn.granted
        finally:
            if not turn.granted.done() or turn.granted.cancelled():
                self._leave(node, turn)
        waited_s = self._clock.monotonic() - begun_s
        for lane in lanes:
            lane.waited_s += waited_s

    def lanes_of(self, node: str) -> list[Lane]:
        """With what each is capped at by now."""
        return [self._lane(cap) for cap in self._caps_of(node)]

    def _lane(self, cap: Cap) -> Lane:
        lane = self._lanes.get(cap.name)
        if lane is None:
            self._forget_one()
            lane = self._lanes[cap.name] = Lane(self._clock.monotonic())
        lane.most = cap.bytes_per_s_max
        self._lanes.move_to_end(cap.name)
        return lane

    def _forget_one(self) -> None:
        if len(self._lanes) >= LANE_COUNT_MAX:
            idle = next((name for name, lane in self._lanes.items() if not lane.downloads), None)
            if idle is not None:
                del self._lanes[idle]

    def _grant(self) -> None:
        """To whoever may go now, in turn; then again when the next may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._clock.monotonic()
        while (node := self._next(now_s)) is not None:
            turn = self._line[node].popleft()
            for lane in turn.lanes:
                lane.send(turn.byte_count, now_s)
            self._behind(node)
            if not turn.granted.done():
                turn.granted.set_result(None)
        if self._line:
            wait_s = min(turns[0].ready_at_s() for turns in self._line.values()) - now_s
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._grant)

    def _next(self, now_s: float) -> str | None:
        """The first in the line whose caps leave something."""
        return next((node for node, turns in self._line.items() if turns[0].ready_at_s() <= now_s), None)

    def _behind(self, node: str) -> None:
        """It goes to the end of the line, or out of it."""
        if self._line[node]:
            self._line.move_to_end(node)
        else:
            del self._line[node]

    def _leave(self, node: str, turn: _Turn) -> None:
        turns = self._line.get(node)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._line[node]


class Download:
    """One, of a node; its caps are looked at anew before each part."""

    def __init__(self, pacer: Pacer, node: str) -> None:
        self._pacer = pacer
        self._node = node
        self._lanes: list[Lane] = []
        self._under(pacer.lanes_of(node))

    async def parts(self, data: bytes) -> AsyncGenerator[bytes, None]:
        """Of these bytes, each when its turn has come."""
        self._under(self._pacer.lanes_of(self._node))
        length = min(lane.turn_bytes for lane in self._lanes) if self._lanes else len(data)
        for at in range(0, len(data), length):
            part = data[at : at + length]
            await self._pacer.turn(self._node, len(part), self._lanes)
            yield part

    def leave(self) -> None:
        self._under([])

    def _under(self, lanes: list[Lane]) -> None:
        for lane in self._lanes:
            lane.downloads -= 1
        for lane in lanes:
            lane.downloads += 1
        self._lanes = lanes
