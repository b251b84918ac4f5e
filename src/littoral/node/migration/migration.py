"""One collection on its way to another model: built beside requests, checked, flipped, kept for the way back, dropped.

A task of its own does all of it, one thing after the other. What goes wrong is told and tried again; until the flip
everything is answered as before.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple

from littoral.clock import Clock
from littoral.errors import ConflictError, LittoralError, NotFoundError
from littoral.node.migration.checking import Checked, check, too_bad
from littoral.node.migration.failing import Failing
from littoral.node.migration.lasting import Lasting
from littoral.node.migration.pair import Pair
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.records import PointId

__all__ = ["Embeddings", "Migration", "Progress", "State", "Told"]

State = Literal["building", "checking", "flipping", "flipped", "stuck"]

SAMPLE_POINTS = 64
FEW = 32
"""Points that may wait to be carried over when writes are held for the flip; more if they do not become fewer."""

ROUNDS_MAX = 256
HELD_MAX = 1000

LOOK_S = 1.0
PAUSE_FIRST_S = 1.0
PAUSE_MAX_S = 60.0
Flip = Callable[[], Awaitable[None]]


class Embeddings(dict[str, ModelVersion]):
    """The models of some vectors, by their names."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={model}" if name else str(model) for name, model in self.items())

    def are_same(self, others: Mapping[str, ModelVersion]) -> bool:
        """The same vectors of the same models."""
        return self.keys() == others.keys() and all(model.is_same(others[name]) for name, model in self.items())


@dataclass
class Progress:
    """current: whose embeddings answer; other: those of the other generation. state: `flipped` = the new one answers,
    and the one before is kept; `flipping` = nodes change over, one after the other. points: of the collection when both
    were last compared; done: compared since then. why: the last thing that went wrong. flip_ms: that writes waited for
    the flip. is_whole: the other one has every point.
    """

    current: Embeddings
    other: Embeddings
    state: State = "building"
    points: int = 0
    done: int = 0
    embedded: int = 0
    why: str = ""
    checked: Checked | None = None
    flip_ms: float = 0.0
    is_whole: bool = False
    refused: dict[PointId, str] = field(default_factory=dict)


class Told(NamedTuple):
    """behind: points that are to be carried over. refused: points that cannot be."""

    progress: Progress
    behind: int
    refused: int


