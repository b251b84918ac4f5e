"""From what a node was told to what it runs: does what the state machine says is due, one thing at a time.

What is told meanwhile, a newer deployment or an operator's way back, ends what is under way. Whatever happens, what
serves is what the active slot says: `_align` sees to it after every change.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import littoral
from littoral.clock import Clock
from littoral.errors import ConflictError, LittoralError, NodeError, PeerError, TooLargeError, TrustError
from littoral.node.config.hot import Hot
from littoral.node.site import Site
from littoral.node.updates.conditions import needs_later_release, opens_after_s
from littoral.node.updates.dashboards import check_boards
from littoral.node.updates.differences import Differences
from littoral.node.updates.folder import Local
from littoral.node.updates.hooks import ask_hook
from littoral.node.updates.mirroring import Lane, Mirror
from littoral.node.updates.site_files import SiteFiles
from littoral.node.updates.staging import GateTrippedError, Staging
from littoral.updates.deployment.gates import judge
from littoral.updates.deployment.machine import Back, Do, Event, Lost, Refused, Step, Told
from littoral.updates.deployment.plans import Item, Plan

if TYPE_CHECKING:
    from littoral.node.rebinding import Versions

__all__ = ["Fetch", "Installer"]

LOOK_S = 0.25
RETRY_S, RETRY_S_MAX = 1.0, 300.0
REST_S = 0.5
STEADY_S = 60.0
"""After which a process that lives says nothing against what it serves."""
MEMORY_SHARE = 0.5
"""Of the machine's free memory, which one instance of a new version may take where nothing else is said."""

_R = TypeVar("_R")


class Fetch(Protocol):
    """Brings the bytes of an item, verified, to a path. Blocks; raises PeerError, TrustError, OSError."""

    def __call__(self, item: Item, into: Path, have: list[Path], bytes_per_s_max: int | None) -> None: ...


class Counts(NamedTuple):
    """Since the start of the process. bytes: fetched, reused. ends: of deployments, by how they ended and the gate.
    refused: what was told or sent, by the error. mirrored: requests, compared and dropped."""

    bytes: Counter[str]
    refused: Counter[str]
    ends: Counter[tuple[str, str]]
    mirrored: Counter[str]


