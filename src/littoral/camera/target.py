"""Where frames go: a pipeline of a node over HTTP, or a topic of a broker."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from littoral.errors import InputError, SetupError
from littoral.mqtt.broker import Broker, parse_broker
from littoral.node.client import NodeClient
from littoral.node.mqtt_topics import check_topic

__all__ = ["Target", "opened_target"]

PIPELINES = "/pipelines/"
HINT = "such as http://127.0.0.1:8642/pipelines/similar or mqtt://broker/cameras/door/frame"


class Target(Protocol):
    async def send(self, data: bytes, media_type: str, frame_id: str) -> Any:
        """Returns when it was taken: what is said to it, or None where nothing is. Raises LittoralError."""
        ...


@contextlib.asynccontextmanager
async def opened_target(url: str, *, qos: int = 0, broker: Broker | None = None) -> AsyncIterator[Target]:
    """broker: TLS and credentials for an address of MQTT; its host and port are those of `url`. Raises InputError."""
    if url.startswith("http://"):
        with contextlib.closing(_NodeTarget(url)) as node:
            yield node
    elif url.startswith(("mqtt://", "mqtts://")):
        async with _topic_target(url, qos, broker or Broker("", 0)) as topic:
            yield topic
    else:
        raise InputError(f"`--to` is `{url}`, must be the address of a pipeline or of a topic", hint=HINT)


class _NodeTarget:
    """One connection, in one thread."""

    def __init__(self, url: str) -> None:
        base, found, name = url.partition(PIPELINES)
        if not found or not name.strip("/") or "/" in name.strip("/"):
            raise InputError(f"`--to` is `{url}`, which names no pipeline", hint=HINT)
        self._client = NodeClient(base)
        self._name = unquote(name.strip("/"))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="littoral-camera")

    async def send(self, data: bytes, media_type: str, _frame_id: str) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, data, media_type)

    def _ask(self, data: bytes, media_type: str) -> Any:
        answer = self._client.run_pipeline(self._name, data, media_type=media_type)
        return {"result": answer.result, "how": answer.how}

    def close(self) -> None:
        self._thread.submit(self._client.close)
        self._thread.shutdown()


@contextlib.asynccontextmanager
async def _topic_target(url: str, qos: int, broker: Broker) -> AsyncIterator[Target]:
    try:
        from littoral.mqtt.connection import Outgoing, Session
        from littoral.mqtt.link import Link
    except ModuleNotFoundError as error:
        raise SetupError("MQTT needs paho-mqtt", hint="pip install 'littoral[mqtt]'") from error
    parts = urlsplit(url)
    is_secured, host, port = parse_broker(f"{parts.scheme}://{parts.netloc}")
    topic = unquote(parts.path.removeprefix("/"))
    check_topic(topic)
    session = Session(f"littoral-camera-{secrets.token_hex(4)}")
    link = Link(broker._replace(host=host, port=port, is_secured=is_secured), session)

    class TopicTarget:
        async def send(self, data: bytes, media_type: str, frame_id: str) -> Any:
            await link.publish(Outgoing(topic, data, qos, media_type=media_type, properties={"id": frame_id}))

    staying = asyncio.create_task(link.stay())
    try:
        yield TopicTarget()
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
