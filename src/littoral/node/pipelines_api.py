"""`POST /pipelines/{name}`: bytes or tensors in, hits or tensors out, and how it was made."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from littoral.errors import InputError, NotFoundError
from littoral.node.asked_recall import asking_recall, request_recall
from littoral.node.caches import USE, use_of
from littoral.node.node import Node, ServedPipeline
from littoral.node.observed import Observed
from littoral.node.origin import Origin, coming_from
from littoral.node.request_options import request_deadline_ms, request_priority
from littoral.node.text_answers import text_question
from littoral.node.told_model import model_header
from littoral.runtime.abi import check_tensors
from littoral.runtime.call import Call
from littoral.runtime.edges import BYTES, EdgeType, TensorsType, Value
from littoral.runtime.inputs import as_stored
from littoral.runtime.pipeline import Answer as PipelineAnswer
from littoral.runtime.step import How
from littoral.tensors import Array, TensorSpec, decode_frame, encode_frame
from littoral.vectors.model_version import ModelVersion
from littoral.vectors.records import Hit
from littoral.web import Answer, Protocol, Request, Route, decode_json, json_answer

__all__ = [
    "InputsBody",
    "how_header",
    "pipeline_input",
    "pipeline_named",
    "pipelines_protocol",
    "result_of",
    "status_error",
]

SAFETENSORS = "application/x-safetensors"
OCTETS = "application/octet-stream"
ID_HEADER = "littoral-id"
INLINE_BYTES_MAX = 1 << 18  # more would hold up the event loop while it is written as JSON


def pipelines_protocol(node: Node, observed: Observed) -> Protocol:
    """Errors are `{"status": {"error": …}, "time": s}`, as in Qdrant's API."""

    async def run(request: Request) -> Answer:
        return await _run(node, observed, request)

    async def names(_: Request) -> Answer:
        return json_answer({"status": "ok", "time": 0.0, "result": sorted(node.pipelines)})

    routes = (Route("POST", "/pipelines/{name}", run), Route("GET", "/pipelines", names))
    return Protocol(("/pipelines",), routes, status_error)


def status_error(message: str, _status: int, time_s: float) -> object:
    """The shape of an error, here and wherever else a pipeline is asked."""
    return {"status": {"error": message}, "time": time_s}


async def _run(node: Node, observed: Observed, request: Request) -> Answer:
    name = request.names["name"]
    served = pipeline_named(node, name)
    began = node.clock.monotonic()
    with observed.pipeline(name) as outcome:
        deadline_ms, priority = request_deadline_ms(request), request_priority(request)
        USE.set(use_of(request))
        served.pipeline.admission.check(Call(priority=priority))  # before the body is read
        data = await request.body.read()
        value = pipeline_input(served, data, request.media_type)
        question = text_question(node, served, data, USE.get())
        if question is not None and (known := question.find()) is not None:
            return await _told(served, known, request, began_s=began, node=node)
        embeds = served.embeds
        origin = Origin(data, request.headers.get(ID_HEADER, ""), at=node.clock.wall())
        with coming_from(origin), asking_recall(request_recall(request)):
            answer = await served.pipeline.run(value, deadline_ms=deadline_ms, priority=priority)
        outcome.stages_ms = answer.how.stages
        if question is not None:
            question.keep(answer)
        return await _told(served, answer, request, began_s=began, node=node, embeds=embeds)


def pipeline_named(node: Node, name: str) -> ServedPipeline:
    """Raises NotFoundError naming those that are there."""
    if (served := node.pipelines.get(name)) is None:
        node.check_delivered(name)
        known = ", ".join(f"`{known}`" for known in node.pipelines) or "none"
        raise NotFoundError(f"pipeline `{name[:80]}` is unknown, known: {known}")
    return served


def pipeline_input(served: ServedPipeline, data: bytes, media_type: str) -> Value:
    """What the pipeline takes: bytes as they are; tensors as JSON or as one safetensors frame. Raises InputError."""
    takes = served.pipeline.takes
    if takes == BYTES:
        if not data:
            raise InputError(f"pipeline `{served.name}`: body is empty, it takes {takes}")
        return data
    if not isinstance(takes, TensorsType):
        raise InputError(f"pipeline `{served.name}` takes {takes}, which no request can bring")
    label = f"pipeline `{served.name}`: input"
    tensors = decode_frame(data) if media_type == SAFETENSORS else _tensors(data, takes.ports, label)
    check_tensors(tensors, takes.ports, label, InputError)
    return tensors


class InputsBody(msgspec.Struct, forbid_unknown_fields=True):
    inputs: dict[str, Any]


def _tensors(data: bytes, ports: Sequence[TensorSpec], label: str) -> dict[str, Array]:
    given = decode_json(data, InputsBody).inputs
    dtypes = {port.name: port.dtype for port in ports}
    for name in given:
        if name not in dtypes:
            raise InputError(f"{label} `{name[:80]}` is unknown, takes {TensorsType(tuple(ports))}")
    return {name: as_stored(value, dtypes[name], f"{label} `{name}`") for name, value in given.items()}


async def _told(
    served: ServedPipeline,
    answer: PipelineAnswer,
    request: Request,
    *,
    began_s: float,
    node: Node,
    embeds: ModelVersion | None = None,
) -> Answer:
    headers = (("littoral-how", how_header(answer.how)), *model_header(embeds))
    value, gives = answer.value, served.pipeline.gives
    if isinstance(value, Mapping) and request.accepts(SAFETENSORS):
        return Answer(encode_frame(value, _dtypes(gives)), 200, SAFETENSORS, headers)
    if isinstance(value, bytes) and request.accepts(OCTETS):
        return Answer(value, 200, OCTETS, headers)
    size = sum(array.nbytes for array in value.values()) if isinstance(value, Mapping) else 0
    result = await asyncio.to_thread(result_of, value, gives) if size > INLINE_BYTES_MAX else result_of(value, gives)
    time_s = node.clock.monotonic() - began_s
    return json_answer({"status": "ok", "time": time_s, "result": result, "how": answer.how}, 200, *headers)


def how_header(how: How) -> str:
    """Compact JSON in ASCII, which is what a header may hold."""
    text = msgspec.json.encode(how)
    return text.decode() if text.isascii() else json.dumps(msgspec.to_builtins(how), separators=(",", ":"))


def result_of(value: Value, gives: EdgeType) -> object:
    """Hits as a list, everything else as `{"outputs": {name: …}}`."""
    if isinstance(value, bytes):
        return {"outputs": {"output": _bytes(value)}}
    if isinstance(value, Mapping):
        dtypes = _dtypes(gives)
        return {"outputs": {name: _tensor(array, dtypes.get(name, "")) for name, array in value.items()}}
    return [_hit(hit) for hit in value]


def _hit(hit: object) -> object:
    if isinstance(hit, list):
        return [_hit(one) for one in hit]
    return {"id": hit.id, "score": hit.score, "payload": hit.payload} if isinstance(hit, Hit) else hit


def _tensor(array: Array, dtype: str) -> object:
    return {"dtype": dtype or array.dtype.name, "shape": list(array.shape), "data": array.tolist()}


def _bytes(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"dtype": "bytes", "shape": [len(value)], "data": base64.b64encode(value).decode()}


def _dtypes(gives: EdgeType) -> dict[str, str]:
    return {port.name: port.dtype for port in gives.ports} if isinstance(gives, TensorsType) else {}
