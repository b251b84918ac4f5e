"""Files that somebody brought, and the models that are made of them: kept for a while, bounded, in turn.

Nothing here serves: what is made is taken from here by the node, or by the orchestrator's registry. For one event loop.
"""

import asyncio
import contextlib
import re
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from littoral.errors import ConflictError, LittoralError, NotFoundError, TooLargeError, UnavailableError
from littoral.making.orders import FEEDS, MODEL, ORDER, SOURCE, BuildOrder, CompareOrder
from littoral.making.sealed_files import FileKey
from littoral.making.worker import Bounds, Problem, Progress, worked
from littoral.web import Events

__all__ = ["BUILDS_MAX", "OUTCOMES", "Build", "Builds", "State"]

BUILDS_MAX = 8
FEEDS_MAX = 2000
FILE_BYTES_MAX = 2 << 30
BYTES_MAX = 4 << 30
COPIES = 6
EXAMINE = Bounds(2 << 30, 18)
COMPARE = Bounds(4 << 30, 25)
BUILD = Bounds(4 << 30, 1800)
WORKS = {"onnx": "build", "wasm": "measure"}
"""Of what was brought, when it is started."""
NAME_CHARACTERS_MAX = 80
_UNKEPT = re.compile(r"[^A-Za-z0-9._-]")

State = Literal["new", "building", "made", "failed", "cancelled"]
OUTCOMES: tuple[State, ...] = ("made", "failed", "cancelled")


@dataclass
class Build:
    """file: its name where it came from. examined: what is in it. report: of the model that was made, or brought.

    loaded: the version that it became, such as `detector@3`. artifact: what a registry says of it. is_kept: it can be
    used here. ended: set when it was built, or was not.
    """

    id: str
    folder: Path
    file: str
    kind: Literal["onnx", "wasm"] = "onnx"
    state: State = "new"
    bytes: int = 0
    feeds: int = 0
    examined: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    problem: Problem | None = None
    report: Mapping[str, Any] | None = None
    loaded: str | None = None
    artifact: Mapping[str, Any] | None = None
    is_kept: bool = False
    work: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> Path:
        """Raises ConflictError while there is none."""
        if self.state != "made":
            raise ConflictError(f"build `{self.id}` is {self.state}: it has no model", hint="build it first")
        return self.made

    @property
    def made(self) -> Path:
        """Where the model is once it was made."""
        return self.folder / (MODEL if self.kind == "onnx" else SOURCE)

    def told(self) -> dict[str, Any]:
        more = ("progress", "problem", "report", "loaded", "is_kept")
        keys = ("id", "file", "kind", "state", "bytes", "feeds", "examined", *more)
        told = {key: getattr(self, key) for key in keys}
        return told if self.artifact is None else told | {"artifact": self.artifact}


def _unheard(_: Progress) -> None:
    pass


Finish = Callable[["Build"], Awaitable[None]]


