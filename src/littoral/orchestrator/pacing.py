"""What nodes fetch, under caps that hold for many of them together: bytes go in turns, one node after the other.

A node has one place in the line, however many downloads it has open, so that each gets the same share of what its caps
leave; what one does not take is the others'. A cap lets `rate · seconds` bytes go, and a twentieth of a second's more.

Metadata has a line of its own. It goes before artifacts within its share, half of each cap and never less than a floor,
so that neither holds the other up: what is left over of either is the other's.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import NamedTuple

from littoral.clock import Clock
from littoral.errors import UnavailableError

__all__ = ["FLEET", "METADATA_ANSWERS_MAX", "METADATA_BYTES_PER_S_MIN", "Cap", "Download", "Pacer", "Traffic"]

FLEET = "fleet"
"""The cap of all nodes."""


TURN_BYTES_MIN, TURN_BYTES_MAX = 1 << 12, 1 << 18
TURNS_PER_S = 64
"""Of a cap, as long as a turn has not too few bytes."""

WAIT_S_MAX = 10.0
"""More downloads at a time than get a turn each in this time are refused: who waits longer gives up anyway."""

BURST_S = 0.05

METADATA_BYTES_PER_S_MIN = 1 << 14
"""Of metadata under a cap, however low that is: as much as twice of this is never capped."""

METADATA_ANSWERS_MAX = 8
"""Of a node at a time: it needs one."""

LANE_COUNT_MAX = 1024
SPAN_S = 5.0


class Cap(NamedTuple):
    """Of many nodes together. name: `FLEET`, `group/NAME` or `rollout/ID`. bytes_per_s_max: None: it only counts."""

    name: str
    bytes_per_s_max: int | None = None


class Traffic(NamedTuple):
    """Under a cap. downloads: open now. bytes_per_s: of artifacts and metadata. sent_bytes (of artifacts),
    metadata_bytes, waited_s: since this process began.
    """

    bytes_per_s_max: int | None = None
    downloads: int = 0
    sent_bytes: int = 0
    bytes_per_s: float = 0.0
    waited_s: float = 0.0
    metadata_bytes: int = 0


class Lane:
    """One cap, and what went under it."""

    def __init__(self, now_s: float) -> None:
        self.most: int | None = None
        self.downloads = 0
        self.metadata_answers = 0
        self.sent_bytes = 0
        self.metadata_bytes = 0
        self.waited_s = 0.0
        self.free_at_s = now_s
        self.metadata_at_s = now_s
        self._span_from_s = now_s
        self._span_bytes, self._before_bytes = 0, 0

    @property
    def turn_bytes(self) -> int:
        return _turn_bytes(self.most)

    @property
    def metadata_turn_bytes(self) -> int:
        return _turn_bytes(self._metadata_most)

    @property
    def downloads_max(self) -> float:
        return _taken_max(self.most)

    @property
    def metadata_answers_max(self) -> float:
        return _taken_max(self._metadata_most)

    def send(self, count: int, now_s: float) -> None:
        self.sent_bytes += count
        self._spend(count, now_s, self.most)

    def send_metadata(self, count: int, now_s: float, *, is_in_share: bool) -> None:
        """Under a cap of less than two floors artifacts lose no more than under one of two: half."""
        self.metadata_bytes += count
        self._spend(count, now_s, None if self.most is None else max(self.most, 2 * METADATA_BYTES_PER_S_MIN))
        if is_in_share and self._metadata_most is not None:
            self.metadata_at_s = max(self.metadata_at_s, now_s - BURST_S) + count / self._metadata_most

    @property
    def _metadata_most(self) -> int | None:
        return None if self.most is None else max(self.most // 2, METADATA_BYTES_PER_S_MIN)

    def _spend(self, count: int, now_s: float, most: int | None) -> None:
        self._roll(now_s)
        self._span_bytes += count
        if most is not None:
            self.free_at_s = max(self.free_at_s, now_s - BURST_S) + count / most

    def traffic(self, now_s: float) -> Traffic:
        self._roll(now_s)
        seconds = SPAN_S + now_s - self._span_from_s
        per_s = (self._before_bytes + self._span_bytes) / seconds
        return Traffic(self.most, self.downloads, self.sent_bytes, per_s, self.waited_s, self.metadata_bytes)

    def _roll(self, now_s: float) -> None:
        """The rate is over this span and the one before."""
        passed = int((now_s - self._span_from_s) // SPAN_S)
        if passed > 0:
            self._before_bytes = self._span_bytes if passed == 1 else 0
            self._span_bytes = 0
            self._span_from_s += passed * SPAN_S


def _turn_bytes(most: int | None) -> int:
    return TURN_BYTES_MAX if most is None else max(TURN_BYTES_MIN, min(TURN_BYTES_MAX, most // TURNS_PER_S))


def _taken_max(most: int | None) -> float:
    return float("inf") if most is None else max(1.0, most * WAIT_S_MAX / _turn_bytes(most))


class _Turn(NamedTuple):
    node: str
    byte_count: int
    lanes: Sequence[Lane]
    granted: "asyncio.Future[None]"

    def free_at_s(self) -> float:
        return max((lane.free_at_s for lane in self.lanes if lane.most is not None), default=0.0)

    def metadata_at_s(self) -> float:
        return max((lane.metadata_at_s for lane in self.lanes if lane.most is not None), default=0.0)


class _Line:
    """Turns that have not come, of one node after the other."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, deque[_Turn]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(turns) for turns in self._turns.values())

    def add(self, turn: _Turn) -> None:
        self._turns.setdefault(turn.node, deque()).append(turn)

    def take(self, at_s: Callable[[_Turn], float], now_s: float) -> _Turn | None:
        """The first that may go now; its node goes to the end of the line, or out of it."""
        node = next((node for node, turns in self._turns.items() if at_s(turns[0]) <= now_s), None)
        if node is None:
            return None
        turn = self._turns[node].popleft()
        if self._turns[node]:
            self._turns.move_to_end(node)
        else:
            del self._turns[node]
        return turn

    def leave(self, turn: _Turn) -> None:
        turns = self._turns.get(turn.node)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._turns[turn.node]

    def next_s(self, at_s: Callable[[_Turn], float]) -> float:
        """When one may go."""
        return min((at_s(turns[0]) for turns in self._turns.values()), default=float("inf"))


