"""`/api/builds`: models made of files on the node itself. `/api/compared`: two of them on the same input."""

import asyncio
from pathlib import Path

import msgspec

from littoral.errors import ConflictError, InputError, ModelError, NotFoundError, SettingError, TrustError
from littoral.making.agent_feeds import FeedAgent
from littoral.making.builds import Builds
from littoral.making.orders import BuildOrder, CompareOrder, Order
from littoral.node.making.adding import add_model, is_added, put_back, remove_model, replace_model
from littoral.node.making.taking import Taken, file_with, go_back, take
from littoral.node.making.through import agents_before
from littoral.node.node import Node, ServedModel
from littoral.node.site import Site
from littoral.node.site_tables import AgentStepTable, ModelStepTable, Name
from littoral.web import Answer, Request, Route, Stream, json_answer

__all__ = ["AddBody", "LoadBody", "build_routes"]

PAUSE_S = 20.0
BUILD = "build:"


class LoadBody(msgspec.Struct, forbid_unknown_fields=True):
    """model: of the site file."""

    model: str


class AddBody(msgspec.Struct, forbid_unknown_fields=True):
    """model: a name that the site file does not have yet."""

    model: Name


def build_routes(node: Node, builds: Builds) -> list[Route]:
    """Files are streamed to the disk; they are not bounded as other bodies are, but by `builds`."""
    files, models = _Files(node, builds), _Models(node, builds)
    at = "/api/builds/{build}"
    return [
        Route("GET", "/api/builds", files.told, is_always_taken=True),
        Route("POST", "/api/builds", files.add),
        Route("GET", at, files.one),
        Route("DELETE", at, files.forget),
        Route("POST", f"{at}/feeds", files.add_feed),
        Route("DELETE", f"{at}/feeds", files.forget_feeds),
        Route("POST", f"{at}/start", models.start),
        Route("POST", f"{at}/cancel", models.cancel),
        Route("POST", f"{at}/load", models.load),
        Route("POST", f"{at}/add", models.add),
        Route("POST", "/api/models/{name}/back", models.back),
        Route("DELETE", "/api/models/{name}", models.remove),
        Route("POST", "/api/compared", models.compared),
    ]


