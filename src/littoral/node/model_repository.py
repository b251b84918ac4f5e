"""The versions of every model: which are open, and how the next one takes over from the last without a request failing.

Load, verify, warm, flip, drain: a new version is opened and run beside the one that serves; pipelines are bound to it;
then all of it is put in place between two requests. The version before stays at hand for the way back, without
instances: whoever still holds it is served by it. What keeps a version from serving leaves everything as it was.
For one event loop; one change at a time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import ConflictError, LittoralError, NotFoundError, SandboxError
from littoral.node.agent_repository import AgentRepository
from littoral.node.machine_code import make_machine_code
from littoral.node.model_files import Policy, find_versions
from littoral.node.model_opening import (
    Identities,
    Origin,
    Source,
    check_state,
    files_seen,
    open_model,
    open_version,
    runs_on_zeros,
    warm,
)
from littoral.node.node import ServedModel, ServedVersion
from littoral.node.pooling import Pooling, beside_threads
from littoral.node.rebinding import Others, Rebinding, Versions
from littoral.node.site_tables import ModelTable
from littoral.runtime.agents import Agent
from littoral.runtime.instance import Session
from littoral.runtime.pool import Pool

__all__ = ["READY", "UNAVAILABLE", "IndexEntry", "Left", "ModelRepository", "Opened"]

READY = "READY"
UNAVAILABLE = "UNAVAILABLE"

Say = Callable[[str], None]

Deployed = Callable[[ServedModel, str], None]
"""Told of a model, and what became of it: `serves` or `unloaded`."""


class IndexEntry(NamedTuple):
    """One version in the repository's index. state: READY or UNAVAILABLE, with the reason."""

    name: str
    version: int
    state: str
    reason: str = ""


class Opened(NamedTuple):
    """A model that is open, and that nobody can ask for yet."""

    served: ServedModel
    origin: Origin


class Left(NamedTuple):
    """What others took the place of. dropped: versions that could be asked for, or were the way back."""

    before: Versions
    dropped: Sequence[ServedVersion]
    agents: Sequence[Pool[Agent]]


@dataclass
class _Kept:
    """Beside what serves: the way back, and what was seen.

    is_held: the watch leaves this model as somebody wanted it. newest: the highest number that a version has had.
    """

    origin: Origin
    served: ServedModel
    seen: Identities
    newest: int
    refused: dict[int, str] = field(default_factory=dict)
    previous: ServedVersion | None = None
    is_held: bool = False
    swaps: int = 0
    refusals: int = 0


def _unheard(_model: ServedModel, _what: str) -> None:
    pass


