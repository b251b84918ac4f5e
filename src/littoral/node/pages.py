"""The page at `/` and its files, and what they read: `/api/…`."""

from importlib import metadata
from typing import Any

from littoral.errors import NotFoundError
from littoral.node.collection_status import collection_states
from littoral.node.federation.spread_collection import SpreadCollection
from littoral.node.migration.migration import Told
from littoral.node.node import Node, ServedAgent, ServedModel, ServedPipeline
from littoral.node.observed import Observed
from littoral.node.request_statistics import RequestStatistics
from littoral.node.shown.outlines import PAGES, outlined, without
from littoral.node.site import Site
from littoral.runtime.quarantine import Quarantine
from littoral.vectors.collection import Collection
from littoral.vectors.records import ShardInfo
from littoral.web import Answer, PageAssets, Protocol, Request, Route, Stream, json_answer

__all__ = ["api_protocol", "page_protocol"]

COLLECTION_S = 2.0
TITLE = "littoral - vector search engine"
# `qdrant-client` warns where the version of the server is not near its own: the API we speak, not our version.
QDRANT_VERSION = "1.20.0"


def version() -> str:
    return metadata.version("littoral")


def page_protocol(*, has_gateway: bool = False) -> Protocol:
    """`/` is a page for browsers, and for clients of Qdrant what they ask at the start. `/pages/{page}`: one file for
    all of them, with the outline of each in it; the script knows which it is. has_gateway: the bars lead to its page.
    """
    assets = PageAssets()
    files = assets.names()
    for name in PAGES:
        assets.put(f"pages/{name}.html", outlined(assets.text("page.html"), name))
    if not has_gateway:
        for name in ("index.html", *(f"pages/{name}.html" for name in PAGES if name != "gateway")):
            assets.put(name, without(assets.text(name), "gateway"))

    async def root(request: Request) -> Answer:
        if request.accepts("text/html"):
            page = assets.answer("index.html", request)
            return Answer(page.body, page.status, page.media_type, (*page.headers, ("vary", "accept")))
        return json_answer({"title": TITLE, "version": QDRANT_VERSION, "commit": version()}, 200, ("vary", "accept"))

    def file_route(name: str) -> Route:
        async def answer(request: Request) -> Answer:
            return assets.answer(name, request)

        return Route("GET", f"/assets/{name}", answer, label="/assets/{file}")

    async def page(request: Request) -> Answer:
        if (name := request.names["page"]) not in PAGES:
            raise NotFoundError(f"page `{name[:80]}` is unknown, known: {', '.join(PAGES)}")
        return assets.answer(f"pages/{name}.html", request)

    routes = [Route("GET", "/", root), Route("GET", "/pages/{page}", page), *map(file_route, files)]
    return Protocol(("/assets", "/pages"), routes)


def api_protocol(node: Node, observed: Observed) -> Protocol:
    """JSON for the page, and for people with curl."""

    async def told_node(_: Request) -> Answer:
        return json_answer(_node(node))

    async def pipelines(_: Request) -> Answer:
        return json_answer([_pipeline(p, observed.statistics[name]) for name, p in node.pipelines.items()])

    async def models(_: Request) -> Answer:
        return json_answer([_model(model) for model in node.models.values()])

    async def agents(_: Request) -> Answer:
        found = () if node.tenant else node.agents.values()  # tenants share them
        return json_answer([_agent(agent, node.site) for agent in found])

    async def model(request: Request) -> Answer:
        name = request.names["name"]
        if (found := node.models.get(name)) is None:
            raise NotFoundError(f"model `{name[:80]}` is unknown")
        return json_answer(_model(found) | _model_details(found))

    async def collections(_: Request) -> Answer:
        return json_answer(await _collections(node))

    async def events(_: Request) -> Stream:
        return observed.events.stream()

    routes = (
        Route("GET", "/api/node", told_node),
        Route("GET", "/api/pipelines", pipelines),
        Route("GET", "/api/models", models),
        Route("GET", "/api/agents", agents),
        Route("GET", "/api/models/{name}", model),
        Route("GET", "/api/collections", collections),
        Route("GET", "/api/events", events, is_always_taken=True),
    )
    return Protocol(("/api",), routes)


def _node(node: Node) -> dict[str, Any]:
    told = {"name": node.name, "version": version(), "started_at": node.started_at}
    return told | {"uptime_s": node.uptime_s, "ready": node.is_ready, "listen": node.listen}


def _pipeline(served: ServedPipeline, statistics: RequestStatistics) -> dict[str, Any]:
    pipeline = served.pipeline
    told = {"name": served.name, "takes": str(pipeline.takes), "gives": str(pipeline.gives)}
    counts: dict[str, Any] = {"requests": statistics.requests, "failures": statistics.failures}
    counts["refused"] = pipeline.admission.statistics().refused
    stages = {name: quantiles._asdict() for name, quantiles in statistics.stages().items()}
    steps = [step._asdict() for step in served.steps]
    return told | {"steps": steps} | counts | statistics.total()._asdict() | {"stages": stages}