class _Files:
    """What is brought, and what is known of it."""

    def __init__(self, node: Node, builds: Builds) -> None:
        self._node = node
        self._builds = builds

    async def told(self, request: Request) -> Answer | Stream:
        if request.query.get("follow") == "1":
            return self._builds.events.stream()
        return json_answer({"builds": self._builds.told(), "through": _throughs(self._node.site)})

    async def add(self, request: Request) -> Answer:
        build = await self._builds.add(request.query.get("file", "model"), request.body.chunks(PAUSE_S))
        return json_answer(build.told())

    async def one(self, request: Request) -> Answer:
        return json_answer(self._builds.find(request.names["build"]).told())

    async def forget(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        await self._builds.forget(build)
        return json_answer({"id": build.id, "gone": True})

    async def add_feed(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        await self._builds.add_feed(build, request.query.get("file", "feed.npz"), request.body.chunks(PAUSE_S))
        return json_answer({"id": build.id, "feeds": build.feeds})

    async def forget_feeds(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        await self._builds.forget_feeds(build)
        return json_answer({"id": build.id, "feeds": build.feeds})


class _Models:
    """What is made of it."""

    def __init__(self, node: Node, builds: Builds) -> None:
        self._node = node
        self._builds = builds

    async def start(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        self._builds.start(build, _ordered(self._node, await request.json(Order)))
        return json_answer(build.told(), 202)

    async def cancel(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        await self._builds.cancel(build)
        return json_answer(build.told())

    async def load(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        asked = await request.json(LoadBody)
        taken = await _taken(self._node, asked.model, build.model)
        self._builds.note_loaded(build, f"{taken.model}@{taken.number}")
        return json_answer(taken._asdict())

    async def add(self, request: Request) -> Answer:
        build = self._builds.find(request.names["build"])
        asked = await request.json(AddBody)
        added = await add_model(self._node, asked.model, build.model)
        self._builds.note_loaded(build, f"{added.model}@1")
        return json_answer(added._asdict())

    async def remove(self, request: Request) -> Answer:
        return json_answer((await remove_model(self._node, request.names["name"]))._asdict())

    async def back(self, request: Request) -> Answer:
        name = request.names["name"]
        return json_answer((await (put_back if is_added(self._node, name) else go_back)(self._node, name))._asdict())

    async def compared(self, request: Request) -> Answer:
        query = request.query
        wanted = [query[side] for side in ("one", "other") if query.get(side)]
        if not wanted:
            raise InputError("parameter `one` is missing, expected `NAME@NUMBER` or `build:ID`")
        modules = [str(await _module(self._node, self._builds, one)) for one in wanted]
        order = CompareOrder(modules, through=_through(self._node.site, query.get("through")))
        chunks = request.body.chunks(PAUSE_S)
        return json_answer(await self._builds.compare(order, chunks, query.get("file", "input.npz")))


async def _taken(node: Node, model: str, module: Path) -> Taken:
    """What is wrong with the module is the caller's affair."""
    try:
        return await (replace_model if is_added(node, model) else take)(node, model, module)
    except (ModelError, TrustError, SettingError) as error:
        raise ConflictError(f"model `{model}`: {error.message}", hint=error.hint) from error


def _ordered(node: Node, order: Order) -> BuildOrder:
    """With what the site knows. Raises NotFoundError, InputError."""
    through = None if order.int8 is None else _through(node.site, order.int8.through)
    if order.like is None:
        return BuildOrder(order, through)
    manifest = _served(node, order.like).model.manifest
    order.name = order.name or manifest.name
    return BuildOrder(order, through, manifest.labels, manifest.preprocess)


def _served(node: Node, name: str) -> ServedModel:
    if (found := node.models.get(name)) is None:
        raise NotFoundError(f"model `{name[:80]}` is unknown")
    return found


def _throughs(site: Site | None) -> list[str]:
    """Pipelines that begin with agents, and then have a model."""
    if site is None:
        return []
    return [name for name in site.pipelines if _begins_with_agents(site, name)]


def _begins_with_agents(site: Site, name: str) -> bool:
    kinds = [type(step) for step in site.pipelines[name]]
    before = kinds.index(ModelStepTable) if ModelStepTable in kinds else 0
    return before > 0 and set(kinds[:before]) == {AgentStepTable}


def _through(site: Site | None, pipeline: str | None) -> tuple[FeedAgent, ...] | None:
    """As a worker is told it. Raises InputError."""
    if not pipeline:
        return None
    if site is None or pipeline not in _throughs(site):
        known = ", ".join(f"`{name}`" for name in _throughs(site)) or "none"
        raise InputError(f"pipeline `{pipeline[:80]}` does not begin with agents and a model; those that do: {known}")
    return agents_before(site, pipeline)


async def _module(node: Node, builds: Builds, wanted: str) -> Path:
    """The file of `NAME@NUMBER`, or of `build:ID`. Raises NotFoundError."""
    if wanted.startswith(BUILD):
        return builds.find(wanted.removeprefix(BUILD)).model
    name, _, number = wanted.rpartition("@")
    served = _served(node, name)
    open_versions = {str(one): version for one, version in served.versions.items()}
    if (version := open_versions.get(number)) is None:
        known = ", ".join(open_versions) or "none"
        raise NotFoundError(f"model `{name}`: version `{number[:20]}` is not open, open: {known}")
    path = None if node.site is None else node.site.path_of(node.site.models[name].path)
    file = None if path is None else await asyncio.to_thread(file_with, path, version.model.digest)
    if file is None:
        raise NotFoundError(f"model `{name}`: version {number} lies in no file here", hint="it was uploaded")
    return file