class Installer:
    """Of one node. restart: ends the node's process, which the supervisor starts again; None where nobody would."""

    def __init__(
        self,
        local: Local,
        hot: Hot,
        site: Site,
        fetch: Fetch,
        *,
        clock: Clock,
        say: Callable[[str], None],
        restart: Callable[[], None] | None,
        rng: random.Random,
    ) -> None:
        assert site.updates is not None
        self._table = site.updates
        self.local = local
        self.counts = Counts(Counter(), Counter(), Counter(), Counter())
        self._hot = hot
        self._node = hot.node
        self._fetch = fetch
        self._clock = clock
        self._say = say
        self._restart = restart
        self._rng = rng
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="littoral-updates")
        self._changed = asyncio.Event()
        self._before: tuple[Site, Versions] | None = None
        self._is_aligned = asyncio.Event()
        self._mirror: Mirror | None = None
        self._watched: list[Lane] = []
        self._watched_of: Plan | None = None
        self._retries = 0
        self._opened = local.deployments.running
        self._differences = Differences(site, hot.node)
        self._staging = Staging(site, hot, local.store, self._differences, clock)
        self._sites = SiteFiles(site, local.folder, local.disk, local.store)
        self.listeners: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        living = asyncio.create_task(self._live_for_long())
        try:
            while True:
                self._changed.clear()
                await self._until_changed(self._turn())
        finally:
            living.cancel()
            await self._stop_mirror()
            with contextlib.suppress(OSError):
                await self._on_disk(self.local.deployments.leave)
            self._disk.shutdown(wait=True)

    async def take(self, event: Told | Back) -> bool:
        """Whether it changes anything. Raises OSError for a disk that takes nothing."""
        is_changed = await self._take(event)
        self._is_aligned.clear()
        self._changed.set()
        return is_changed

    @property
    def mirror(self) -> Mirror | None:
        return self._mirror

    async def _until_changed(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (task, changed):
                one.cancel()
            for one in (task, changed):
                with contextlib.suppress(asyncio.CancelledError):
                    await one

    async def _turn(self) -> None:
        """One thing, and what follows from how it went."""
        try:
            await self._align()
        except (LittoralError, OSError) as error:
            await self._later(str(error))
            return
        due = self.local.deployments.due
        if due not in (Do.MIRROR, Do.FLIP, Do.WATCH):
            await self._stop_mirror()
        if due is Do.NOTHING:
            await self._drop_staged()
        try:
            await self._do(due)
            self._retries = 0
        except GateTrippedError as error:
            await self._serve_before()
            await self._take(Refused(error.gate, error.why))
        except (PeerError, OSError) as error:
            await self._later(str(error))
        except TrustError as error:
            if due is not Do.FETCH and due is not Do.VERIFY:
                await self._take(Refused("load", str(error)))
            else:
                self.counts.refused[type(error).__name__] += 1
                await self._later(str(error))
        except TooLargeError as error:
            await self._take(Refused("space", str(error)))
        except LittoralError as error:
            gate = "load" if due in (Do.WARM, Do.FLIP, Do.WATCH) else "verify"
            await self._take(Refused(gate, str(error)))

    async def _do(self, due: Do) -> None:
        match due:
            case Do.FETCH:
                await self._fetch_all()
                await self._take(Step.FETCHED)
            case Do.VERIFY:
                await self._verify()
                await self._take(Step.VERIFIED)
            case Do.STAGE:
                await self._wait_for_window()
                await self._on_disk(self.local.deployments.stage)
                self._tell()
            case Do.WARM:
                await self._warm()
                await self._take(Step.WARMED)
            case Do.MIRROR:
                self._start_mirror()
                await self._take(Step.MIRRORED)
            case Do.FLIP:
                await self._canary()
                await self._flip()
            case Do.WATCH:
                await self._watch()
                await self._take(Step.WATCHED)
                await self._stop_mirror()
                await self._on_disk(self._collect)
            case Do.NOTHING:
                await self._rest()

    async def _fetch_all(self) -> None:
        plan, store, deployments = self._plan(), self.local.store, self.local.deployments
        await self._on_disk(lambda: store.make_room(plan, deployments.kept))
        running = deployments.running
        have = [store.path(item.sha256) for item in (running.items.values() if running else ())]
        reused = [item for item in plan.items.values() if item.sha256 not in store.missing(plan)]
        self.counts.bytes["reused"] += sum(item.length for item in reused)
        for item in store.missing(plan).values():
            into = store.incoming / item.sha256
            await asyncio.to_thread(self._fetch, item, into, have, plan.bytes_per_s_max)
            await self._on_disk(partial(store.adopt, into, item))

    async def _verify(self) -> None:
        plan, store = self._plan(), self.local.store
        for item in plan.items.values():
            if needs_later_release(item):
                raise GateTrippedError(
                    "verify", f"`{item.target}` needs Littoral {item.littoral_min}, this is {littoral.__version__}"
                )
            try:
                await asyncio.to_thread(store.verify, item)
            except (TrustError, NodeError):
                await self._fetch_all()
                await asyncio.to_thread(store.verify, item)
        await asyncio.to_thread(check_boards, plan, store)

    async def _wait_for_window(self) -> None:
        plan = self._plan()
        while wait_s := opens_after_s(plan, self._table.windows, self._clock.wall()):
            self.local.deployments.note(f"waits for a maintenance window, {wait_s / 60:.0f} min", "window")
            await asyncio.sleep(min(wait_s, 30.0))

    async def _warm(self) -> None:
        """Opens what is new beside what serves, and runs the vectors that came with it."""
        plan = self._plan()
        await self._staging.open(plan, await self._site_of(plan))

    async def _site_of(self, plan: Plan) -> Site:
        return await asyncio.to_thread(self._sites.of, plan, self._hot.site)

    def _start_mirror(self) -> None:
        self._mirror = Mirror(self._staging.lanes(self._rng))
        self._mirror.start()

    async def _canary(self) -> None:
        plan = self._plan()
        gates = plan.gates
        if self._staging.is_empty:
            return
        lasts_s = gates.canary_s if self._mirror is not None and self._mirror.compares else 0.0
        until = self._clock.monotonic() + lasts_s
        while True:
            self._judge(plan)
            seen = 0 if self._mirror is None else self._mirror.mirrored
            if self._clock.monotonic() >= until:
                if seen >= gates.canary_requests_min or not lasts_s:
                    break
                self.local.deployments.note(f"{seen} of {gates.canary_requests_min} mirrored requests", "requests")
            await asyncio.sleep(min(LOOK_S, max(0.01, until - self._clock.monotonic())))
        await self._ask_hook(plan)

    async def _flip(self) -> None:
        """All of it between two requests, and only then the supervisor and the file hear of it; or by a restart."""
        plan = self._plan()
        site, before = await self._site_of(plan), self._hot.site
        has_other_site = self._differences.has_other_site(plan, self._opened)
        goes_on = self._hot.takes(site, plan.items)
        if not goes_on and not has_other_site and self._restart is None:
            raise ConflictError("this deployment needs a restart of the node, which nobody would start again")
        await self._on_disk(lambda: self.local.deployments.flip(restarts=not goes_on))
        self._opened = plan  # whatever becomes of it: where it fails, what serves is put right by `_align`
        await self._on_disk(self.local.show)
        self._watch_back(None)
        self._tell()
        self._record(Back())
        if goes_on:
            self._before = before, await self._staging.serve(plan, site)
        if has_other_site:
            await self._sites.apply(plan)  # which may end this process
        if not goes_on:
            await self._start_anew(f"deployment {plan.deployment}: the node is started anew")

    async def _start_anew(self, why: str) -> None:
        if self._restart is None:
            raise ConflictError("a restart of the node is needed, and nobody would start it again")
        self._say(why)
        self._is_aligned.set()
        self._restart()
        await asyncio.Event().wait()  # for the end of this process

    async def _watch(self) -> None:
        plan = self._plan()
        await self._finish(plan)
        until = self._clock.monotonic() + plan.gates.watch_s
        while self._clock.monotonic() < until:
            self._judge(plan)
            await asyncio.sleep(min(LOOK_S, max(0.01, until - self._clock.monotonic())))
        self._judge(plan)
        await self._ask_hook(plan)

    async def _finish(self, plan: Plan) -> None:
        """What a process that ended may have left between what the node served and what the site file says."""
        site = await self._site_of(plan)
        if not self._sites.is_said(plan) and self._hot.takes(site, plan.items):
            await self._staging.serve_plan(plan, site)
            with contextlib.suppress(NodeError):  # another process may be about to
                await self._sites.apply(plan)
        await self._sites.wait_for(plan)

    def _judge(self, plan: Plan) -> None:
        if self._mirror is None:
            return
        for lane in self._mirror.lanes:
            lane.look()
            if (verdict := judge(plan.gates, lane.figures)) is not None:
                raise GateTrippedError(verdict.gate, f"{lane.trial.label}: {verdict.why}")
            if (quarantine := lane.trial.after.quarantine) is not None and quarantine.state is not None:
                raise GateTrippedError("errors", f"{lane.trial.label}: it is in quarantine")
        if problem := self._mirror.problem():
            raise GateTrippedError("errors", problem)

    async def _ask_hook(self, plan: Plan) -> None:
        told = {"deployment": plan.deployment, "state": self.local.deployments.journal.state, "figures": self.figures()}
        for url in filter(None, (self._table.hook, plan.gates.hook)):
            if problem := await asyncio.to_thread(ask_hook, url, told):
                raise GateTrippedError("hook", problem)

    def figures(self) -> dict[str, Any]:
        """Of the models under trial, for people."""
        return (
            {}
            if self._mirror is None
            else {lane.trial.name: lane.figures.told()._asdict() for lane in self._mirror.lanes}
        )

    async def _serve_before(self) -> None:
        """At once, while the versions before are still at hand; what is written follows, by `_align`."""
        before, self._before = self._before, None
        plan = self.local.deployments.way_back
        if self.local.deployments.journal.state != "active" or before is None or plan is None:
            return
        site, versions = before
        with contextlib.suppress(LittoralError, OSError):  # then `_align` does that, too, and tells
            await self._hot.serve(site, plan.items, versions)
            self._watch_back(plan)

    def _watch_back(self, plan: Plan | None) -> None:
        """What serves again is watched from the first moment on."""
        if plan is None or plan is not self._watched_of:
            self._watched_of, self._watched = plan, [] if plan is None else self._staging.watched(plan)

    async def aligned(self) -> None:
        """Returns when what serves is what was decided, or this process ends for it."""
        await self._is_aligned.wait()

    async def _align(self) -> None:
        await self._serve_running()
        if _is_same(self.local.deployments.running, self._opened):
            self._is_aligned.set()

    async def _serve_running(self) -> None:
        """What serves is what the active slot says."""
        running = self.local.deployments.running
        before = self._opened
        if _is_same(running, before):
            self._opened = running
            return
        await self._stop_mirror()
        await self._on_disk(self.local.show)
        self._say(f"back to deployment {0 if running is None else running.deployment}")
        site = await asyncio.to_thread(self._sites.former, running, before, self._hot.site)
        brought = {} if running is None else running.items
        if goes_on := self._hot.takes(site, brought):
            await self._staging.serve_plan(running, site)
        await self._sites.go_back(running, before)  # which may end this process
        if not goes_on:
            await self._start_anew("the way back: the node is started anew")
        self._opened = running
        self._watch_back(running)

    async def _take(self, event: Event) -> bool:
        deployments = self.local.deployments
        is_changed = await self._on_disk(lambda: deployments.take(event))  # type: ignore[arg-type]
        journal = deployments.journal
        if is_changed and journal.state in ("refused", "rolled_back", "settled"):
            self.counts.ends[journal.state, journal.gate] += 1
            told = f": {journal.gate}: {journal.problem}" if journal.gate else ""
            self._say(f"deployment {journal.ended}: {journal.state}{told}")
        if is_changed:
            self._tell()
            self._record(event)
        return is_changed

    def _record(self, event: Event) -> None:
        """In the audit log: a deployment that begins, and how it ends."""
        journal = self.local.deployments.journal
        if self._node.audit is None or (isinstance(event, Step) and event is not Step.WATCHED):
            return
        plan = journal.plan
        targets = {} if plan is None else plan.running()
        self._node.audit.deployment(f"{journal.ended}", journal.state, gate=journal.gate, targets=targets)

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    async def _later(self, problem: str) -> None:
        """Nothing is wrong with the deployment; it is tried again, ever more rarely."""
        self.local.deployments.note(problem)
        pause_s = min(RETRY_S_MAX, RETRY_S * 2.0 ** min(self._retries, 16))
        self._retries += 1
        await asyncio.sleep(pause_s * self._rng.uniform(0.8, 1.2))

    async def _rest(self) -> None:
        """Writes what is owed. What was gone back to is watched as long as a new version: it may fail, too."""
        running, newest = self.local.deployments.running, self.local.deployments.journal.plan
        watch_s = max((plan.gates.watch_s for plan in (running, newest) if plan is not None), default=0.0)
        until = self._clock.monotonic() + watch_s
        while True:
            if self.local.deployments.owes:
                await self._on_disk(self.local.deployments.settle_up)
            if self.local.dashboards.problem:
                await self._on_disk(self.local.show)
            if self._clock.monotonic() > until:
                self._watched = []
            if running is not None and (why := self._why_lost(running)):
                self._watched = []
                await self._take(Lost("errors", why))
                return
            await asyncio.sleep(REST_S)

    def _why_lost(self, running: Plan) -> str:
        """What keeps a version that was gone back to from serving, or ''."""
        for lane in self._watched:
            lane.look()
            if (verdict := judge(running.gates, lane.figures)) is not None and verdict.gate == "errors":
                return f"{lane.trial.label}: {verdict.why}"
        return ""

    async def _live_for_long(self) -> None:
        await asyncio.sleep(STEADY_S)
        with contextlib.suppress(OSError):
            await self._on_disk(self.local.deployments.steady)

    async def _drop_staged(self) -> None:
        if not self._staging.is_empty:
            await self._stop_mirror()
            await self._staging.drop()

    async def _stop_mirror(self) -> None:
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            self.counts.mirrored["compared"] += mirror.mirrored
            self.counts.mirrored["dropped"] += mirror.dropped
            await mirror.close()

    def _collect(self) -> None:
        self.local.store.collect(self.local.deployments.kept)

    def _plan(self) -> Plan:
        plan = self.local.deployments.journal.plan
        assert plan is not None
        return plan

    async def _on_disk(self, work: Callable[[], _R]) -> _R:
        """In the one thread that touches the folder, in order; also what nobody waits for any more is finished."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _is_same(one: Plan | None, other: Plan | None) -> bool:
    """Whether the same serves with either."""
    return one is other or (one is not None and other is not None and one.items == other.items)
