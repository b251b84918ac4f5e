"""The one door to paho-mqtt: one connection to a broker, in this event loop, without a thread.

A connection that ended is not opened again: who wants another makes one. So nothing that belongs to one connection (the
number of a message, an answer that was not acknowledged) can get into the next.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from littoral.clock import SYSTEM, Clock
from littoral.errors import InputError, PeerError, TooLargeError, UnavailableError
from littoral.mqtt.broker import Broker
from littoral.mqtt.message import Message
from littoral.mqtt.sockets import open_socket

__all__ = ["Connection", "Outgoing", "Session"]

OPEN_S = 10.0
ANSWER_S = 30.0
TICK_S = 1.0
IN_FLIGHT_MAX = 20
"""Of QoS 1 that the broker has not acknowledged, unless it wants fewer."""
CHUNK_BYTES = 256 << 10
HEAD_BYTES_MAX = 160 << 10
"""Of a message, beside its payload: topic and properties have at most 64 KiB each."""


class Session(NamedTuple):
    """What the broker keeps for a client of this id while it is away, for `expiry_s`; 0 = nothing.

    unacknowledged_max: messages of QoS 1 that the broker may send before the first is acknowledged (MQTT 5 alone).
    """

    client_id: str
    expiry_s: int = 0
    unacknowledged_max: int = 0
    payload_bytes_max: int = 16 << 20


class Outgoing(NamedTuple):
    """A message to publish. correlation, media_type and properties travel with MQTT 5 alone."""

    topic: str
    payload: bytes
    qos: int = 0
    is_retained: bool = False
    correlation: bytes | None = None
    media_type: str = ""
    properties: Mapping[str, str] = {}


class Connection:
    """For one event loop. on_message: called with each message as it comes; it must not block, nor publish at once."""

    def __init__(self, broker: Broker, session: Session, on_message: Callable[[Message], None], clock: Clock) -> None:
        self.has_session = False
        """The broker knew this client, and sends again what was not acknowledged."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the connection is no more; says why."""
        self._broker = broker
        self._session = session
        self._on_message = on_message
        self._clock = clock
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._packet_bytes_max: int | None = None
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._socket: socket.socket | None = None
        self._is_writing = False
        self._is_paused = False
        self._tick: asyncio.TimerHandle | None = None
        self._client = _client(broker, session)
        self._client.on_connect = self._connected
        self._client.on_message = self._arrived
        self._client.on_publish = self._published
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected
        self._client.on_socket_close = self._release

    @classmethod
    async def open(
        cls,
        broker: Broker,
        session: Session,
        on_message: Callable[[Message], None],
        *,
        on_session: Callable[[bool], None] = lambda _: None,
        clock: Clock = SYSTEM,
    ) -> "Connection":
        """on_session: told whether the broker has a session for us, before the first message of it.

        Raises PeerError where the broker cannot be reached or refuses, SettingError for what is not its fault.
        """
        connection = cls(broker, session, on_message, clock)
        connection._on_session = on_session
        try:
            async with asyncio.timeout(OPEN_S):
                await connection._open()
        except TimeoutError as error:
            connection.abandon("no answer")
            raise PeerError(f"broker `{broker.address}`: no answer in {OPEN_S:g} s") from error
        except ssl.SSLError as error:
            connection.abandon("TLS failed")
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            what = f"broker `{broker.address}`: TLS failed: {why}"
            raise PeerError(what, hint="is `ca` that of the broker?") from error
        except OSError as error:
            connection.abandon("not reached")
            raise PeerError(f"broker `{broker.address}` cannot be reached: {error.strerror or error}") from error
        except BaseException:
            connection.abandon("given up")
            raise
        return connection

    _on_session: Callable[[bool], None]

    @property
    def is_open(self) -> bool:
        return not self.ended.done() and self._greeted.done()

    async def subscribe(self, topic: str, qos: int) -> None:
        """Raises PeerError if the broker refuses, UnavailableError if the connection ends."""
        if self._broker.version == 5:
            only_new = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            code, number = self._client.subscribe(topic, options=SubscribeOptions(qos, retainHandling=only_new))
        else:
            code, number = self._client.subscribe(topic, qos)
        await self._answered(code, number, f"subscription to `{topic}`")

    async def publish(self, message: Outgoing) -> None:
        """QoS 1: returns when the broker has it; QoS 0: when it is sent.

        Raises PeerError if the broker refuses it, TooLargeError if it would, UnavailableError if the connection ends.
        """
        size = len(message.payload) + len(message.topic) + len(message.correlation or b"")
        if self._packet_bytes_max is not None and size + 64 > self._packet_bytes_max:
            raise TooLargeError(f"message of {size} bytes: the broker takes {self._packet_bytes_max}")
        async with self._room if message.qos else contextlib.nullcontext():
            await self._publish(message)

    async def _publish(self, message: Outgoing) -> None:
        try:
            properties = self._properties(message)
            info = self._client.publish(message.topic, message.payload, message.qos, message.is_retained, properties)
        except ValueError as error:
            raise InputError(f"message to `{message.topic}`: {error}") from error
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and not message.qos and info.is_published():
            return
        await self._answered(info.rc, info.mid, f"message to `{message.topic}`")

    def acknowledge(self, number: int) -> None:
        """The message of this number is done with."""
        self._client.ack(number, 1)
        self._write_rest()

    def close(self) -> None:
        """Says good-bye; the broker keeps the session."""
        if self.is_open:
            self._client.disconnect()
        self.abandon("closed")

    def pause(self) -> None:
        """Messages stay with the broker and in the sockets' buffers. A connection that is paused for twice the time of
        `keep_alive_s` ends, since nobody hears that the broker is alive."""
        self._is_paused = True
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)

    def resume(self) -> None:
        """Goes on reading. Of a connection that has ended it means nothing."""
        self._is_paused = False
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._socket, self._readable)
            loop.call_soon(self._readable)  # TLS may hold what was read already

    def abandon(self, reason: str) -> None:
        """Ends it without a word. Twice is fine."""
        if not self.ended.done():
            self.ended.set_result(reason)
        if self._tick is not None:
            self._tick.cancel()
        for waiting in (self._greeted, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(UnavailableError(f"broker `{self._broker.address}`: {reason}"))
                waiting.exception()  # whoever waited was cancelled, perhaps
        self._answers.clear()
        if self._socket is not None:
            given = self._socket
            self._release()
            given.close()

    def _release(self, *_: object) -> None:
        """Before the socket is closed, by paho or by us: the event loop must not look at its number any more."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket = None

    async def _open(self) -> None:
        context = self._broker.tls()
        user, password = self._broker.credentials.user, self._broker.credentials.password()
        if user or password is not None:
            self._client.username_pw_set(user or None, password)
        self._socket = await open_socket(self._broker.host, self._broker.port, context)
        self._client.given = self._socket
        self._client.connect(**_connecting(self._broker, self._session))
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._write_rest()
        self._ticking()
        await self._greeted

    async def _answered(self, code: MQTTErrorCode, number: int | None, what: str) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or number is None or self.ended.done():
            raise UnavailableError(f"{what}: {paho.error_string(code) if code else 'the connection has ended'}")
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._write_rest()
        try:
            async with asyncio.timeout(ANSWER_S):
                await answer
        except TimeoutError as error:
            self.abandon(f"no answer in {ANSWER_S:g} s")
            raise UnavailableError(f"{what}: no answer in {ANSWER_S:g} s") from error
        except PeerError as error:
            error.message = f"{what}: {error.message}"
            raise
        finally:
            self._answers.pop(number, None)

    def _readable(self) -> None:
        while self._socket is not None and not self._is_paused:
            code = self._client.loop_read()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.abandon(paho.error_string(code))
                return
            self._client.cut(self._session.payload_bytes_max + HEAD_BYTES_MAX)
            if not isinstance(self._socket, ssl.SSLSocket) or not self._socket.pending():
                break
        self._write_rest()

    def _write_rest(self) -> None:
        """What the socket did not take at once goes when it can."""
        if self._socket is None or self._client.want_write() == self._is_writing:
            return
        loop = asyncio.get_running_loop()
        self._is_writing = not self._is_writing
        if self._is_writing:
            loop.add_writer(self._socket, self._writable)
        else:
            loop.remove_writer(self._socket)

    def _writable(self) -> None:
        if (code := self._client.loop_write()) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.abandon(paho.error_string(code))
        self._write_rest()

    def _ticking(self) -> None:
        if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.abandon("no sign of life")
            return
        self._write_rest()
        self._tick = asyncio.get_running_loop().call_later(TICK_S, self._ticking)

    def _connected(self, _client: object, _data: object, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            self._fail(self._greeted, PeerError(f"broker `{self._broker.address}` refuses: {code}"))
            return
        self._packet_bytes_max = getattr(properties, "MaximumPacketSize", None)
        self._room = asyncio.Semaphore(min(IN_FLIGHT_MAX, getattr(properties, "ReceiveMaximum", IN_FLIGHT_MAX)))
        self.has_session = bool(flags.session_present)
        self._on_session(self.has_session)
        if not self._greeted.done():
            self._greeted.set_result(None)

    def _disconnected(self, _client: object, _data: object, flags: Any, code: Any, _properties: object) -> None:
        self.abandon(str(code) if flags.is_disconnect_packet_from_server else "the connection was lost")

    def _published(self, _client: object, _data: object, number: int, code: Any, _properties: object) -> None:
        self._tell(number, code if code.is_failure else None)

    def _subscribed(self, _client: object, _data: object, number: int, codes: list[Any], _properties: object) -> None:
        self._tell(number, next((code for code in codes if code.is_failure), None))

    def _tell(self, number: int, refusal: object) -> None:
        if (answer := self._answers.get(number)) is None or answer.done():
            return
        if refusal is None:
            answer.set_result(None)
        else:
            self._fail(answer, PeerError(f"broker refuses: {refusal}"))

    def _fail(self, waiting: asyncio.Future[None], error: Exception) -> None:
        if not waiting.done():
            waiting.set_exception(error)

    def _arrived(self, _client: object, _data: object, given: paho.MQTTMessage) -> None:
        try:
            topic = given.topic
        except UnicodeDecodeError:
            topic = ""
        properties = given.properties
        self._on_message(
            Message(
                topic=topic,
                payload=bytes(given.payload[: self._session.payload_bytes_max]),
                qos=given.qos,
                number=given.mid,
                is_again=given.dup,
                connection=self,
                arrived_at=self._clock.monotonic(),
                size=self._client.packet_bytes,
                is_cut=len(given.payload) > self._session.payload_bytes_max,
                response_topic=str(getattr(properties, "ResponseTopic", "")),
                correlation=getattr(properties, "CorrelationData", None),
                media_type=str(getattr(properties, "ContentType", "")),
                properties=dict(getattr(properties, "UserProperty", ())),
            )
        )

    def _properties(self, message: Outgoing) -> Properties | None:
        if self._broker.version != 5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if message.correlation is not None:
            properties.CorrelationData = message.correlation
        if message.media_type:
            properties.ContentType = message.media_type
        for name, text in message.properties.items():
            properties.UserProperty = (name, text)
        return properties


class _Client(paho.Client):
    """paho's client on a socket that is open already, and with bounds: its own has neither. Private names of 2.2."""

    given: socket.socket

    def _create_socket(self) -> Any:
        return self.given

    def _sock_recv(self, bufsize: int) -> bytes:
        return super()._sock_recv(min(bufsize, CHUNK_BYTES))

    @property
    def packet_bytes(self) -> int:
        """Of the packet that is being read, without its first few bytes."""
        return int(self._in_packet["remaining_length"])

    def cut(self, bytes_max: int) -> None:
        """Forgets what a message that is still arriving has beyond this; `on_message` gets it without its tail."""
        packet = self._in_packet["packet"]
        if len(packet) > bytes_max:
            del packet[bytes_max:]


def _client(broker: Broker, session: Session) -> _Client:
    is_5 = broker.version == 5
    return _Client(
        CallbackAPIVersion.VERSION2,
        client_id=session.client_id,
        clean_session=None if is_5 else not session.expiry_s,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )


def _connecting(broker: Broker, session: Session) -> dict[str, Any]:
    told: dict[str, Any] = {"host": broker.host, "port": broker.port, "keepalive": broker.keep_alive_s}
    if broker.version != 5:
        return told
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if session.expiry_s:
        properties.SessionExpiryInterval = session.expiry_s
    if session.unacknowledged_max:
        properties.ReceiveMaximum = session.unacknowledged_max
    return told | {"clean_start": not session.expiry_s, "properties": properties}
