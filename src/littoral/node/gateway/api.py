"""OpenAI's chat completions and completions, by way of the gateway (docs/reference/gateway.md)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec

from littoral.errors import (
    DeadlineError,
    NotFoundError,
    NotOfferedError,
    SpentError,
    UnavailableError,
    UpstreamError,
)
from littoral.gateway.order import Gateway
from littoral.gateway.question import Kind, Whole, read_question
from littoral.node.node import Node
from littoral.node.openai_errors import openai_error
from littoral.node.request_options import DEADLINE_HEADER, request_deadline_ms
from littoral.web import Answer, Protocol, Request, Route, Stream, failure_of, json_answer
from littoral.web.caller import CALLER

__all__ = ["ChatBody", "CompletionBody", "FeedbackBody", "gateway_error", "gateway_protocol", "gateway_told"]

EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
AUTHOR_BYTES = 16
STATUS = {"timeout": 504, "not_cached": 504, "busy": 429}
DEADLINE_S = 600.0


class CompletionBody(msgspec.Struct):
    """Of OpenAI's completions: what is looked at here. All else goes to the service as it is."""

    model: str
    prompt: str | list[Any]
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class ChatBody(msgspec.Struct):
    """Of OpenAI's chat completions: what is looked at here. All else goes to the service as it is."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class FeedbackBody(msgspec.Struct, forbid_unknown_fields=True):
    """Whether an answer that was told again was right. id: of the header `x-littoral-answer-id`."""

    id: Annotated[str, msgspec.Meta(max_length=256)]
    is_correct: bool


def gateway_protocol(node: Node) -> Protocol:
    """Errors are OpenAI's, as of the embeddings: `{"error": {"message", "type", "param", "code"}}`."""

    async def chat(request: Request) -> Answer | Stream:
        return await _answered(node, request, "chat")

    async def completion(request: Request) -> Answer | Stream:
        return await _answered(node, request, "completion")

    async def feedback(request: Request) -> Answer:
        gateway, body = _gateway(node), await request.json(FeedbackBody)
        if gateway.answers is None:
            raise NotFoundError("this gateway remembers no answers")
        await gateway.answers.labelled(body.id, _author(), is_correct=body.is_correct)
        return json_answer({"id": body.id, "is_correct": body.is_correct})

    routes = (
        Route("POST", "/v1/chat/completions", gateway_told(chat)),
        Route("POST", "/v1/completions", gateway_told(completion)),
        Route("POST", "/v1/littoral/feedback", gateway_told(feedback, missing="answer_not_found")),
    )
    return Protocol((), routes)


def gateway_error(error: Exception, missing: str = "model_not_found") -> Answer:
    """In OpenAI's shape, with the words that clients look for. missing: the code of what is not found."""
    failure = failure_of(error)
    status, headers, kind, code = failure.status, failure.headers, None, None
    match error:
        case UpstreamError():
            status, code = STATUS.get(error.kind, 502), f"upstream_{error.kind}"
            if error.kind == "busy":
                code = "rate_limit_exceeded"
                headers = (("retry-after", str(max(1, round(error.retry_after_s or 1)))),)
        case SpentError():
            kind, code = "insufficient_quota", "insufficient_quota"
        case NotFoundError():
            code = missing
        case UnavailableError():
            code = "unavailable"
        case DeadlineError():
            code = "timeout"
        case _:
            pass
    return json_answer(openai_error(failure.message, status, kind=kind, code=code), status, *headers)


def gateway_told(
    work: Callable[[Request], Awaitable[Answer | Stream]], missing: str = "model_not_found"
) -> Callable[[Request], Awaitable[Answer | Stream]]:
    """Errors as answers. missing: as of `gateway_error`."""

    async def answer(request: Request) -> Answer | Stream:
        try:
            return await work(request)
        except Exception as error:  # noqa: BLE001  every request gets an answer
            return gateway_error(error, missing)

    return answer


def _gateway(node: Node) -> Gateway:
    if node.gateway is None:
        raise NotOfferedError(
            "this node has no gateway to language models", hint="the table `gateway` of the site file names upstreams"
        )
    return node.gateway


async def _answered(node: Node, request: Request, kind: Kind) -> Answer | Stream:
    gateway = _gateway(node)
    data = await request.body.read()
    cache_control = str(request.headers.get("cache-control", ""))
    if not cache_control and (again := gateway.again(kind, data)) is not None:
        body, is_stream, headers = again
        return Answer(body, 200, EVENTS if is_stream else JSON, headers)
    has_deadline = request.headers.get(DEADLINE_HEADER) is not None or request.query_text
    deadline_s = request_deadline_ms(request) / 1000 if has_deadline else DEADLINE_S
    question = read_question(
        kind,
        data,
        author=_author(),
        cache_control=cache_control,
        until_s=node.clock.monotonic() + deadline_s,
    )
    told = await gateway.answer(question)
    if isinstance(told, Whole):
        return Answer(told.body, told.status, headers=told.headers)
    return Stream(told.chunks, EVENTS, headers=told.headers)


def _author() -> bytes:
    """Digest of whose token asks."""
    return hashlib.sha256(CALLER.get().encode()).digest()[:AUTHOR_BYTES]
