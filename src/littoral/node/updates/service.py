"""A node's part in its fleet while it serves: it asks what to run, installs it, and says how it went.

Nothing here keeps a node from serving: an orchestrator that is away, a claim that is refused, metadata that has
expired are told in metrics and on the page, and asked again.
"""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import littoral
from littoral.clock import Clock
from littoral.errors import ConflictError, InputError, LittoralError
from littoral.node.config.hot import Hot
from littoral.node.observed import Observed
from littoral.node.site import Site
from littoral.node.updates.asks import answer
from littoral.node.updates.enrolling import enrol, facts
from littoral.node.updates.folder import Local
from littoral.node.updates.installer import Installer
from littoral.node.updates.peers import handed_on
from littoral.node.updates.plans import plan_of
from littoral.node.updates.signal import mqtt_signal
from littoral.telemetry import Reading
from littoral.telemetry.spread import Spread
from littoral.updates.calls import Calls
from littoral.updates.deployment.machine import Back, Told
from littoral.updates.deployment.plans import Item
from littoral.updates.deployment.reports import Reports
from littoral.updates.membership import Membership, read_membership
from littoral.updates.targets import TargetFile
from littoral.updates.trust.bounds import Bounds
from littoral.updates.trust.client import TrustedClient
from littoral.updates.trust.state import begin_again
from littoral.updates.trust.transport import FirstOf, FolderTransport, Transport
from littoral.updates.trust.trust_file import TrustFile
from littoral.updates.wire import STATES, Ask, CheckIn, Report
from littoral.web import Answer, Request, Stream

__all__ = ["Updates", "updating"]

TRUST = "tuf"
JITTER = 0.2
WAIT_S = 30.0
PAUSE_S, PAUSE_S_MAX = 1.0, 300.0
REPORTED = ("littoral_node_uptime_seconds", "littoral_http_requests_busy", "process_resident_memory_bytes")
DAY_S = 86_400.0
ASKS_AT_ONCE = 2

_log = logging.getLogger("littoral.updates")


