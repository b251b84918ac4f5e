"""OpenAI's embeddings API, so that the package `openai` works with a node as it is (docs/reference/openai.md).

A model is a pipeline that makes one vector of a text.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from littoral.errors import InputError, LittoralError, NotFoundError, TooLargeError
from littoral.gateway.order import Gateway
from littoral.node.caches import Caches, ToldEmbeddings, use_of
from littoral.node.embedders import Content, Embedder, Embedders
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.openai_errors import openai_error, openai_refusal
from littoral.node.pipelines_api import how_header
from littoral.node.request_options import request_deadline_ms
from littoral.node.told_model import model_header
from littoral.runtime.step import How
from littoral.vectors.embedding_cache import Embedding
from littoral.web import Answer, Protocol, Request, Route, decode_json, failure_of, json_answer

__all__ = ["EmbeddingsBody", "openai_protocol"]

TENANT = ""
TEXTS_MAX = 2048
IDS_MAX = 8192
INLINE_NUMBERS_MAX = 1 << 15  # more would hold up the event loop while they are written


class EmbeddingsBody(msgspec.Struct):
    """Unknown fields are ignored, as OpenAI's servers do: clients of other services send more."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None


_decode = msgspec.json.Decoder(EmbeddingsBody).decode


class _ParamError(Exception):
    """An error of which the caller is told the field, and a word for programs."""

    def __init__(self, error: LittoralError, param: str | None, code: str | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.param = param
        self.code = code


def openai_protocol(node: Node, observed: Observed) -> Protocol:
    """Errors are `{"error": {"message", "type", "param", "code"}}`."""

    embedders = Embedders(node, observed)
    remembered = how_header(How(node=node.name, cache="embedding"))

    async def embeddings(request: Request) -> Answer:
        return await _embeddings(node, embedders, request, remembered)

    async def models(_: Request) -> Answer:
        found = [_described(embedder, node) for embedder in embedders]
        return json_answer({"object": "list", "data": found + [_upstreams(*one, node) for one in await _others(node)]})

    async def model(request: Request) -> Answer:
        name = request.names["model"]
        if node.gateway is None or embedders.find(name) is not None:
            return json_answer(_described(_embedder(embedders, name), node))
        return json_answer(_upstreams(name, _upstream_of(node.gateway, name), node))

    routes = (
        Route("POST", "/v1/embeddings", _told(embeddings)),
        Route("GET", "/v1/models", _told(models)),
        Route("GET", "/v1/models/{model}", _told(model)),
    )
    return Protocol(("/v1",), routes, openai_refusal)


def _told(work: Callable[[Request], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Answer]]:
    """Errors with their type, which depends on whose fault they are."""

    async def answer(request: Request) -> Answer:
        param = code = None
        try:
            return await work(request)
        except _ParamError as told:
            failure, param, code = failure_of(told.error), told.param, told.code
        except Exception as error:  # noqa: BLE001  every request gets an answer
            failure = failure_of(error)
        said = openai_error(failure.message, failure.status, param=param, code=code)
        return json_answer(said, failure.status, *failure.headers)

    return answer


def _described(embedder: Embedder, node: Node) -> object:
    return {"id": embedder.name, "object": "model", "created": int(node.started_at), "owned_by": node.name}


def _upstreams(name: str, upstream: str, node: Node) -> object:
    return {"id": name, "object": "model", "created": int(node.started_at), "owned_by": upstream}


async def _others(node: Node) -> list[tuple[str, str]]:
    """Models of the gateway's upstreams, and whose they are, but for names that are pipelines here."""
    found = {} if node.gateway is None else await node.gateway.models()
    return [(name, upstream) for name, upstream in found.items() if name not in node.pipelines]


def _upstream_of(gateway: Gateway, name: str) -> str:
    """The first that takes this model, listed or by a pattern."""
    try:
        return gateway.upstream_of(name)
    except NotFoundError as error:
        raise _ParamError(error, "model", "model_not_found") from error


def _embedder(embedders: Embedders, name: str) -> Embedder:
    if (found := embedders.find(name)) is not None:
        return found
    known = ", ".join(f"`{embedder.name}`" for embedder in embedders) or "none"
    error = NotFoundError(
        f"model `{name[:80]}` is no pipeline that makes a vector of a text; those are: {known}",
        hint="docs/reference/openai.md says what such a pipeline is",
    )
    raise _ParamError(error, "model", "model_not_found")


async def _embeddings(node: Node, embedders: Embedders, request: Request, remembered: str) -> Answer:
    """remembered: `how` of an answer that the cache gave alone."""
    data, use, deadline_ms = await request.body.read(), use_of(request), request_deadline_ms(request)
    if use.find and (again := _told_again(node.caches, embedders, data)) is not None:
        return again
    body = _body(data)
    if embedders.find(body.model) is None and node.gateway is not None and node.gateway.takes(body.model):
        until_s = node.clock.monotonic() + deadline_ms / 1000
        whole = await node.gateway.embeddings(decode_json(data, dict), data, body.model, until_s)
        return Answer(whole.body, whole.status, headers=whole.headers)
    embedder = _embedder(embedders, body.model)
    source = embedder.source()
    found = await embedder.embed(_contents(body.input), node.caches, use, deadline_ms)
    numbers = sum(len(embedding.vector) for embedding in found.embeddings) // 4
    if numbers > INLINE_NUMBERS_MAX:
        told = await asyncio.to_thread(_data, body, found.embeddings)
    else:
        told = _data(body, found.embeddings)
    tokens = sum(embedding.tokens for embedding in found.embeddings)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    is_cached = found.cached == len(found.embeddings)
    how = remembered if is_cached else how_header(How(node=node.name, stages=dict(found.stages_ms)))
    headers = (("littoral-how", how), *model_header(found.model))
    answer = json_answer({"object": "list", "data": told, "model": body.model, "usage": usage}, 200, *headers)
    if is_cached and use.keep:
        kept = ToldEmbeddings(body.model, source, answer, found.cached)
        node.caches.told_embeddings.keep((TENANT, data), kept, len(data) + len(answer.body))
    return answer


def _told_again(caches: Caches, embedders: Embedders, data: bytes) -> Answer | None:
    """The answer to the same body, if the embeddings in it would be the same now."""
    if (told := caches.told_embeddings.find((TENANT, data))) is None:
        return None
    if (embedder := embedders.find(told.model)) is None or embedder.source() != told.source:
        return None
    caches.told_again_count += told.contents
    return told.answer


def _body(data: bytes) -> EmbeddingsBody:
    try:
        return _decode(data)
    except RecursionError as error:
        raise InputError("body: JSON is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"body: {error}") from error


def _contents(given: str | list[Any]) -> Sequence[Content]:
    """What is to be embedded. Raises _ParamError."""
    if isinstance(given, str) or (given and all(type(value) is int for value in given)):
        given = [given]
    if not given:
        raise _ParamError(InputError("`input` is an empty list, at least one text is needed"), "input")
    if len(given) > TEXTS_MAX:
        raise _ParamError(TooLargeError(f"`input` has {len(given)} entries, at most {TEXTS_MAX}"), "input")
    for index, value in enumerate(given):
        _check_content(value, index)
    return given


def _check_content(value: Any, index: int) -> None:
    if isinstance(value, str):
        if not value:
            raise _ParamError(InputError(f"`input[{index}]` is an empty text"), "input")
        return
    if not isinstance(value, list) or not value or not all(map(_is_id, value)):
        error = InputError(f"`input[{index}]` is no text and no list of token ids")
        raise _ParamError(error, "input")
    if len(value) > IDS_MAX:
        raise _ParamError(TooLargeError(f"`input[{index}]` has {len(value)} tokens, at most {IDS_MAX}"), "input")


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


def _data(body: EmbeddingsBody, embeddings: Sequence[Embedding]) -> list[object]:
    return [
        {"object": "embedding", "index": index, "embedding": _written(body, embedding)}
        for index, embedding in enumerate(embeddings)
    ]


def _written(body: EmbeddingsBody, embedding: Embedding) -> object:
    vector = embedding.vector
    if body.dimensions is not None:
        vector = _shortened(vector, body.dimensions)
    if body.encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return np.frombuffer(vector, "<f4").tolist()


def _shortened(vector: bytes, dimensions: int) -> bytes:
    """The first of its numbers, made a vector of length 1 again."""
    whole = np.frombuffer(vector, "<f4")
    if dimensions > len(whole):
        raise _ParamError(
            InputError(f"`dimensions` is {dimensions}, embeddings of this model have {len(whole)}"), "dimensions"
        )
    part = whole[:dimensions].astype(np.float64)
    length = float(np.sqrt(part @ part))
    return (part / (length or 1.0)).astype("<f4").tobytes()
