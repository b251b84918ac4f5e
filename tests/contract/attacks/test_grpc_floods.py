"""Floods of connections to the gRPC of a real node: bounded by address and in all, counted, and others are let in."""

import contextlib
import queue
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest

from littoral import settings
from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.node.oip.grpc_messages import messages
from littoral.web import Limits, RelayLimits
from littoral.web.access.guessing import BURST_COUNT
from littoral.web.access.tokens import new_token, write_tokens
from mesh_certificates import Authority
from node_fixture import DOUBLE, SITE, Served, node_in_thread, write_site
from supervised import short_folder
from waiting import until

SERVICE = "/inference.GRPCInferenceService"
BOUNDS = RelayLimits()
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""Of a handshake: its beginning."""


class Target(NamedTuple):
    """ca: of the certificates it shows; '' where it speaks no TLS."""

    served: Served
    token: str
    ca: str

    def connect(self, source: str) -> socket.socket:
        host, _, port = self.served.grpc.rpartition(":")
        return socket.create_connection((host, int(port)), 60, (source, 0))

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if self.ca:
            known = grpc.ssl_channel_credentials(self.ca.encode())
            with grpc.secure_channel(self.served.grpc, known, options) as channel:
                yield channel
        else:
            with grpc.insecure_channel(self.served.grpc, options) as channel:
                yield channel

    def code(self, channel: grpc.Channel, token: str = "") -> grpc.StatusCode:
        shown = [("api-key", token or self.token)]
        try:
            channel.unary_unary(f"{SERVICE}/ServerMetadata")(b"", metadata=shown, timeout=60)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def is_answered(self) -> bool:
        with self.channel() as channel:
            return self.code(channel) is grpc.StatusCode.OK

    def dropped(self, reason: str) -> int:
        context = ssl.create_default_context(cadata=self.ca) if self.ca else None
        with urllib.request.urlopen(
            f"http{'s' if self.ca else ''}://{self.served.address}/metrics", context=context, timeout=60
        ) as answer:
            told = answer.read().decode()
        line = f'littoral_grpc_connections_dropped_total{{reason="{reason}"}} '
        return int(float(told.partition(line)[2].partition("\n")[0]))


@contextlib.contextmanager
def running(tls: str) -> Iterator[Target]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        token, kept = new_token("admin", [Role.ADMIN], SYSTEM.wall())
        write_tokens(folder / "tokens.json", [kept])
        authority = Authority(folder / "ca")
        made = authority.issue("node")
        text = (SITE + DOUBLE).replace("[node]", '[node]\ngrpc = "127.0.0.1:0"', 1) + "\n[auth]\nmetrics = false\n"
        text += tls.format(certificate=made.certificate, key=made.key)
        with node_in_thread(folder, site=write_site(folder, text), limits=Limits()) as served:
            yield Target(served, token, authority.ca.read_text() if tls else "")


@pytest.fixture(scope="module")
def plain() -> Iterator[Target]:
    with running("") as found:
        yield found


@pytest.fixture(scope="module")
def secured() -> Iterator[Target]:
    with running('\n[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n') as found:
        yield found


class Stream:
    """`ModelStreamInfer`, kept open."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self._asked: queue.Queue[bytes | None] = queue.Queue()
        call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        self._answers = call(iter(self._asked.get, None), metadata=[("api-key", token)])

    def ask(self) -> str:
        asked = messages()["ModelInferRequest"](model_name="plain")
        asked.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        asked.raw_input_contents.append(bytes(12))
        self._asked.put(asked.SerializeToString())
        told: Any = messages()["ModelStreamInferResponse"].FromString(next(self._answers))
        return str(told.infer_response.model_name)

    def end(self) -> None:
        self._asked.put(None)


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"])
def test_a_flood_from_one_address_costs_that_address(plain: Target, sent: bytes) -> None:
    """Silent, with half a preface, and with a whole one; who was let in before stays."""
    before = plain.dropped("address")
    with contextlib.ExitStack() as held:
        stream = Stream(held.enter_context(plain.channel()), plain.token)
        assert stream.ask() == "plain"
        for _ in range(2 * BOUNDS.address_count_max):
            one = held.enter_context(plain.connect("127.0.0.1"))
            with contextlib.suppress(ConnectionError):
                one.sendall(sent)
        until(lambda: plain.dropped("address") - before > BOUNDS.address_count_max)
        assert plain.dropped("all") == 0
        assert plain.is_answered(), "from the same address"
        assert stream.ask() == "plain"
        stream.end()


def test_a_flood_from_many_addresses_is_bounded_in_all(plain: Target) -> None:
    before = plain.dropped("address")
    with contextlib.ExitStack() as held:
        stream = Stream(held.enter_context(plain.channel()), plain.token)
        assert stream.ask() == "plain"
        for number in range(BOUNDS.connection_count_max + 50):
            held.enter_context(plain.connect(f"127.0.{1 + number // 200}.{1 + number % 200}"))
        until(lambda: plain.dropped("all") > 50)
        assert plain.is_answered()
        assert stream.ask() == "plain"
        stream.end()
    assert plain.dropped("address") == before


def test_who_says_nothing_is_counted_when_its_time_is_over(plain: Target) -> None:
    before = plain.dropped("silent")
    with plain.connect("127.0.0.7") as one:
        until(lambda: plain.dropped("silent") > before)
        while one.recv(1 << 10):
            pass


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["nothing", "a half hello"])
def test_handshakes_are_bounded_by_address(secured: Target, sent: bytes) -> None:
    before = secured.dropped("handshake_address")
    most = Limits().handshake_address_count_max
    with contextlib.ExitStack() as held:
        for _ in range(2 * most):
            one = held.enter_context(secured.connect("127.0.0.1"))
            with contextlib.suppress(ConnectionError):
                one.sendall(sent)
        until(lambda: secured.dropped("handshake_address") - before >= most)
        assert secured.is_answered()
    assert secured.dropped("handshake_all") == 0


def test_what_is_no_handshake_is_counted(secured: Target) -> None:
    with secured.connect("127.0.0.8") as one:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        until(lambda: secured.dropped("handshake_failed") > 0)


def test_guesses_count_for_the_address_they_come_from(plain: Target) -> None:
    """The same bucket as that of HTTP: behind the relay, all would come from nowhere."""

    def status(source: str) -> bytes:
        host, _, port = plain.served.address.rpartition(":")
        with socket.create_connection((host, int(port)), 60, (source, 0)) as caller:
            caller.sendall(b"GET /api/node HTTP/1.1\r\nHost: node\r\nApi-Key: wrong\r\n\r\n")
            return caller.recv(1 << 12).split()[1]

    with plain.channel() as channel:
        codes = [plain.code(channel, "wrong") for _ in range(BURST_COUNT + 1)]
    assert codes[0] is grpc.StatusCode.UNAUTHENTICATED
    assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert status("127.0.0.1") == b"429"
    assert status("127.0.0.9") == b"401"