class ModelRepository:
    """models: what the node serves; changed in place. say: gets a line for each change."""

    def __init__(
        self,
        models: MutableMapping[str, ServedModel],
        origins: Mapping[str, Origin],
        agents: AgentRepository,
        rebinding: Rebinding,
        pooling: Pooling,
        *,
        say: Say,
        clock: Clock = SYSTEM,
        deployed: Deployed = _unheard,
    ) -> None:
        self._models = models
        self.agents = agents
        self.rebinding = rebinding
        self._pooling = pooling
        self._say = say
        self._clock = clock
        self._deployed = deployed
        self.turn = asyncio.Lock()
        """Whoever holds it knows that no version takes over."""
        self._kept = {
            name: _Kept(origins[name], served, origins[name].seen, served.serving.number)
            for name, served in models.items()
        }

    @property
    def served(self) -> Mapping[str, ServedModel]:
        return self._models

    async def load(
        self,
        name: str,
        policy: Policy | None = None,
        uploads: Mapping[int, Source] | None = None,
        *,
        are_added: bool = False,
    ) -> Sequence[int]:
        """Opens what the model's path holds now, or `uploads` in its place; the versions that can be asked for then.

        policy: default the site file's. Number 0 of an upload: the next one. are_added: uploads stand beside the
        versions of a folder. Raises NotFoundError, ConflictError where
        a pipeline does not take the new version, and what opening a version raises; everything is as it was then.
        """
        kept = self._find(name)
        async with self.turn:
            chosen = policy or Policy.of(kept.origin.table.versions)
            return await self._load(kept, chosen, uploads or {}, are_added=are_added)

    async def opened(self, name: str, table: ModelTable, path: Path) -> Opened:
        """A model that the site file did not name before, beside what serves; nothing changes. For `adopt`, or
        `close_model`. Raises what opening it raises."""
        for source in await asyncio.to_thread(files_seen, path):
            await make_machine_code(source, self._pooling.signers)
        opened = partial(open_model, name, table, path, self._pooling, clock=self._clock, say=self._say)
        with beside_threads() as threads:
            served, origin = await threads.run(opened)
            if table.warm:
                with contextlib.suppress(SandboxError):  # some models never take zeros
                    await warm(served.serving, served.instances, threads)
        return Opened(served, origin)

    def adopt(self, model: Opened) -> None:
        """It serves from now on. Raises ConflictError for one that is there."""
        served, origin = model
        if served.name in self._kept:
            raise ConflictError(f"model `{served.name}` is there already")
        self._kept[served.name] = _Kept(origin, served, origin.seen, served.serving.number)
        self._models[served.name] = served
        self._say(f"model `{served.name}`: version {served.serving.number} serves, {served.model.digest[:12]}")
        self._deployed(served, "serves")

    async def opened_by(self, name: str, table: ModelTable, path: Path) -> Others:
        """The versions of a model by another table of the site file, warm; nothing changes. For `serve`, or `discard`.

        Whoever asks holds `turn`. Raises what opening a version raises.
        """
        origin = Origin(table, path, await asyncio.to_thread(files_seen, path))
        kept = replace(self._find(name), origin=origin)
        number, versions, fresh = kept.newest, dict[int, ServedVersion](), list[ServedVersion]()
        try:
            for number, source in await self._chosen(kept, Policy.of(table.versions), {}):
                version = await self._version(kept, number, source, fresh)
                versions[version.number] = version
        except BaseException as error:
            await asyncio.to_thread(_close, [version.pool for version in fresh])
            await asyncio.to_thread(_rest, _only_kept(kept))
            if isinstance(error, LittoralError | OSError):
                self._refuse(self._find(name), number, error)
            raise
        return Others(versions, origin)

    async def remove(self, name: str) -> None:
        """A model that the site file names no more. Raises ConflictError where a pipeline uses it."""
        async with self.turn:
            await self.leave(name)

    async def leave(self, name: str) -> None:
        """As `remove`, for whoever holds `turn`."""
        kept = self._find(name)
        if users := self.rebinding.users(name):
            raise ConflictError(f"model `{name}`: used by pipeline `{users[0]}`")
        pools = [version.pool for version in _open_versions(kept)]
        del self._models[name], self._kept[name]
        kept.served.versions, kept.previous = {}, None
        await asyncio.to_thread(_close, pools)
        for pool in pools:
            self._pooling.forget(pool)
        self._say(f"model `{name}`: removed")
        self._deployed(kept.served, "unloaded")

    async def roll_back(self, name: str) -> Sequence[int]:
        """The version that served before serves again, until the next `load`. Raises ConflictError if there is none."""
        kept = self._find(name)
        async with self.turn:
            if (version := kept.previous) is None:
                raise ConflictError(f"model `{name}`: no version served before this one")
            version.pool.wake()
            try:
                await self._warm(kept, version)
                await self._flip(kept, {version.number: version})
            except BaseException:
                await asyncio.to_thread(_rest, [version.pool])
                raise
            kept.is_held = True
            return [version.number]

    async def stage(self, name: str, number: int, path: Path, sha256: str) -> ServedVersion:
        """Opens a version beside the one that serves, and warms it; nothing changes. For `serve` or `discard`.

        Raises what opening it raises.
        """
        kept = self._find(name)
        async with self.turn:
            for known in _open_versions(kept):
                if known.model.digest == sha256:
                    known.pool.wake()
                    return known
            await make_machine_code(path, self._pooling.signers)
            table = msgspec.structs.replace(kept.origin.table, sha256=sha256)
            with beside_threads() as threads:
                version = await threads.run(open_version, name, number, path, table, self._pooling, self._say)
            try:
                check_state(table.state, version)
                await self._warm(kept, version)
            except BaseException:
                await asyncio.to_thread(_close, [version.pool])
                raise
            return version

    async def stage_agent(self, name: str, path: Path, sha256: str) -> Pool[Agent]:
        """As `stage`."""
        async with self.turn:
            return await self.agents.stage(name, path, sha256)

    async def serve(self, staged: Versions) -> Versions:
        """From now on these serve, all of them between the same two requests; what served before, for the way back.

        Raises ConflictError where a pipeline does not take them; everything is as it was then.
        """
        async with self.turn:
            await self.woken(staged)
            bound = self.rebinding.bound(staged)
            left = self.put(staged)
            self.rebinding.put(bound)
            await self.settle(left)
            return left.before

    async def woken(self, staged: Versions) -> None:
        """They have their instances, before they serve. Whoever asks holds `turn`."""
        for name, version in staged.models.items():
            version.pool.wake()
            await self._warm(self._find(name), version)
        for pool in staged.agents.values():
            pool.wake()

    def put(self, staged: Versions) -> Left:
        """From now on these serve, all of them between the same two requests; pipelines are the caller's, who holds
        `turn`, has called `woken`, and hands what is given to `settle`."""
        before = {name: self._find(name).served.serving for name in staged.models}
        agents = {name: self.agents.served[name].pool for name in staged.agents}
        dropped = [one for name in staged.models for one in _open_versions(self._find(name))]
        for name, version in staged.models.items():
            self._put(name, version, staged.others.get(name))
        return Left(Versions(before, agents), dropped, self.agents.put(staged.agents, staged.instances))

    async def settle(self, left: Left) -> None:
        """Nobody new comes to what served before: it rests, or is closed. Whoever asks holds `turn`."""
        pools = [one.pool for one in (*left.before.models.values(), *left.dropped)]
        await asyncio.to_thread(_rest, [pool for pool in pools if not self._serves(pool)])
        held = {version.pool for kept in self._kept.values() for version in _open_versions(kept)}
        for pool in {one.pool for one in left.dropped} - held:
            self._pooling.forget(pool)
        await self.agents.settle(left.agents)

    async def discard(self, staged: Versions) -> None:
        """Closes what was opened for `serve`, if nobody has it."""
        held = {version.pool for kept in self._kept.values() for version in _open_versions(kept)}
        pools = [one.pool for one in staged.models.values() if not self._serves(one.pool)]
        await asyncio.to_thread(_rest, pools)
        await asyncio.to_thread(_close, [pool for pool in pools if pool not in held])
        await self.agents.discard(staged.agents.values())

    async def unload(self, name: str) -> None:
        """Refuses the model to requests and to pipelines; what runs or waits is answered. Unloading twice is fine."""
        kept = self._find(name)
        async with self.turn:
            pools = [version.pool for version in _open_versions(kept)]
            kept.served.versions, kept.previous, kept.is_held = {}, None, True
            await asyncio.to_thread(_close, pools)
            self._say(f"model `{name}`: unloaded")
            self._deployed(kept.served, "unloaded")

    async def refresh(self, *, is_asked: bool) -> None:
        """Loads every model whose files are others than they were. What goes wrong is told, and kept for the index.

        is_asked: by somebody, not by the watch: then also those that were rolled back, unloaded or uploaded.
        """
        for name, kept in list(self._kept.items()):
            if is_asked or (not kept.is_held and await self._is_changed(kept)):
                with contextlib.suppress(LittoralError, OSError):  # told by `load`; the next change is the next try
                    await self.load(name)

    async def watch(self, interval_s: float) -> None:
        """Looks at the files again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            await self.refresh(is_asked=False)

    def index(self, name: str) -> list[IndexEntry]:
        """Every version that is known of a model, in ascending order."""
        kept = self._find(name)
        found = {number: IndexEntry(name, number, UNAVAILABLE, why) for number, why in kept.refused.items()}
        if kept.previous is not None:
            found[kept.previous.number] = IndexEntry(name, kept.previous.number, UNAVAILABLE, "kept for the way back")
        if not kept.served.is_loaded:
            number = kept.served.serving.number
            found.setdefault(number, IndexEntry(name, number, UNAVAILABLE, "unloaded"))
        found |= {number: IndexEntry(name, number, READY) for number in kept.served.versions}
        return [found[number] for number in sorted(found)]

    def before(self, name: str) -> int | None:
        """The number of the version that `roll_back` leads to."""
        previous = self._find(name).previous
        return None if previous is None else previous.number

    def counts(self, name: str) -> tuple[int, int]:
        """Swaps of a model, and changes that were refused, since the start."""
        kept = self._find(name)
        return kept.swaps, kept.refusals

    def close(self) -> None:
        """Every version of every model."""
        for kept in self._kept.values():
            _close([version.pool for version in _open_versions(kept)])
        self.agents.close()

    def _find(self, name: str) -> _Kept:
        if (kept := self._kept.get(name)) is None:
            raise NotFoundError(f"model `{name[:80]}` is unknown", hint="a node serves the models of its site file")
        return kept

    async def _is_changed(self, kept: _Kept) -> bool:
        seen = await asyncio.to_thread(files_seen, kept.origin.path)
        now_ns = int(self._clock.wall() * 1e9)
        return seen != kept.seen and all(identity.is_settled(now_ns) for identity in seen.values())

    async def _load(
        self, kept: _Kept, policy: Policy, uploads: Mapping[int, Source], *, are_added: bool = False
    ) -> Sequence[int]:
        number = kept.newest
        kept.seen = await asyncio.to_thread(files_seen, kept.origin.path)
        fresh: list[ServedVersion] = []
        try:
            versions = {}
            for number, source in await self._chosen(kept, policy, uploads, are_added=are_added):
                version = await self._version(kept, number, source, fresh)
                versions[version.number] = version
            await self._flip(kept, versions)
        except BaseException as error:
            await asyncio.to_thread(_close, [version.pool for version in fresh])
            await asyncio.to_thread(_rest, _only_kept(kept))
            if isinstance(error, LittoralError | OSError):
                self._refuse(kept, number, error)
            raise
        kept.newest = max(kept.newest, *versions)
        kept.is_held = bool(uploads)
        kept.refused = {}
        return sorted(versions)

    async def _chosen(
        self, kept: _Kept, policy: Policy, uploads: Mapping[int, Source], *, are_added: bool = False
    ) -> list[tuple[int, Source]]:
        sources = await self._sources(kept, uploads, are_added)
        if kept.origin.path in sources.values():
            policy = Policy()
        return [(number, sources[number]) for number in policy.choose(sources, f"model `{kept.served.name}`")]

    async def _sources(self, kept: _Kept, uploads: Mapping[int, Source], are_added: bool) -> Mapping[int, Source]:
        fresh = {number or kept.newest + 1: data for number, data in uploads.items()}
        if fresh and not (are_added and kept.origin.path.is_dir()):
            return fresh
        found = await asyncio.to_thread(find_versions, kept.origin.path)
        if kept.origin.path in found.values():  # no folder: what it holds has the next number, if it is something else
            return {kept.newest + 1: kept.origin.path}
        return {**found, **fresh}

    async def _version(self, kept: _Kept, number: int, source: Source, fresh: list[ServedVersion]) -> ServedVersion:
        """As it is open already, or opened and warm, and then among `fresh`."""
        table, served = kept.origin.table, kept.served
        await make_machine_code(source, self._pooling.signers)
        with beside_threads() as threads:
            version = await threads.run(open_version, served.name, number, source, table, self._pooling, self._say)
        is_file = source == kept.origin.path
        for known in _open_versions(kept):
            if known.model.digest == version.model.digest and (is_file or known.number == number):
                version.pool.close()
                known.pool.wake()
                version = known
                break
        else:
            fresh.append(version)
            check_state(table.state, version)
        await self._warm(kept, version)
        return version

    async def _warm(self, kept: _Kept, version: ServedVersion) -> None:
        """A version that fails on zeros is refused where the one that serves does not: some models never take zeros."""
        served = kept.served
        if not kept.origin.table.warm or version in served.versions.values():
            return
        try:
            with beside_threads() as threads:
                await warm(version, served.instances, threads)
        except SandboxError:
            if served.is_loaded and await runs_on_zeros(served.serving):
                raise

    async def _flip(self, kept: _Kept, versions: Mapping[int, ServedVersion]) -> None:
        served, serving = kept.served, versions[max(versions)]
        bound = self.rebinding.bound(Versions({served.name: serving})) if serving is not served.serving else {}
        before, dropped = served.serving, list(_open_versions(kept))
        if before is not serving and served.is_loaded:
            kept.previous = before
        served.serving, served.versions = serving, versions
        self.rebinding.put(bound)
        if before is not serving:
            kept.swaps += 1
            self._say(f"model `{served.name}`: version {serving.number} serves, {serving.model.digest[:12]}")
            self._deployed(served, "serves")
        pools = [version.pool for version in dropped if version not in versions.values()]
        await asyncio.to_thread(_rest, pools)
        for pool in pools:
            if kept.previous is None or pool is not kept.previous.pool:
                self._pooling.forget(pool)

    def _put(self, name: str, version: ServedVersion, others: Others | None) -> None:
        kept = self._find(name)
        served, before = kept.served, kept.served.serving
        if before is not version and served.is_loaded:
            kept.previous = before
        versions = {version.number: version} if others is None else others.versions
        served.serving, served.versions = version, versions
        kept.swaps += before is not version
        kept.newest, kept.is_held, kept.refused = max(kept.newest, *versions), others is None, {}
        if others is not None:
            kept.origin, kept.seen = others.origin, others.origin.seen
        self._say(f"model `{name}`: version {version.number} serves, {version.model.digest[:12]}")
        self._deployed(served, "serves")

    def _serves(self, pool: Pool[Session]) -> bool:
        return any(version.pool is pool for kept in self._kept.values() for version in kept.served.versions.values())

    def _refuse(self, kept: _Kept, number: int, error: Exception) -> None:
        kept.refusals += 1
        kept.refused = {number: str(error)}
        self._say(f"model `{kept.served.name}`: refused: {error}")


def _open_versions(kept: _Kept) -> list[ServedVersion]:
    """Those that can be asked for, and the one before."""
    return [*kept.served.versions.values(), *([] if kept.previous is None else [kept.previous])]


def _only_kept(kept: _Kept) -> list[Pool[Session]]:
    """That of the version before, where it cannot be asked for."""
    before = kept.previous
    return [] if before is None or before in kept.served.versions.values() else [before.pool]


def _rest(pools: Iterable[Pool[Session]]) -> None:
    for pool in pools:
        pool.rest()


def _close(pools: Iterable[Pool[Session]]) -> None:
    for pool in pools:
        pool.close(drains=True)