class Builds:
    """folder: of all; what a process before this one left there is removed when the first file comes. seals: what is
    brought lies sealed there (`sealed_files`), but for compiled models, which are served as they are.
    """

    def __init__(self, folder: Path, *, seals: bool = False) -> None:
        self._key = FileKey() if seals else None
        self.events = Events()
        self.ended: Counter[State] = Counter()
        self._folder = folder
        self._builds: dict[str, Build] = {}
        self._turn = asyncio.Lock()
        self._is_fresh = False

    def told(self) -> list[dict[str, Any]]:
        """The latest first."""
        return [build.told() for build in reversed(self._builds.values())]

    def find(self, build_id: str) -> Build:
        if (build := self._builds.get(build_id)) is None:
            raise NotFoundError(f"build `{build_id[:40]}` is unknown", hint="builds are forgotten at a start")
        return build

    async def add(self, file: str, chunks: AsyncIterator[bytes]) -> Build:
        """A file, examined. What cannot be used here is told of, but not kept. Raises what `_receive` raises."""
        if self._turn.locked():
            raise UnavailableError("another file is being examined or compared", hint="try again")
        await self._make_room()
        build = Build(secrets.token_hex(6), Path(), _safe(file))
        build.folder = self._folder / build.id
        await _on_disk(build.folder.mkdir)
        try:
            await self._receive(build, build.folder / SOURCE, chunks)
            async with self._turn:
                bounds = EXAMINE._replace(memory_bytes=EXAMINE.memory_bytes + COPIES * build.bytes)
                found = await self._worked("examine", build.folder, bounds)
        except BaseException:
            await _removed(build.folder)
            raise
        build.examined, build.report = found["examined"], found["report"]
        is_model = build.report is not None
        if is_model and self._key is not None:
            await _on_disk(partial(self._key.unseal, build.folder / SOURCE))
        build.kind, build.state = ("wasm", "made") if is_model else ("onnx", "new")
        if not build.examined["is_usable"] or not (is_model or build.examined.get("is_a") == "onnx"):
            await _removed(build.folder)
            return build
        build.is_kept = True
        self._builds[build.id] = build
        self._tell(build)
        return build

    async def add_feed(self, build: Build, file: str, chunks: AsyncIterator[bytes]) -> None:
        """One more file to calibrate with. Raises ConflictError once it is being built."""
        if build.kind != "onnx" or build.state == "building":
            raise ConflictError(f"build `{build.id}` takes no files now: it is {build.state}")
        if build.feeds >= FEEDS_MAX:
            raise TooLargeError(f"build `{build.id}` has {build.feeds} files to calibrate with, which is the most")
        build.feeds += 1
        folder = build.folder / FEEDS
        await _on_disk(lambda: folder.mkdir(exist_ok=True))
        await self._receive(build, folder / f"{build.feeds:04}-{_safe(file)}", chunks)
        self._tell(build)

    async def forget_feeds(self, build: Build) -> None:
        """Others come in their place."""
        if build.state == "building":
            raise ConflictError(f"build `{build.id}` is being built")
        await _removed(build.folder / FEEDS)
        build.feeds = 0
        self._tell(build)

    def start(
        self, build: Build, order: BuildOrder, finish: Finish | None = None, prepare: Finish | None = None
    ) -> None:
        """One at a time. prepare: what comes before, with the files in its folder. finish: what a model that was made
        goes through before it counts as made; a compiled one that was brought is measured before. Raises ConflictError.
        """
        if busy := [one.file for one in self._builds.values() if one.state == "building"]:
            raise ConflictError(f"`{busy[0]}` is being built", hint="wait for it, or cancel it")
        if build.kind != "onnx" and finish is None:
            raise ConflictError(f"build `{build.id}` is a compiled model already")
        build.state, build.progress, build.problem, build.loaded, build.artifact = "building", None, None, None, None
        if build.kind == "onnx":
            build.report = None
        build.ended.clear()
        build.work = asyncio.create_task(self._build(build, order, finish, prepare))
        self._tell(build)

    def note_loaded(self, build: Build, version: str) -> None:
        """As `Build.loaded`."""
        build.loaded = version
        self._tell(build)

    async def cancel(self, build: Build) -> None:
        """Until its process has ended; nothing for one that is not being built."""
        if build.work is not None:
            build.work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(asyncio.gather(build.work, return_exceptions=True))

    async def forget(self, build: Build) -> None:
        """With all its files."""
        await self.cancel(build)
        self._builds.pop(build.id, None)
        await _removed(build.folder)
        self._tell(build)

    async def compare(self, order: CompareOrder, chunks: AsyncIterator[bytes], file: str) -> Mapping[str, Any]:
        """What `comparing` tells of models on the input that comes, or on noise where nothing comes."""
        if self._turn.locked():
            raise UnavailableError("another file is being examined or compared", hint="try again")
        async with self._turn:
            await self._clean()
            asked = Build(secrets.token_hex(6), Path(), "")
            asked.folder = self._folder / f"compare-{asked.id}"
            try:
                await _on_disk(lambda: (asked.folder / FEEDS).mkdir(parents=True))
                feed = asked.folder / FEEDS / _safe(file)
                await self._receive(asked, feed, chunks)
                order.feed = _safe(file) if asked.bytes else None
                await _on_disk(lambda: (asked.folder / ORDER).write_bytes(msgspec.json.encode(order)))
                return await self._worked("compare", asked.folder, COMPARE)
            finally:
                await _removed(asked.folder)

    async def close(self) -> None:
        """Ends what is being built."""
        for build in list(self._builds.values()):
            await self.cancel(build)

    async def _build(self, build: Build, order: BuildOrder, finish: Finish | None, prepare: Finish | None) -> None:
        def told(progress: Progress) -> None:
            build.progress = progress
            self._tell(build)

        try:
            await _on_disk(lambda: (build.folder / ORDER).write_bytes(msgspec.json.encode(order)))
            if prepare is not None:
                await prepare(build)
            bounds = BUILD._replace(memory_bytes=BUILD.memory_bytes + COPIES * build.bytes)
            report = await self._worked(WORKS[build.kind], build.folder, bounds, told)
            build.report = report if build.report is None else {**build.report, **report}
            if finish is not None:
                await finish(build)
            build.state = "made"
        except asyncio.CancelledError:
            build.state = "cancelled"
            raise
        except LittoralError as error:
            build.state, build.problem = "failed", Problem(error.message, error.hint)
        finally:
            build.work, build.progress = None, None
            build.ended.set()
            self.ended[build.state] += 1
            self._tell(build)

    async def _worked(
        self, work: str, folder: Path, bounds: Bounds, tell: Callable[[Progress], object] = _unheard
    ) -> Mapping[str, Any]:
        return await worked(work, folder, bounds, tell, b"" if self._key is None else self._key.line)

    async def _receive(self, build: Build, path: Path, chunks: AsyncIterator[bytes]) -> None:
        """Raises TooLargeError, UnavailableError for a disk that takes no more, and what the body raises."""
        file = await _on_disk(lambda: path.open("xb"))
        sealing = None if self._key is None else self._key.writer(path, file)
        size = 0
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > FILE_BYTES_MAX or self._bytes + build.bytes + size > BYTES_MAX:
                    raise TooLargeError(
                        f"file `{path.name}`: at most {FILE_BYTES_MAX} bytes, and {BYTES_MAX} of all files",
                        hint="forget builds that are not needed any more",
                    )
                await _on_disk(partial((sealing or file).write, chunk))
            if sealing is not None:
                await _on_disk(sealing.close)
            await _on_disk(file.flush)
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise
        finally:
            file.close()
        build.bytes += size

    @property
    def _bytes(self) -> int:
        return sum(build.bytes for build in self._builds.values())

    async def _make_room(self) -> None:
        await self._clean()
        while len(self._builds) >= BUILDS_MAX:
            idle = [one for one in self._builds.values() if one.state in ("new", "failed", "cancelled") or one.loaded]
            if not idle:
                raise ConflictError(f"{BUILDS_MAX} builds are kept, which is the most", hint="forget one")
            await self.forget(idle[0])

    async def _clean(self) -> None:
        if not self._is_fresh:
            await _removed(self._folder)
            await _on_disk(lambda: self._folder.mkdir(parents=True, mode=0o700))
            self._is_fresh = True

    def _tell(self, build: Build) -> None:
        is_gone = build.id not in self._builds
        self.events.tell("build", {"id": build.id, "gone": True} if is_gone else build.told())


def _safe(name: str) -> str:
    return _UNKEPT.sub("_", name).lstrip(".")[-NAME_CHARACTERS_MAX:] or "file"


async def _on_disk(work: Any) -> Any:
    """In a thread. Raises UnavailableError for what the disk refuses."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise UnavailableError(f"files of builds: {error.strerror}", hint="is the disk full? `df` tells") from error


async def _removed(folder: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
