"""`/v2/…`: the Open Inference Protocol over HTTP. Errors are `{"error": …}`."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import msgspec

from littoral.node.caches import USE, use_of
from littoral.node.oip import control
from littoral.node.oip.descriptions import config, model_metadata, server_metadata, statistics
from littoral.node.oip.http_bodies import decode_request, encode_answer
from littoral.node.oip.inference import Inference
from littoral.node.oip.requests import InferAnswer
from littoral.node.oip.targets import Target
from littoral.node.pipelines_api import how_header
from littoral.node.request_options import DEADLINE_HEADER, request_deadline_ms
from littoral.web import (
    Answer,
    Handler,
    Protocol,
    Request,
    Route,
    compressed,
    decode_json,
    json_answer,
    wanted_encoding,
)

__all__ = ["IndexAsked", "RepositoryAsked", "oip_protocol"]

HEAD_BYTES = "inference-header-content-length"
OCTETS = "application/octet-stream"
INLINE_BYTES_MAX = 1 << 18  # more would hold up the event loop while it is written as JSON or compressed

_P = ParamSpec("_P")
_R = TypeVar("_R")


class RepositoryAsked(msgspec.Struct):
    parameters: dict[str, Any] = {}


class IndexAsked(msgspec.Struct):
    ready: bool = False


def oip_protocol(inference: Inference) -> Protocol:
    """Every model and pipeline of the node is a model of the protocol."""
    told, changes = _Told(inference), _Changes(inference)

    async def infer(request: Request) -> Answer:
        return await _infer(inference, request)

    probes = (
        Route("GET", "/v2/health/live", told.live, is_always_taken=True),
        Route("GET", "/v2/health/ready", told.ready, is_always_taken=True),
        *_versions("GET", "/ready", told.model_ready, is_always_taken=True),
    )
    routes = (
        Route("GET", "/v2", told.server),
        Route("GET", "/v2/models/stats", told.stats),
        *_versions("GET", "", told.model),
        *_versions("GET", "/config", told.config),
        *_versions("GET", "/stats", told.stats),
        *_versions("POST", "/infer", infer),
        Route("POST", "/v2/repository/index", changes.index),
        Route("POST", "/v2/repository/models/{model}/load", changes.load),
        Route("POST", "/v2/repository/models/{model}/unload", changes.unload),
    )
    return Protocol(("/v2",), (*probes, *routes))


class _Told:
    """What is told of server and models."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._targets = inference.targets

    async def live(self, _: Request) -> Answer:
        return json_answer({"live": True})

    async def ready(self, _: Request) -> Answer:
        is_ready = self._inference.node.is_ready
        return json_answer({"ready": is_ready}, 200 if is_ready else 503)

    async def server(self, _: Request) -> Answer:
        return json_answer(server_metadata())

    async def model(self, request: Request) -> Answer:
        return json_answer(model_metadata(self._find(request), self._targets.versions(request.names["model"])))

    async def model_ready(self, request: Request) -> Answer:
        is_ready = self._targets.is_ready(request.names["model"], request.names.get("version", ""))
        return json_answer({"name": request.names["model"], "ready": is_ready}, 200 if is_ready else 503)

    async def config(self, request: Request) -> Answer:
        return json_answer(config(self._find(request)))

    async def stats(self, request: Request) -> Answer:
        found = self._inference.asked_statistics(request.names.get("model", ""), request.names.get("version", ""))
        return json_answer({"model_stats": [statistics(target, counted) for target, counted in found]})

    def _find(self, request: Request) -> Target:
        return self._targets.find(request.names["model"], request.names.get("version", ""))


class _Changes:
    """The repository of models."""

    def __init__(self, inference: Inference) -> None:
        self._node = inference.node
        self._targets = inference.targets

    async def index(self, request: Request) -> Answer:
        body = await request.body.read()
        asked = decode_json(body, IndexAsked) if body else IndexAsked()
        return json_answer(self._targets.index(only_ready=asked.ready))

    async def load(self, request: Request) -> Answer:
        await control.load(self._node, request.names["model"], await _parameters(request))
        return json_answer({})

    async def unload(self, request: Request) -> Answer:
        await _parameters(request)
        await control.unload(self._node, request.names["model"])
        return json_answer({})


def _versions(method: str, rest: str, handler: Handler, *, is_always_taken: bool = False) -> Sequence[Route]:
    pattern = "/v2/models/{model}"
    return [
        Route(method, f"{pattern}{rest}", handler, is_always_taken),
        Route(method, f"{pattern}/versions/{{version}}{rest}", handler, is_always_taken),
    ]


async def _parameters(request: Request) -> dict[str, Any]:
    body = await request.body.read()
    if len(body) > INLINE_BYTES_MAX:
        return (await asyncio.to_thread(decode_json, body, RepositoryAsked)).parameters
    return decode_json(body, RepositoryAsked).parameters if body else {}


async def _infer(inference: Inference, request: Request) -> Answer:
    body = await request.body.read()
    USE.set(use_of(request))
    head_bytes = request.headers.get(HEAD_BYTES)
    json_bytes = len(body) if head_bytes is None else 0
    asked = await _aside(json_bytes, decode_request, body, head_bytes, _deadline_ms(request))
    answer = await inference.infer(request.names["model"], request.names.get("version", ""), asked.request)
    data, head_size = await _aside(_size(answer), encode_answer, asked, answer)
    headers = [("littoral-how", how_header(answer.how))]
    if head_size is not None:
        headers.append((HEAD_BYTES, str(head_size)))
    if encoding := wanted_encoding(request.headers):
        data = await _aside(len(data), compressed, data, encoding)
        headers.append(("content-encoding", encoding))
    return Answer(data, 200, "application/json" if head_size is None else OCTETS, tuple(headers))


def _deadline_ms(request: Request) -> float | None:
    return request_deadline_ms(request) if request.headers.get(DEADLINE_HEADER) is not None else None


def _size(answer: InferAnswer) -> int:
    """Bytes of the outputs, more or less."""
    return sum(len(o.values) if isinstance(o.values, list) else o.values.nbytes for o in answer.outputs)


async def _aside(size: int, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """At once if it is little, else beside the event loop."""
    if size > INLINE_BYTES_MAX:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