class Migration:
    """flip: exchanges the generations; everything that writes waits meanwhile. drop: ends the other one.

    points_per_s: embedded in the background, at most. kept_since: Unix time of the flip, 0 while it is being built.
    lasting: since the flip.
    is_there: false once the collection is gone.
    """

    def __init__(
        self,
        pair: Pair,
        progress: Progress,
        *,
        flip: Flip,
        drop: Flip,
        points_per_s: float,
        keep_s: float,
        kept_since: float,
        lasting: Lasting,
        is_there: Callable[[], bool],
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self.pair = pair
        self.progress = progress
        self._flip = flip
        self._drop = drop
        self._points_per_s = points_per_s
        self._keep_s = keep_s
        self._is_there = is_there
        self._kept_since = kept_since
        self._lasting = lasting
        self._clock = clock
        self._say = say
        self._sample: list[PointId] = []
        self._seen = 0
        self._failing = Failing(clock)
        self._back: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._rng = Random(pair.current.collection.name)  # noqa: S311 (a sample)
        if kept_since:
            progress.state = "flipped"

    @property
    def name(self) -> str:
        return self.pair.current.collection.name

    @property
    def is_there(self) -> bool:
        """False once the collection was deleted."""
        return self._is_there()

    @property
    def told(self) -> Told:
        """How far it is."""
        return Told(self.progress, self.pair.behind, len(self.pair.refused))

    def start(self) -> None:
        """From now on writes go to both, and the task runs."""
        self.pair.take_writes()
        self._task = asyncio.create_task(self._run(), name=f"littoral-migration-{self.name}")

    async def stop(self) -> None:
        """The task ends; both generations stay as they are."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._kept_since and self._is_there():
            self._lasting.note()
        self.pair.leave()

    async def back(self) -> None:
        """The generation before answers again; the new one is kept up to date in its place.

        Raises ConflictError before the flip, and what keeps it from flipping.
        """
        if self.progress.state != "flipped":
            raise ConflictError(
                f"collection `{self.name}` is not flipped yet, it is {self.progress.state}",
                hint="`--drop` ends the migration",
            )
        if self._back is None or self._back.done():
            self._back = asyncio.get_running_loop().create_future()
            self.pair.work.set()
        await asyncio.shield(self._back)

    async def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                if await self._is_over():
                    return
                pause_s = PAUSE_FIRST_S
                self._failing.ended()
            except Exception as error:  # noqa: BLE001 (the task's outermost boundary: told, and tried again)
                if not self._is_there():
                    self._end_back(NotFoundError(f"collection `{self.name}` is gone"))
                    return
                self._failed(error)
                self._end_back(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _is_over(self) -> bool:
        """One round: compare both where that is to be done, then what was written; then a flip, if it is time."""
        if self.pair.needs_scan:
            await self._scan()
        await self._catch_up()
        if self.pair.needs_scan:
            return False
        self._check_refused()
        self.progress.is_whole = True
        if self._back is not None and not self._back.done():
            if await self._change_places():
                self._back.set_result(None)
        elif not self._kept_since:
            await self._try_flip()
        elif self._lasting.seconds >= self._keep_s:
            await _whole(self._drop())
            self._lasting.forget()
            return True
        else:
            self.progress.state = "flipped"
            await self._wait_for_work()
        return False

    async def _scan(self) -> None:
        progress, self._seen = self.progress, 0
        progress.is_whole = False
        if not self._kept_since:
            progress.state = "building"
        progress.points, progress.done = await self.pair.current.collection.count(), 0
        began = self._clock.monotonic()
        async for compared, embedded in self.pair.scan():
            progress.done += compared
            progress.embedded += embedded
            await self._pace(began, embedded)
            began = self._clock.monotonic()
            await self.pair.sync()

    async def _pace(self, began: float, count: int) -> None:
        wait_s = count / self._points_per_s - (self._clock.monotonic() - began)
        await asyncio.sleep(max(0.0, wait_s))

    async def _catch_up(self) -> None:
        """Until few points are left, or writes come as fast as they are carried over."""
        for _ in range(ROUNDS_MAX):
            self.progress.embedded += await self.pair.sync()
            if self.pair.behind <= FEW:
                return

    async def _carry_all(self) -> None:
        """While writes wait. Raises ConflictError where that would be for too long."""
        if self.pair.behind > HELD_MAX:
            raise ConflictError(
                f"collection `{self.name}`: writes come faster than they can be embedded for the other generation, "
                f"{self.pair.behind} points wait",
                hint="write slower for a while, or give the model more `instances`",
            )
        while self.pair.behind:
            self.progress.embedded += await self.pair.sync()

    def _check_refused(self) -> None:
        """Raises ConflictError where a point is not in the other generation, since it cannot be embedded."""
        self.progress.refused = dict(self.pair.refused)
        if not self.pair.refused or self._kept_since:
            return
        point, why = next(iter(self.pair.refused.items()))
        self.pair.needs_scan = True
        raise ConflictError(
            f"collection `{self.name}`: {len(self.pair.refused)} points cannot be embedded by `{self.progress.other}`, "
            f"such as `{point}`: {why}",
            hint="write them anew, or delete them: the migration goes on by itself",
        )

    async def _try_flip(self) -> None:
        self.progress.state = "checking"
        self.progress.checked = checked = await check(self.pair.other, await self._sampled())
        if not checked.is_good:
            self.pair.needs_scan = True
            raise too_bad(self.name, checked, self.progress.other)
        await self._change_places()

    async def _sampled(self) -> list[PointId]:
        """Some points, by lot: pages are looked at from ids that stand anywhere among them."""
        collection = self.pair.current.collection
        records, offset = await collection.scroll(limit=1000, with_payload=False)
        ids, seen = [record.id for record in records], len(records)
        while offset is not None:
            records, offset = await collection.scroll(limit=1000, offset=offset, with_payload=False)
            for record in records:
                seen += 1
                if (at := self._rng.randrange(seen)) < 1000:
                    ids[at] = record.id
        return self._rng.sample(ids, min(SAMPLE_POINTS, len(ids)))

    async def _change_places(self) -> bool:
        """While no write is under way, and nothing is left to be carried over; false if there was too much of that."""
        await self._catch_up()
        began = self._clock.monotonic()
        async with self.pair.gate.alone():
            if self.pair.needs_scan:
                return False
            await self._carry_all()
            self._check_refused()
            await self._check_counts()
            await self._flip()
        progress = self.progress
        progress.flip_ms = (self._clock.monotonic() - began) * 1000
        progress.current, progress.other = progress.other, progress.current
        progress.state, progress.why = "flipped", ""
        self._kept_since = self._clock.wall()
        self._lasting.begin()
        self._say(
            f"collection `{self.name}`: `{progress.current}` answers, writes waited {progress.flip_ms:.0f} ms; "
            f"`{progress.other}` is kept for the way back"
        )
        return True

    async def _check_counts(self) -> None:
        ours, theirs = await self.pair.current.collection.count(), await self.pair.other.collection.count()
        if ours != theirs:
            self.pair.needs_scan = True
            raise ConflictError(f"collection `{self.name}`: {ours} points, its other generation has {theirs}")

    async def _wait_for_work(self) -> None:
        self.pair.work.clear()
        if self.pair.behind or (self._back is not None and not self._back.done()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self.pair.work.wait()

    def _failed(self, error: Exception) -> None:
        """It is stuck where somebody has to do something about it, and where what passes by itself does not."""
        why = str(error) if isinstance(error, LittoralError) else repr(error)
        if why != self.progress.why:
            self._say(f"collection `{self.name}`: {why}")
        self.progress.why = why
        if self._failing.is_stuck(error) and not self._kept_since:
            self.progress.state = "stuck"

    def _end_back(self, error: Exception) -> None:
        if self._back is not None and not self._back.done():
            self._back.set_exception(error)


async def _whole(step: Awaitable[None]) -> None:
    """A step that goes to its end also when its task is cancelled, which is cancelled after it."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