def _model(served: ServedModel) -> dict[str, Any]:
    manifest, session, pool = served.model.manifest, served.pool.first, served.pool.statistics()
    file_bytes, weights_bytes = served.model.size_bytes, manifest.memory.weights[1]
    return {
        "name": served.name,
        "version": manifest.version,
        "sha256": served.model.digest,
        "engine": session.engine,
        "inputs": session.inputs,
        "outputs": session.outputs,
        "memory_bytes": session.memory_bytes,
        "weights_bytes": weights_bytes,
        "code_bytes": max(0, file_bytes - weights_bytes),
        "file_bytes": file_bytes,
        "layer_count": len(manifest.layers),
        "macs": sum(layer.macs for layer in manifest.layers),
        "instances": {**served.instances._asdict(), "busy": 0 if served.is_shared else pool.busy},
        "runs": served.statistics.success_count if served.is_shared else pool.runs,
        "number": served.serving.number if served.is_loaded else None,
        "quarantine": None if served.is_shared else _quarantine(served.pool.quarantine),
    }


def _agent(served: ServedAgent, site: Site | None) -> dict[str, Any]:
    agent, pool, own = served.pool.first, served.pool.statistics(), served.pool.first.statistics()
    table = None if site is None else site.agents.get(served.name)
    told = {
        "name": served.name,
        "version": agent.manifest.version,
        "input": agent.input,
        "output": agent.output,
        "memory_bytes": own.memory_bytes,
        "memory_bytes_max": agent.memory_bytes_max,
        "instances": {**served.instances._asdict(), "busy": pool.busy},
        "runs": pool.runs,
        "failures": pool.failures,
        "log_lines_dropped": own.log_lines_dropped,
        "quarantine": _quarantine(served.pool.quarantine),
    }
    return told | {
        "sha256": agent.digest,
        "path": None if table is None else table.path,
        "grants": [] if table is None else table.grants,
        "imports": agent.imports,
        "deadline_ms": agent.deadline_ms,
        "ends": served.pool.ends,
        "waiting": pool.waiting,
        "refused": pool.refused,
        "run_mean_ms": pool.work_ms if pool.runs else None,
        "worked_s": pool.worked_s,
    }


def _quarantine(found: Quarantine | None) -> dict[str, Any] | None:
    """None while the guest may be called."""
    state = None if found is None else found.state
    if state is None:
        return None
    return {"reason": state.reason, "failures": state.failures, "retry_s": round(state.retry_s, 3)}


def _model_details(served: ServedModel) -> dict[str, Any]:
    manifest = served.model.manifest
    layers = [{"name": la.name, "kind": la.kind, "macs": la.macs, "bytes": la.bytes} for la in manifest.layers]
    return {"layers": layers, "labels": manifest.labels}


async def _collections(node: Node) -> list[dict[str, Any]]:
    damaged = [
        {"name": name, "points_count": None, "indexed_vectors_count": None, "size": None, "distance": None}
        | {"status": error.message, "epoch": None}
        for name, error in node.collections.damaged.items()
    ]
    states = await collection_states(node.collections, COLLECTION_S)
    running = {} if node.migrations is None else node.migrations.all()
    found = [_collection(collection, state) | _anew(running.get(collection.name)) for collection, state in states]
    return found + damaged


def _anew(told: Told | None) -> dict[str, Any]:
    """What of a collection is embedded anew, if anything is. to: models by vector, for people."""
    if told is None:
        return {"migration": None}
    progress = told.progress
    to = progress.current if progress.state == "flipped" else progress.other
    numbers = {"points": progress.points, "done": progress.done}
    return {"migration": {"to": str(to), "state": progress.state, **numbers}}


def _collection(collection: Collection, info: ShardInfo | Exception) -> dict[str, Any]:
    dense = collection.config.dense
    first = next(iter(dense.values()), None)
    told: dict[str, Any] = {"name": collection.name, "size": None, "distance": None}
    told["is_spread"] = isinstance(collection, SpreadCollection)
    told["vectors"] = [
        {
            "name": name,
            "size": one.size,
            "distance": one.distance,
            "is_multi": one.multivector_config is not None,
            "models": [str(model) for model in collection.config.models_of(name)],
        }
        for name, one in dense.items()
    ]
    if first is not None:
        told |= {"size": first.size, "distance": first.distance}
    if isinstance(info, ShardInfo):
        counts = {"points_count": info.points_count, "indexed_vectors_count": info.indexed_vectors_count}
        return told | counts | {"status": "ok", "epoch": info.epoch}
    return told | {"points_count": None, "indexed_vectors_count": None, "status": str(info), "epoch": collection.epoch}
