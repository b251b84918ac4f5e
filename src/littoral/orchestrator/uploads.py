"""Models that somebody brings as ONNX: compiled, quantised and measured in a process of its own, then registered."""

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.artifact import Model
from littoral.errors import InputError
from littoral.making.builds import Build, Builds
from littoral.making.orders import FIT, FORMER, BuildOrder, Int8Order, Order
from littoral.making.provenance import provenance
from littoral.orchestrator.api.artifacts import told_artifact
from littoral.orchestrator.fits import Fits
from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.registry import Registry
from littoral.orchestrator.store.rows import ArtifactRow
from littoral.updates.artifacts import NAME, Custom, Kind
from littoral.web import Answer, Protocol, Request, Route, Stream, decode_json, json_answer
from littoral.web.caller import CALLER

__all__ = ["UploadOrder", "uploads_protocol"]

PAUSE_S = 20.0
UNNAMED = re.compile(r"[^A-Za-z0-9_-]+")
NAME_CHARACTERS_MAX = 64
VARIANT_COUNT_MAX = 16
AT = "/api/fleet/uploads"

Sizes = Annotated[dict[str, list[Annotated[int, Meta(ge=1, le=1 << 31)]]], Meta(max_length=64)]
CHUNK_BYTES = 1 << 20


class UploadOrder(msgspec.Struct, forbid_unknown_fields=True):
    """How a model is compiled and what it is called in the registry; default: as in its file. version: in its manifest,
    the registry counts its own. shapes: for dimensions left open; variants: of each, instead.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    version: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    shapes: Sizes = {}
    variants: Annotated[list[Sizes], Meta(min_length=1, max_length=VARIANT_COUNT_MAX)] | None = None
    threads: Annotated[int, Meta(ge=1, le=8)] = 1
    target: Literal["relaxed", "simd128", "mvp"] = "relaxed"
    int8: Int8Order | None = None


def uploads_protocol(fleet: Fleet, registry: Registry, builds: Builds, fits: Fits) -> Protocol:
    """Files are streamed to the disk, bounded by `builds`."""
    uploads = _Uploads(fleet, registry, builds, fits)
    one = f"{AT}/{{upload}}"
    routes = (
        Route("GET", AT, uploads.told, is_always_taken=True),
        Route("POST", AT, uploads.add),
        Route("GET", one, uploads.one),
        Route("DELETE", one, uploads.forget),
        Route("POST", f"{one}/feeds", uploads.add_feed),
        Route("DELETE", f"{one}/feeds", uploads.forget_feeds),
        Route("POST", f"{one}/start", uploads.start),
        Route("POST", f"{one}/cancel", uploads.cancel),
    )
    return Protocol((), routes)


class _Uploads:
    def __init__(self, fleet: Fleet, registry: Registry, builds: Builds, fits: Fits) -> None:
        self._fleet = fleet
        self._registry = registry
        self._builds = builds
        self._fits = fits

    async def told(self, request: Request) -> Answer | Stream:
        if request.query.get("follow") == "1":
            return self._builds.events.stream()
        return json_answer({"builds": self._builds.told()})

    async def add(self, request: Request) -> Answer:
        """With `order`, JSON of an UploadOrder, it begins at once."""
        text = request.query.get("order")
        order = None if text is None else decode_json(text.encode(), UploadOrder)
        build = await self._builds.add(request.query.get("file", "model.onnx"), request.body.chunks(PAUSE_S))
        if order is not None and build.is_kept:
            self._start(build, order)
        return json_answer(build.told(), 200 if order is None else 202)

    async def one(self, request: Request) -> Answer:
        return json_answer(self._found(request).told())

    async def forget(self, request: Request) -> Answer:
        build = self._found(request)
        await self._builds.forget(build)
        return json_answer({"id": build.id, "gone": True})

    async def add_feed(self, request: Request) -> Answer:
        build = self._found(request)
        await self._builds.add_feed(build, request.query.get("file", "feed.npz"), request.body.chunks(PAUSE_S))
        return json_answer({"id": build.id, "feeds": build.feeds})

    async def forget_feeds(self, request: Request) -> Answer:
        build = self._found(request)
        await self._builds.forget_feeds(build)
        return json_answer({"id": build.id, "feeds": build.feeds})

    async def start(self, request: Request) -> Answer:
        build = self._found(request)
        self._start(build, await request.json(UploadOrder))
        return json_answer(build.told(), 202)

    async def cancel(self, request: Request) -> Answer:
        build = self._found(request)
        await self._builds.cancel(build)
        return json_answer(build.told())

    def _found(self, request: Request) -> Build:
        return self._builds.find(request.names["upload"])

    def _start(self, build: Build, order: UploadOrder) -> None:
        """Raises InputError for what a fleet's registry has not, ConflictError."""
        if order.int8 is not None and order.int8.through is not None:
            raise InputError("`int8.through` names a pipeline of a site", hint="give feeds as .npz or .npy")
        by, before = CALLER.get(), list[ArtifactRow]()

        async def prepare(begun: Build) -> None:
            before.extend(await self._with_former(begun, order))

        async def finish(done: Build) -> None:
            await self._finish(done, order.name, by, before)

        asked = Order(
            name=order.name, version=order.version, shapes=order.shapes, threads=order.threads, int8=order.int8
        )
        told = BuildOrder(asked, target=order.target, variants=order.variants, is_measured=True, has_fit=True)
        self._builds.start(build, told, finish, prepare)

    async def _with_former(self, build: Build, order: UploadOrder) -> list[ArtifactRow]:
        """The version before, whose fit lies in the build's folder from now on; none where there is none."""
        for left in (FORMER, FIT):
            await asyncio.to_thread((build.folder / left).unlink, missing_ok=True)
        before = None if order.int8 is None else await self._fits.newest(order.name or named("model", build.file))
        if before is None:
            return []
        await self._fits.copy(before, build.folder / FORMER)
        return [before]

    async def _finish(self, build: Build, name: str | None, by: str, before: list[ArtifactRow]) -> None:
        """What the registry says of it is told with the build."""
        manifest = Model.open(build.made).manifest
        report = dict(build.report or {})
        for one in before:
            report["figures"] = report["figures"] | {"changed_bytes": await self._fits.changed_bytes(build.made, one)}
        made_at = dt.datetime.fromtimestamp(self._fleet.clock.wall(), dt.UTC).isoformat(timespec="seconds")
        made = provenance(manifest, report, made_at=made_at, made_by=by)
        row = await self._registry.take(
            Kind.MODEL, name or named(manifest.name, build.file), None, _chunks(build.made), by, Custom(provenance=made)
        )
        if (fit := build.folder / FIT).exists():
            await self._fits.keep(row, fit, next(iter(before), None))
        build.artifact = told_artifact(row)
        build.loaded = row.target


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as stream:
        while data := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            yield data


def named(manifest_name: str, file: str) -> str:
    """A name for the registry of what a model calls itself, or of its file."""
    for text in (manifest_name, Path(file).stem):
        found = UNNAMED.sub("-", text).strip("-")[:NAME_CHARACTERS_MAX]
        if NAME.fullmatch(found):
            return found
    return "model"