class Updates:
    """Of one node; for its event loop."""

    def __init__(
        self,
        local: Local,
        hot: Hot,
        site: Site,
        observed: Observed,
        *,
        clock: Clock,
        say: Callable[[str], None],
        restart: Callable[[], None] | None,
        rng: random.Random | None = None,
    ) -> None:
        assert site.updates is not None
        self._table = site.updates
        self._site = site
        self._node = hot.node
        self._observed = observed
        self._clock = clock
        self._say = say
        self._rng = rng or random.Random()  # noqa: S311  when it calls is no secret
        self._trust = TrustFile.read(site.path_of(self._table.trust))
        url = self._trust.orchestrator
        self._calls = Calls(url, self._trust.ca) if url.startswith(("http://", "https://")) else None
        self._member: Membership | None = read_membership(local.disk)
        self._now = asyncio.Event()
        self._is_asked = False
        self._is_frozen = False
        self._last_heard_at = 0.0
        self._problem = ""
        self._client: TrustedClient | None = None
        self._floor: int | None = None
        self._ends = threading.Event()
        self.installer = Installer(local, hot, site, self._fetch, clock=clock, say=say, restart=restart, rng=self._rng)
        self._reports = Reports(
            local.disk, bytes_max=self._table.reports_mb << 20, age_max_s=self._table.reports_days * DAY_S
        )
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        self.installer.listeners.append(self._now.set)
        works: list[Awaitable[None]] = [self.installer.run()]
        if self._calls is not None:
            works += [self._keep_asking(), self._report()]
            if self._table.signal:
                works.append(self._listen())
            if self._table.mqtt is not None and self._site.mqtt is not None:
                works.append(mqtt_signal(self._site, self._table.mqtt, self.check_now, self._clock, self._rng))
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.gather(*tasks)
        finally:
            self._ends.set()
            for task in (*tasks, *self._answering):
                task.cancel()
            await asyncio.gather(*tasks, *self._answering, return_exceptions=True)

    def check_now(self) -> None:
        """At the next turn of the loop, whatever the interval says."""
        self._now.set()

    async def now(self) -> dict[str, Any]:
        """Asked by somebody: a deployment that was refused is tried again. Raises ConflictError without an
        orchestrator, and what asking it raises."""
        if self._calls is None:
            raise ConflictError("this fleet has no orchestrator", hint="`littoral update --from DIR` takes a folder")
        self._is_asked = True
        await self._ask_once()
        return self.told()

    async def back(self) -> dict[str, Any]:
        """An operator takes back what serves. Raises ConflictError where there is nothing to go back to."""
        deployments = self.installer.local.deployments
        if deployments.way_back is None and deployments.journal.state not in (
            "idle",
            "fetched",
            "verified",
            "staged",
            "warmed",
            "canary",
        ):
            raise ConflictError(f"deployment {deployments.journal.deployment}: no other is kept to go back to")
        if not await self.installer.take(Back()):
            raise ConflictError("no deployment is under way, and none is kept to go back to")
        await self.installer.aligned()
        return self.told()

    async def take_from(self, folder: Path) -> dict[str, Any]:
        """What a folder holds: a stick. Raises InputError for none, and what verifying it raises."""
        if not await asyncio.to_thread(folder.is_dir):
            raise InputError(f"`{str(folder)[:200]}` is no folder on the node's machine")
        await self._refresh(self._client_with(FolderTransport(folder)))
        return self.told()

    async def begin_again(self) -> dict[str, Any]:
        """The trust file counts from now on, and what was remembered of metadata is put aside."""
        await asyncio.to_thread(begin_again, self.installer.local.folder / TRUST)
        self._client, self._floor = None, 0
        self._now.set()
        return self.told()

    def dashboards(self) -> list[dict[str, Any]]:
        """Those that are active."""
        local = self.installer.local
        return local.dashboards.told(local.deployments.running)

    def dashboard(self, name: str) -> bytes:
        """Raises NotFoundError, and NodeError for one that is damaged."""
        local = self.installer.local
        return local.dashboards.read(local.deployments.running, name)

    @property
    def serves_peers(self) -> bool:
        return self._table.serve_peers

    async def handed_on(self, request: Request) -> Answer | Stream:
        """An artifact, for a peer. Raises NotFoundError."""
        return await handed_on(self.installer.local.store, request)

    def told(self) -> dict[str, Any]:
        """For people."""
        deployments = self.installer.local.deployments
        journal, running, back = deployments.journal, deployments.running, deployments.way_back
        return {
            "node": self._name,
            "orchestrator": self._trust.orchestrator,
            "enrolled": self._member is not None,
            "deployment": journal.deployment,
            "state": journal.state,
            "since": journal.at,
            "gate": journal.gate,
            "problem": journal.problem or self._problem or self.installer.local.dashboards.problem,
            "frozen": self._is_frozen,
            "running": {} if running is None else {"deployment": running.deployment, "targets": running.running()},
            "back": None if back is None else back.deployment,
            "figures": self.installer.figures(),
            "history": [
                {
                    "deployment": one.deployment,
                    "state": one.state,
                    "at": one.at,
                    "gate": one.gate,
                    "problem": one.problem,
                }
                for one in reversed(journal.history)
            ],
            "heard_at": self._last_heard_at,
            "reports": {"waiting": len(self._reports), "bytes": self._reports.depth_bytes},
        }

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        local, counts, now = self.installer.local, self.installer.counts, self._clock.wall()
        journal, running = local.deployments.journal, local.deployments.running
        yield Reading("littoral_update_deployment", (), 0 if running is None else running.deployment)
        yield Reading("littoral_update_told", (), journal.deployment)
        for one in STATES:
            yield Reading("littoral_update_state", (one,), one == journal.state)
        yield Reading("littoral_update_state_seconds", (), max(0.0, now - journal.at) if journal.at else 0.0)
        yield Reading("littoral_update_heard_seconds", (), now - self._last_heard_at if self._last_heard_at else 0.0)
        for kind in ("fetched", "reused"):
            yield Reading("littoral_update_bytes_total", (kind,), counts.bytes[kind])
        for reason, count in counts.refused.items():
            yield Reading("littoral_update_refused_total", (reason,), count)
        for (state, gate), count in counts.ends.items():
            yield Reading("littoral_update_ended_total", (state, gate or "none"), count)
        mirror = self.installer.mirror
        live = (0, 0) if mirror is None else (mirror.mirrored, mirror.dropped)
        for kind, more in zip(("compared", "dropped"), live, strict=True):
            yield Reading("littoral_update_mirrored_total", (kind,), counts.mirrored[kind] + more)
        yield Reading("littoral_update_reports_bytes", (), self._reports.depth_bytes)
        yield Reading("littoral_update_reports_age_seconds", (), self._reports.oldest_age_s(now))
        for reason in ("bytes", "age"):
            yield Reading("littoral_update_reports_dropped_total", (reason,), self._reports.dropped[reason])

    @property
    def _name(self) -> str:
        if self._member is not None:
            return self._member.node
        return self._table.node or self._site.node.name

    async def _keep_asking(self) -> None:
        pause_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._now.wait()
            self._now.clear()
            try:
                poll_s = await self._ask_once()
            except (LittoralError, OSError) as error:
                self._fail(error)
                poll_s = self._table.poll_s
            pause_s = poll_s * self._rng.uniform(1 - JITTER, 1 + JITTER)

    async def _ask_once(self) -> float:
        """Says how it stands, hears what to run, and takes it. Seconds to the next time."""
        calls = self._calls
        assert calls is not None
        if self._member is None:
            self._member = await asyncio.to_thread(enrol, calls, self._site, self.installer.local.disk)
            self._say(f"enrolled as `{self._member.node}`")
        calls.token = self._member.token
        told = await asyncio.to_thread(calls.check_in, self._check_in())
        self._last_heard_at, self._problem = self._clock.wall(), ""
        client = self._client_with(None)
        client.heard_time(told.time)
        for ask in told.asks:
            self._answer(ask)
        is_asked, self._is_asked = self._is_asked, False
        journal = self.installer.local.deployments.journal
        if told.deployment > journal.deployment or self._is_frozen or (is_asked and journal.state == "refused"):
            await self._refresh(client, is_asked=is_asked)
        return max(1.0, min(told.poll_s, self._table.poll_s) if told.poll_s else self._table.poll_s)

    async def _refresh(self, client: TrustedClient, *, is_asked: bool = False) -> None:
        since = self.installer.local.deployments.journal.deployment if self._floor is None else self._floor
        try:
            verified = await asyncio.to_thread(client.refresh, since)
        except LittoralError as error:
            self.installer.counts.refused[type(error).__name__] += 1
            raise
        self._client, self._floor = client, None
        self._is_frozen = verified.desired.is_frozen
        if not self._is_frozen:
            await self.installer.take(Told(plan_of(verified.desired, verified.targets), is_asked))

    async def _listen(self) -> None:
        """Waits at the orchestrator for the next deployment."""
        assert self._calls is not None
        failures = 0
        while True:
            if self._member is None:
                await asyncio.sleep(PAUSE_S)
                continue
            after = self.installer.local.deployments.journal.deployment
            began = self._clock.monotonic()
            try:
                found = await asyncio.to_thread(self._calls.signal, after, WAIT_S)
                failures = 0
            except LittoralError:
                found, failures = None, failures + 1
                await asyncio.sleep(min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(failures, 16)) * self._rng.uniform(0.5, 1))
            if found is not None and found > after:
                self._now.set()
            if self._clock.monotonic() - began < PAUSE_S:
                await asyncio.sleep(PAUSE_S)

    async def _report(self) -> None:
        """What was measured, also while nobody heard."""
        assert self._calls is not None
        while True:
            await asyncio.sleep(self._table.poll_s * self._rng.uniform(1 - JITTER, 1 + JITTER))
            now = self._clock.wall()
            await self._observed.read(0)
            values = {
                one.name: float(one.value)
                for one in self._observed.readings
                if one.name in REPORTED and not isinstance(one.value, Spread)
            }
            self._reports.add(Report(time=now, metrics=values, states=(self._check_in(),)), now)
            if self._member is not None:
                with contextlib.suppress(LittoralError):
                    while batch := self._reports.batch():
                        await asyncio.to_thread(self._calls.report, batch)
                        self._reports.sent(len(batch))
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._reports.save)

    def _answer(self, ask: Ask) -> None:
        if len(self._answering) >= ASKS_AT_ONCE or self._calls is None:
            return
        task = asyncio.create_task(answer(ask, self._node, self._site, self._calls))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _check_in(self) -> CheckIn:
        deployments = self.installer.local.deployments
        journal, running = deployments.journal, deployments.running
        return CheckIn(
            deployment=journal.deployment,
            state=journal.state,
            problem=journal.problem,
            gate=journal.gate,
            running={} if running is None else running.running(),
            littoral=littoral.__version__,
            boot=str(self._node.started_at),
            time=self._clock.wall(),
            facts=facts(),
        )

    def _client_with(self, transport: Transport | None) -> TrustedClient:
        return TrustedClient(
            self.installer.local.folder / TRUST,
            self._name,
            self._trust,
            transport or self._transport(),
            clock=self._clock,
            bounds=Bounds(target_bytes_max=self._table.bytes_mb_max << 20),
        )

    def _transport(self) -> Transport:
        from littoral.updates.trust.http_transport import HttpTransport

        token = "" if self._member is None else self._member.token
        own = HttpTransport(self._trust.orchestrator, ca=self._trust.ca, token=token)
        peers = [HttpTransport(url, ca=self._trust.ca) for url in self._table.peers]
        return FirstOf([*peers, own]) if peers else own

    def _fetch(self, item: Item, into: Path, have: list[Path], bytes_per_s_max: int | None) -> None:
        """In a thread: from where the deployment was heard of."""
        client = self._client or self._client_with(None)

        def progress(_there: int, _of: int) -> None:
            if self._ends.is_set():
                raise OSError("the node is ending")

        target = TargetFile(item.target, item.length, item.sha256)
        client.fetch(target, into, have=have, progress=progress, bytes_per_s_max=bytes_per_s_max)
        self.installer.counts.bytes["fetched"] += item.length

    def _fail(self, error: Exception) -> None:
        text = str(error)
        if text != self._problem:
            _log.warning("%s", text, extra={"suppressed": 0})
        self._problem = text


@contextlib.asynccontextmanager
async def updating(
    local: Local | None,
    site: Site,
    hot: Hot,
    observed: Observed,
    *,
    say: Callable[[str], None],
    restart: Callable[[], None] | None,
) -> AsyncIterator[Updates | None]:
    """Until the block ends. Raises SetupError without the extra, SettingError for a trust file that is none."""
    if local is None:
        yield None
        return
    updates = Updates(local, hot, site, observed, clock=hot.node.clock, say=say, restart=restart)
    hot.node.updates = updates
    observed.sources.append(lambda: list(updates.readings()))
    running = asyncio.create_task(updates.run())
    try:
        yield updates
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