class Pacer:
    """For one event loop. caps_of: those that a node's downloads are under now; known: before anybody is under them.
    refused: downloads; refused_metadata: answers.
    """

    def __init__(self, clock: Clock, caps_of: Callable[[str], Sequence[Cap]], known: Sequence[Cap] = ()) -> None:
        self._clock = clock
        self.refused = 0
        self.refused_metadata = 0
        self._caps_of = caps_of
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._artifacts, self._metadata = _Line(), _Line()
        self._answers: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        for cap in known:
            self._lane(cap)

    @property
    def waiting_count(self) -> int:
        """Turns that have not come."""
        return len(self._artifacts) + len(self._metadata)

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

    def check_metadata(self, node: str) -> None:
        """As `check`, also for a node that has too many answers under way."""
        if self._answers[node] >= METADATA_ANSWERS_MAX:
            self.refused_metadata += 1
            raise UnavailableError(
                f"node `{node}` has {METADATA_ANSWERS_MAX} answers of metadata under way, which is the most",
                hint="ask again when one has ended",
                retry_after_s=1.0,
            )
        for lane in self.lanes_of(node):
            if lane.metadata_answers >= lane.metadata_answers_max:
                self.refused_metadata += 1
                raise UnavailableError(
                    f"{lane.metadata_answers} answers of metadata share what is theirs of {lane.most} bytes a second",
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

    @contextlib.contextmanager
    def answering(self, node: str) -> Iterator["Download"]:
        """As `downloading`, of metadata."""
        self._answers[node] += 1
        answer = Download(self, node, is_metadata=True)
        try:
            yield answer
        finally:
            answer.leave()
            self._answers[node] -= 1
            if not self._answers[node]:
                del self._answers[node]

    async def turn(self, node: str, count: int, lanes: Sequence[Lane], *, is_metadata: bool = False) -> None:
        """Returns when so many bytes may go to this node."""
        begun_s = self._clock.monotonic()
        turn = _Turn(node, count, lanes, asyncio.get_running_loop().create_future())
        line = self._metadata if is_metadata else self._artifacts
        line.add(turn)
        self._grant()
        try:
            await turn.granted
        finally:
            if not turn.granted.done() or turn.granted.cancelled():
                line.leave(turn)
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
        while (turn := self._next(now_s)) is not None:
            if not turn.granted.done():
                turn.granted.set_result(None)
        if self.waiting_count:
            waiting = (self._artifacts.next_s(_Turn.free_at_s), self._metadata.next_s(_Turn.free_at_s))
            next_s = min(*waiting, self._metadata.next_s(_Turn.metadata_at_s))
            self._timer = asyncio.get_running_loop().call_later(next_s - now_s, self._grant)

    def _next(self, now_s: float) -> _Turn | None:
        """Metadata within its share, artifacts, then metadata of what these leave."""
        if (turn := self._metadata.take(_Turn.metadata_at_s, now_s)) is not None:
            for lane in turn.lanes:
                lane.send_metadata(turn.byte_count, now_s, is_in_share=True)
        elif (turn := self._artifacts.take(_Turn.free_at_s, now_s)) is not None:
            for lane in turn.lanes:
                lane.send(turn.byte_count, now_s)
        elif (turn := self._metadata.take(_Turn.free_at_s, now_s)) is not None:
            for lane in turn.lanes:
                lane.send_metadata(turn.byte_count, now_s, is_in_share=False)
        return turn


class Download:
    """One, of a node; its caps are looked at anew before each part."""

    def __init__(self, pacer: Pacer, node: str, *, is_metadata: bool = False) -> None:
        self._pacer = pacer
        self._node = node
        self._is_metadata = is_metadata
        self._lanes: list[Lane] = []
        self._under(pacer.lanes_of(node))

    async def parts(self, data: bytes) -> AsyncGenerator[bytes, None]:
        """Of these bytes, each when its turn has come."""
        self._under(self._pacer.lanes_of(self._node))
        length = min(map(self._turn_bytes, self._lanes), default=len(data))
        for at in range(0, len(data), length):
            part = data[at : at + length]
            await self._pacer.turn(self._node, len(part), self._lanes, is_metadata=self._is_metadata)
            yield part

    def leave(self) -> None:
        self._under([])

    def _turn_bytes(self, lane: Lane) -> int:
        return lane.metadata_turn_bytes if self._is_metadata else lane.turn_bytes

    def _under(self, lanes: list[Lane]) -> None:
        count = "metadata_answers" if self._is_metadata else "downloads"
        for change, under in ((-1, self._lanes), (1, lanes)):
            for lane in under:
                setattr(lane, count, getattr(lane, count) + change)
        self._lanes = lanes
