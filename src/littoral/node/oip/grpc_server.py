"""The one door to gRPC: the Open Inference Protocol at a port of its own (extra `littoral[grpc]`).

The service has the name that clients know, its messages one of our own (`grpc_messages`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from littoral.errors import (
    AgentError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    FullDiskError,
    InputError,
    LittoralError,
    NotFoundError,
    NotOfferedError,
    QuotaError,
    RequestError,
    SlowRequestError,
    TooLargeError,
    TooOftenError,
    UnauthorizedError,
    UnavailableError,
)
from littoral.node.access.roles import RIGHTS
from littoral.node.oip import control
from littoral.node.oip.descriptions import config, model_metadata, server_metadata, statistics
from littoral.node.oip.grpc_bodies import answer_of, parameters_of, request_of
from littoral.node.oip.grpc_health import HEALTH, Health, asked_service, health_answer
from littoral.node.oip.grpc_messages import messages
from littoral.node.oip.inference import Inference
from littoral.node.pipelines_api import how_header
from littoral.node.request_rate import Rate
from littoral.telemetry import Trace, root_span
from littoral.vectors.layout import socket_path
from littoral.web import Certificates, Leave, Relay, relaying
from littoral.web.access.access import Access
from littoral.web.failures import failure_of

__all__ = ["serving_grpc"]

SERVICE = "inference.GRPCInferenceService"
HOW = "littoral-how"
RPC = {"rpc.system": "grpc", "rpc.service": SERVICE}
REQUEST_COUNT_MAX = 64
HANDSHAKE_MS = 5000
GRACE_S = 0.5
LEAVE_CHECK_S = 0.5
MESSAGE_S = 20.0
_STATUS: dict[type[LittoralError], grpc.StatusCode] = {
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    TooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotOfferedError: grpc.StatusCode.UNIMPLEMENTED,
    UnauthorizedError: grpc.StatusCode.UNAUTHENTICATED,
    ForbiddenError: grpc.StatusCode.PERMISSION_DENIED,
    QuotaError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooOftenError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    SlowRequestError: grpc.StatusCode.DEADLINE_EXCEEDED,
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    AgentError: grpc.StatusCode.INVALID_ARGUMENT,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    FullDiskError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    LittoralError: grpc.StatusCode.INTERNAL,
}

_Call = Callable[[Any, Any], Awaitable[Any]]
_Method = Callable[["_Service", Any, Any], Awaitable[Any]]


@contextlib.asynccontextmanager
async def serving_grpc(
    inference: Inference,
    *,
    host: str,
    port: int,
    folder: Path,
    message_bytes_max: int,
    grace_s: float = GRACE_S,
    access: Access | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[Relay]:
    """Serves until the block ends, behind a relay that bounds callers by address (ADR 0062).

    folder: for the socket between the two; made, for this user only. message_bytes_max: of one request or answer, when
    it is decompressed. access: who may ask; None: anybody. certificates: for TLS. Raises SettingError where the address
    cannot be had.
    """
    options = (
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", REQUEST_COUNT_MAX),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    )
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=REQUEST_COUNT_MAX)
    with _socket_in(folder) as behind:
        async with relaying(host, port, behind, certificates=certificates) as relay:
            service = _Service(
                inference, access or Access(None, frozenset(), inference.node.clock, rights=RIGHTS), relay
            )
            served = {SERVICE: service.handlers(), HEALTH: service.health_handlers()}
            server.add_generic_rpc_handlers(
                tuple(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in served.items())
            )
            server.add_insecure_port(f"unix:{behind}")
            await server.start()
            try:
                yield relay
            finally:
                await server.stop(grace_s)


@contextlib.contextmanager
def _socket_in(folder: Path) -> Iterator[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket_path(folder) as path:
        yield path


class _Service:
    """What each method does: a message in, a message out."""

    def __init__(self, inference: Inference, access: Access, relay: Relay, rate: Rate | None = None) -> None:
        self._inference = inference
        self._relay = relay
        self._rate = rate
        self._access = access
        self._targets = inference.targets
        self._node = inference.node

    def handlers(self) -> dict[str, Any]:
        # As streams of one message: who asks is looked at before it comes, and how long it takes is bounded.
        calls: dict[str, _Method] = {
            "ServerLive": _Service._live,
            "ServerReady": _Service._ready,
            "ServerMetadata": _Service._server,
            "ModelReady": _Service._model_ready,
            "ModelMetadata": _Service._model,
            "ModelConfig": _Service._config,
            "ModelStatistics": _Service._statistics,
            "ModelInfer": _Service._infer,
            "RepositoryIndex": _Service._index,
            "RepositoryModelLoad": _Service._load,
            "RepositoryModelUnload": _Service._unload,
        }
        found = {
            name: grpc.stream_unary_rpc_method_handler(self._told(name, self._checked(name, call)), **_codec(name))
            for name, call in calls.items()
        }
        found["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._stream,
            response_serializer=messages()["ModelStreamInferResponse"].SerializeToString,
        )
        return found

    def health_handlers(self) -> dict[str, Any]:
        return {"Check": grpc.stream_unary_rpc_method_handler(self._told("Check", self._check, HEALTH))}

    async def _check(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        service, _ = self._for("ServerReady", context)
        service.take()
        asked_service(await _only(requests), SERVICE)
        return health_answer(Health.SERVING if self._node.is_ready else Health.NOT_SERVING)

    def _checked(self, name: str, call: _Method) -> _Call:
        async def checked(requests: AsyncIterator[bytes], context: Any) -> Any:
            service, _ = self._for(name, context)
            service.take()
            return await call(service, _message(f"{name}Request", await _only(requests)), context)

        return checked

    def _for(self, name: str, context: Any) -> tuple["_Service", Leave | None]:
        """That of the tenant who asks, and what raises once it may no more."""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        peer = _name(context.peer())
        tenant, leave = self._access.check_grpc(name, metadata, self._relay.address_of(peer))
        self._relay.vouch(peer)
        if not tenant:
            return self, leave
        own = self._node.tenants[tenant]
        return _Service(own.inference, self._access, self._relay, own.rate), leave

    def take(self) -> None:
        """One request. Raises TooOftenError where a tenant is over its quota."""
        if self._rate is not None:
            self._rate.take()

    async def _live(self, _asked: Any, _context: Any) -> Any:
        return messages()["ServerLiveResponse"](live=True)

    async def _ready(self, _asked: Any, _context: Any) -> Any:
        return messages()["ServerReadyResponse"](ready=self._node.is_ready)

    async def _server(self, _asked: Any, _context: Any) -> Any:
        return messages()["ServerMetadataResponse"](**server_metadata())

    async def _model_ready(self, asked: Any, _context: Any) -> Any:
        return messages()["ModelReadyResponse"](ready=self._targets.is_ready(asked.name, asked.version))

    async def _model(self, asked: Any, _context: Any) -> Any:
        target = self._targets.find(asked.name, asked.version)
        return _filled("ModelMetadataResponse", model_metadata(target, self._targets.versions(asked.name)))

    async def _config(self, asked: Any, _context: Any) -> Any:
        return _filled("ModelConfigResponse", {"config": config(self._targets.find(asked.name, asked.version))})

    async def _statistics(self, asked: Any, _context: Any) -> Any:
        found = self._inference.asked_statistics(asked.name, asked.version)
        return _filled("ModelStatisticsResponse", {"model_stats": [statistics(t, counted) for t, counted in found]})

    async def _infer(self, asked: Any, context: Any) -> Any:
        remaining_s = context.time_remaining()
        answer = await self._answer(asked, None if remaining_s is None else remaining_s * 1000)
        context.set_trailing_metadata(((HOW, how_header(answer.how)),))
        return answer_of(answer, asked.id)

    async def _index(self, asked: Any, _context: Any) -> Any:
        return _filled("RepositoryIndexResponse", {"models": self._targets.index(only_ready=asked.ready)})

    async def _load(self, asked: Any, _context: Any) -> Any:
        await control.load(self._node, asked.model_name, parameters_of(asked.parameters))
        return messages()["RepositoryModelLoadResponse"]()

    async def _unload(self, asked: Any, _context: Any) -> Any:
        await control.unload(self._node, asked.model_name)
        return messages()["RepositoryModelUnloadResponse"]()

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """One answer after the other, in the order of the requests; an error is an answer too.

        It ends when the caller's leave does, with no request after it answered.
        """
        try:
            service, leave = self._for("ModelStreamInfer", context)
            trace = self._trace(context)
            async for data in _while_allowed(requests, leave):
                yield await service.streamed(_message("ModelInferRequest", data), trace)
        except LittoralError as error:
            await context.abort(_code(error), str(error))

    async def streamed(self, asked: Any, trace: Trace) -> Any:
        """The answer to one request of a stream, or its error."""
        told = messages()["ModelStreamInferResponse"]()
        try:
            self.take()
            with root_span(trace._replace(span=token_hex(8)), "ModelStreamInfer", attributes=RPC):
                answer = await self._answer(asked, None)
            told.infer_response.CopyFrom(answer_of(answer, asked.id))
        except Exception as error:  # noqa: BLE001  the stream goes on
            told.error_message = failure_of(error).message
            told.infer_response.id = asked.id
        return told

    def _told(self, name: str, call: _Call, service: str = SERVICE) -> _Call:
        """An error of ours as a status; of another kind, an id that the log has too."""

        async def answered(asked: Any, context: Any) -> Any:
            try:
                with root_span(self._trace(context), name, attributes={**RPC, "rpc.service": service}):
                    return await call(asked, context)
            except Exception as error:  # noqa: BLE001  every request gets an answer
                code, message = _code(error), failure_of(error).message
            return await context.abort(code, message)

        return answered

    def _trace(self, context: Any) -> Trace:
        said = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}.get
        return self._inference.observed.traced(said("traceparent"), said("tracestate"), said("x-request-id"))

    async def _answer(self, asked: Any, deadline_ms: float | None) -> Any:
        return await self._inference.infer(asked.model_name, asked.model_version, request_of(asked, deadline_ms))


async def _while_allowed(requests: AsyncIterator[Any], leave: Leave | None) -> AsyncIterator[Any]:
    """Raises what `leave` does, no later than `LEAVE_CHECK_S` after it would."""
    while True:
        upcoming = asyncio.ensure_future(anext(requests, None))
        try:
            while not (await asyncio.wait([upcoming], timeout=LEAVE_CHECK_S))[0]:
                if leave is not None:
                    leave()
        finally:
            upcoming.cancel()
        if (asked := upcoming.result()) is None:
            return
        if leave is not None:
            leave()
        yield asked


def _code(error: Exception) -> grpc.StatusCode:
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), grpc.StatusCode.INTERNAL)


def _name(peer: str) -> str:
    """Of `unix-abstract:00a1f`, as the relay knows it."""
    return unquote(peer).partition(":")[2]


def _codec(method: str) -> dict[str, Any]:
    """Requests are read by `_message`, after it is known who asks."""
    return {"response_serializer": messages()[f"{method}Response"].SerializeToString}


async def _only(requests: AsyncIterator[bytes]) -> bytes:
    """The message of a call that has one. Raises SlowRequestError, InputError."""
    try:
        async with asyncio.timeout(MESSAGE_S):
            return await anext(requests)
    except TimeoutError as error:
        raise SlowRequestError(f"no message came in {MESSAGE_S:g} s") from error
    except StopAsyncIteration as error:
        raise InputError("no message came") from error


def _message(name: str, data: bytes) -> Any:
    """Raises InputError."""
    try:
        return messages()[name].FromString(data)
    except DecodeError as error:
        raise InputError(f"what came is no `{name}`: {error}") from error


def _filled(name: str, values: dict[str, Any]) -> Any:
    return json_format.ParseDict(values, messages()[name]())
