"""An orchestrator in a thread of its own, with a fleet that has something on each of its pages."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from littoral import settings
from littoral.clock import SYSTEM
from littoral.orchestrator.file import read_file
from littoral.orchestrator.places import open_objects
from littoral.orchestrator.service import Orchestrator, opened, serving_fleet
from littoral.orchestrator.signing import KEYS, ObjectsMetadata
from littoral.updates.metadata.ceremony import begin, new_offline_keys
from littoral.updates.metadata.keys import KeyRing
from littoral.updates.wire import Enrol
from raw_http import send, send_json
from supervised import short_folder

FILE = """[orchestrator]
name = "reef"
listen = "127.0.0.1:0"
poll_s = 1
offline_s = 86_400

[inference.nodes.dc-1]
url = "http://127.0.0.1:9"
token = "dc-1.token"
groups = ["north"]
"""
REGIONS = ("north", "south", "west")
STATES = ("settled", "settled", "settled", "canary", "rolled_back", "refused", "idle")
T = TypeVar("T")


class FleetPages(NamedTuple):
    folder: Path
    url: str
    address: str
    found: Orchestrator
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """In the orchestrator's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def asked(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that must be fine."""
        reply = send(self.address, method, path) if body is None else send_json(self.address, method, path, body)
        assert reply.status in (200, 201, 202, 204), (path, reply)
        return reply.json if reply.body else None

    def enrolled(self, names: list[str], labels: dict[str, str], group: str = "") -> dict[str, str]:
        """Tokens by node."""

        async def enrol() -> dict[str, str]:
            enrolment = self.found.enrolment
            (made,) = await enrolment.claims(
                1, uses=len(names), expires_s=3600, group=group, labels=labels, by="a test"
            )
            asked = [Enrol(claim=made.code, public_key="PEM", node=name) for name in names]
            return {one.node: one.token for one in [await enrolment.enrol(each, "here") for each in asked]}

        return self.run(enrol())


@contextlib.contextmanager
def fleet_pages(text: str = FILE) -> Iterator[FleetPages]:
    """Nobody is asked for a token, unless the file says so."""
    with short_folder() as folder, settings.override(LITTORAL_STATE=str(folder / "state")):
        (folder / "orchestrator.toml").write_text(text)
        described = read_file(folder / "orchestrator.toml")
        ring, offline = KeyRing(described.data / KEYS), new_offline_keys(folder / "offline")
        begin(ObjectsMetadata(open_objects(described)), ring, offline, delegates_uploads=True, clock=SYSTEM)
        ready: list[FleetPages] = []
        begun, ended = threading.Event(), threading.Event()

        async def serve() -> None:
            async with opened(described) as found, serving_fleet(found) as server:
                loop = asyncio.get_running_loop()
                stop = asyncio.Event()
                ready.append(FleetPages(folder, server.url, server.address, found, loop))
                stops.append(lambda: loop.call_soon_threadsafe(stop.set))
                begun.set()
                await stop.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            finally:
                begun.set()
                ended.set()

        stops: list[Any] = []
        thread = threading.Thread(target=run)
        thread.start()
        begun.wait()
        assert ready, "the orchestrator did not start"
        try:
            yield ready[0]
        finally:
            stops[0]()
            thread.join()
