"""Attacks on the gRPC of a real node: metadata, messages, streams, connections beyond their bounds, old tokens."""

import contextlib
import queue
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from littoral import settings
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.node.oip import grpc_server
from littoral.node.oip.grpc_messages import messages
from littoral.web import Limits, RelayLimits
from littoral.web.access.tokens import new_token, read_tokens, without, write_tokens
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from supervised import short_folder
from waiting import until

SERVICE = "/inference.GRPCInferenceService"
BYTES_MAX = 1 << 16
WAIT_S = 60.0


class Target(NamedTuple):
    served: Served
    tokens: Path
    admin: str

    def channel(self, *options: tuple[str, Any]) -> grpc.Channel:
        return grpc.insecure_channel(self.served.grpc, options=[("grpc.use_local_subchannel_pool", 1), *options])

    def ask(self, method: str, data: bytes = b"", *, channel: grpc.Channel | None = None, **options: Any) -> Any:
        """The answer's bytes. Raises grpc.RpcError."""
        with contextlib.ExitStack() as held:
            through = channel or held.enter_context(self.channel())
            metadata = options.pop("metadata", [("api-key", self.admin)])
            return through.unary_unary(f"{SERVICE}/{method}")(data, metadata=metadata, timeout=WAIT_S, **options)

    def code(self, method: str, data: bytes = b"", **options: Any) -> grpc.StatusCode:
        try:
            self.ask(method, data, **options)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        token, kept = new_token("admin", [Role.ADMIN], SYSTEM.wall())
        write_tokens(folder / "tokens.json", [kept])
        text = (SITE + DOUBLE).replace("[node]", '[node]\ngrpc = "127.0.0.1:0"', 1)
        text += f"\n[auth]\n[limits]\nbody_bytes_max = {BYTES_MAX}\n"
        site = write_site(folder, text)
        with node_in_thread(folder, site=site, limits=Limits(body_bytes_max=BYTES_MAX)) as served:
            yield Target(served, folder / "tokens.json", token)


def infer(size: int = 0) -> bytes:
    asked = messages()["ModelInferRequest"](model_name="plain", id="x" * size)
    asked.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    asked.raw_input_contents.append(bytes(12))
    return bytes(asked.SerializeToString())


def test_an_honest_caller_is_answered(target: Target) -> None:
    assert target.code("ServerLive") is grpc.StatusCode.OK
    assert target.code("ModelInfer", infer()) is grpc.StatusCode.OK


@pytest.mark.parametrize("size", [20_000, 200_000, 2_000_000])
def test_large_metadata_is_refused(target: Target, size: int) -> None:
    found = target.code("ServerLive", metadata=[("api-key", target.admin), ("x", "y" * size)])
    assert found in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_large_messages_are_refused_compressed_or_not(target: Target, compression: grpc.Compression) -> None:
    """A megabyte of one letter is a kilobyte on the wire."""
    found = target.code("ModelInfer", infer(1 << 20), compression=compression)
    assert found is grpc.StatusCode.RESOURCE_EXHAUSTED


MALFORMED = {
    "a number without an end": b"\xff" * 100,
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "fields of another kind": b"\x2a" * 1000,
    "groups in groups": b"\x0b" * 10_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_message_is_refused(target: Target, name: str) -> None:
    assert target.code("ModelInfer", MALFORMED[name]) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
        f"{SERVICE}/SystemSharedMemoryRegister",
        f"{SERVICE}/../ModelInfer",
        "/",
    ],
)
def test_there_is_no_other_service(target: Target, path: str) -> None:
    with target.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", metadata=[("api-key", target.admin)], timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_half_connections_keep_nobody_out_for_long(target: Target) -> None:
    """More than there are places, each without a word of HTTP/2."""
    host, _, port = target.served.grpc.rpartition(":")
    with contextlib.ExitStack() as held:
        for _ in range(RelayLimits().connection_count_max + 20):
            one = held.enter_context(socket.create_connection((host, int(port)), 60))
            with contextlib.suppress(ConnectionError):
                one.sendall(b"PRI * HTTP")
        until(lambda: target.code("ServerLive") is grpc.StatusCode.OK)


def test_calls_without_a_message_hold_no_place_for_who_has_no_token(target: Target) -> None:
    """Twice as many as are answered at a time: each is refused by its head alone."""
    unsent: queue.Queue[bytes | None] = queue.Queue()
    count = 2 * grpc_server.REQUEST_COUNT_MAX
    with contextlib.ExitStack() as held:
        calls = []
        for _ in range(4):
            channel = held.enter_context(target.channel())
            method = channel.stream_unary(f"{SERVICE}/ModelInfer")
            calls += [method.future(iter(unsent.get, None), timeout=WAIT_S) for _ in range(count // 4)]
        codes = {one.code() for one in calls}
        assert grpc.StatusCode.UNAUTHENTICATED in codes
        assert codes <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert target.code("ServerLive") is grpc.StatusCode.OK
        for _ in calls:
            unsent.put(None)


def test_a_call_of_nothing_is_refused(target: Target) -> None:
    with target.channel() as channel:
        method = channel.stream_unary(f"{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            method(iter(()), metadata=[("api-key", target.admin)], timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


class Stream:
    """`ModelStreamInfer`, kept open."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._asked: queue.Queue[bytes | None] = queue.Queue()
        call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        self.answers = call(iter(self._asked.get, None), metadata=[("api-key", token)])

    def ask(self) -> Any:
        self._asked.put(infer())
        return messages()["ModelStreamInferResponse"].FromString(next(self.answers))

    def end(self) -> None:
        self._asked.put(None)


def test_a_stream_ends_with_its_token(target: Target) -> None:
    """Also one that is silent; what another token opened goes on."""
    token, kept = new_token("till", [Role.INFER], SYSTEM.wall())
    write_tokens(target.tokens, [*read_tokens(target.tokens), kept])
    with target.channel() as channel:
        ending, staying = Stream(channel, token), Stream(channel, target.admin)
        assert ending.ask().infer_response.model_name == "plain"
        assert staying.ask().infer_response.model_name == "plain"
        write_tokens(target.tokens, without(read_tokens(target.tokens), "till")[0])
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            next(ending.answers)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert time.monotonic() - began < WAIT_S
        assert staying.ask().infer_response.model_name == "plain"
        for one in (ending, staying):
            one.end()


def test_streams_beyond_the_bound_are_refused_and_others_go_on(target: Target) -> None:
    with contextlib.ExitStack() as held:
        streams = []
        for _ in range(3):
            channel = held.enter_context(target.channel())
            streams += [Stream(channel, target.admin) for _ in range(30)]
        assert streams[0].ask().infer_response.model_name == "plain"
        excess = len(streams) - grpc_server.REQUEST_COUNT_MAX
        until(lambda: sum(one.answers.done() for one in streams) >= excess)
        refused = [one for one in streams if one.answers.done()]
        assert {one.answers.code() for one in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(refused) == excess
        assert streams[0].ask().infer_response.model_name == "plain"
        for one in streams:
            one.end()
    until(lambda: target.code("ServerLive") is grpc.StatusCode.OK)
