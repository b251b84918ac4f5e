"""What the orchestrator does with steps of sites: whose it takes, how many, how large; and with those who do them."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fallback_rig import PIXELS, done_by, fallback_rig
from littoral.clock import SYSTEM
from littoral.errors import UnavailableError
from littoral.orchestrator import inference as inference_module
from littoral.orchestrator.file import InferenceNodeTable, InferenceTable
from littoral.orchestrator.inference import BREAKER, Inference, Worker
from littoral.steps.messages import StepAsk, encode_loads, encode_step
from littoral.steps.offer import Offer
from orchestrated import FILE, orchestrated
from raw_http import ask as ask_raw
from raw_http import request
from waiting import until_async, until_true

STRANGER = f"model:{'0' * 64}"
MEBIBYTE = 1 << 20


async def test_attacks_on_the_door(tmp_path: Path) -> None:
    """Each is refused with its own status, none reaches the data centre, all are counted."""
    async with fallback_rig(tmp_path, inference=f"body_bytes_max = {MEBIBYTE}") as rig:
        good = rig.frame()
        assert rig.key in await rig.offers()
        done_before = rig.workers["dc-1"].node.models["embedder"].pool.statistics().runs
        rig.kept.tokens["guess"] = "node_guess"
        for who in ("guess", "operator", "publisher"):
            assert (await rig.step(good, who)).status == 401
            assert (await rig.kept.ask(who, "GET", "/fleet/v1/steps")).status == 401
        assert (await rig.kept.ask("", "POST", "/fleet/v1/steps", good)).status == 401
        frames = [b"", good[:-1], good[:40], json.dumps({}).encode()]
        for frame in frames:
            assert (await rig.step(frame)).status == 400, frame[:40]
        for frame in (b"\xff" * 8 + b"{}", b"0" * 1000):  # heads of many bytes
            assert (await rig.step(frame)).status == 413, frame[:40]
        words = [
            {"left_s": 1},
            {"key": rig.key, "left_s": 0},
            {"key": rig.key, "left_s": -1},
            {"key": rig.key, "left_s": 1e400},
            {"key": "model:../../x", "left_s": 1},
            {"key": rig.key, "left_s": 1, "as": "admin"},
            {"key": rig.key, "left_s": 1, "is_bytes": True},
        ]
        for word in words:
            assert (await rig.step(framed(word))).status == 400, word
        large = rig.frame(value={"x": np.zeros(MEBIBYTE, np.uint8)})
        assert (await rig.step(large)).status == 413
        assert (await rig.step(rig.frame(key=STRANGER))).status == 404
        late = await rig.step(rig.frame(left_s=1e-9))
        assert (late.status, "in the time that its caller has" in late.error) == (504, True)
        assert rig.workers["dc-1"].node.models["embedder"].pool.statistics().runs == done_before
        assert (rig.counted("large"), rig.counted("unknown"), rig.counted("answered")) == (3, 1, 0)
        assert rig.counted("wrong") == len(frames) + len(words)
        who, _ = done_by(await rig.step(good))
        assert who == "dc-1"
        metrics = (await rig.kept.ask("viewer", "GET", "/metrics")).body.decode()
        assert 'littoral_fleet_steps_total{outcome="answered"} 1' in metrics
        assert 'littoral_fleet_inference_up{node="dc-1"} 1' in metrics


def framed(word: object) -> bytes:
    """A frame whose word is this."""
    head = json.dumps({"__metadata__": {"littoral": json.dumps(word)}}).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head


async def test_a_body_that_grows_beyond_what_it_said_is_refused(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, inference=f"body_bytes_max = {MEBIBYTE}") as rig:
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        head = request("POST", "/fleet/v1/steps", b"", {"Authorization": f"Bearer {rig.kept.tokens['gw-1']}"})
        head = head.replace(b"Content-Length: 0\r\n", b"").replace(
            b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        reply = await asyncio.to_thread(ask_raw, rig.kept.address, head + chunk * 20 + b"0\r\n\r\n")
        assert (reply.status, rig.counted("large")) == (413, 1)


async def test_groups_are_apart(tmp_path: Path) -> None:
    """A machine of one customer works for no other, who hears not even which models it has."""
    async with fallback_rig(tmp_path, groups={"dc-1": "north"}) as rig:
        await rig.kept.done("operator", "PUT", "/api/fleet/groups/north", {"match": {"region": "north"}})
        await rig.kept.done("operator", "PATCH", "/api/fleet/nodes/gw-2", {"labels": {"region": "north"}})
        assert await rig.offers("gw-2") == {rig.key}
        assert await rig.offers("gw-1") == set()
        assert (await rig.step(rig.frame(), "gw-1")).status == 404
        assert (await rig.step(rig.frame(key=STRANGER), "gw-1")).status == 404
        assert done_by(await rig.step(rig.frame(), "gw-2"))[0] == "dc-1"


async def test_one_node_of_a_site_cannot_take_it_all(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, inference="node_steps_per_s = 0.001") as rig:
        assert rig.key in await rig.offers()
        assert done_by(await rig.step(rig.frame(), "gw-1"))[0] == "dc-1"
        often = await rig.step(rig.frame(), "gw-1")
        assert (often.status, int(often.headers["retry-after"]) > 1) == (429, True)
        assert done_by(await rig.step(rig.frame(), "gw-2"))[0] == "dc-1"
        assert rig.counted("often") == 1


async def test_a_node_that_left_the_fleet_is_not_served(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        await rig.kept.done("operator", "DELETE", "/api/fleet/nodes/gw-1")
        assert (await rig.step(rig.frame(), "gw-1")).status == 401


async def test_without_the_table_nothing_is_taken(tmp_path: Path) -> None:
    async with orchestrated(tmp_path, FILE) as kept:
        await kept.enrolled("gw-1")
        reply = await kept.ask("gw-1", "GET", "/fleet/v1/steps")
        assert (reply.status, "the table `inference`" in reply.error) == (404, True)


async def test_a_node_of_the_data_centre_that_dies_costs_no_step(tmp_path: Path) -> None:
    """The other one does it; and what both have is told as one."""
    async with fallback_rig(tmp_path, names=("dc-1", "dc-2")) as rig:
        assert await rig.offers() == {rig.key}
        inference = rig.kept.found.inference
        assert inference is not None
        wanted = done_by(await rig.step(rig.frame()))[1]
        dead = inference.workers["dc-1"]
        await dead._door.close()
        dead._door._server.url = "https://127.0.0.1:1"
        for _ in range(BREAKER.failures_min + 2):
            who, found = done_by(await rig.step(rig.frame()))
            assert (who, found.tobytes()) == ("dc-2", wanted.tobytes())
        await until_async(lambda: not dead.answers)


class Strange(BaseHTTPRequestHandler):
    """A node of the data centre that tells what a test says. answer: to a step: status, body."""

    protocol_version = "HTTP/1.1"
    answer = (200, b"")
    offers: dict[str, Offer]

    def do_GET(self) -> None:
        self._say(200, encode_loads("", self.offers))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._say(*self.answer)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def strange() -> Iterator[tuple[type[Strange], str]]:
    handler = type("Handler", (Strange,), {"offers": {STRANGER: Offer(0, 0, 1, 0.01)}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield handler, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


async def test_what_a_node_of_the_data_centre_may_answer(
    tmp_path: Path, strange: tuple[type[Strange], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer counts against it until it is left alone; a step that fails there, or that it has no room for, does
    not: nobody outside can have a node left alone.
    """
    monkeypatch.setattr(inference_module, "LOADS_S", 60.0)
    monkeypatch.setattr(inference_module, "FRESH_S", 3600.0)
    handler, url = strange
    (tmp_path / "token").write_text("littoral_x")
    node = InferenceNodeTable(url=url, token="token")
    worker = Worker("dc-1", node, lambda name: tmp_path / name, SYSTEM)
    inference = Inference(InferenceTable(nodes={"dc-1": node}), {"dc-1": worker}, SYSTEM)
    frame = encode_step(StepAsk(STRANGER, 60.0), PIXELS, {})
    asking = asyncio.create_task(inference.keep_asking())

    async def said(status: int, body: bytes = b"") -> str:
        handler.answer = (status, body)
        try:
            return (await inference.step("gw-1", "", frame, SYSTEM.monotonic())).decode()
        except Exception as error:  # noqa: BLE001
            return type(error).__name__

    try:
        await inference.loads("")
        await until_async(lambda: worker.loads is not None)
        assert await said(200, b"fine") == "fine"
        for _ in range(2 * BREAKER.failures_min):
            assert await said(500) == "SandboxError"
            assert await said(400, b'{"error": "no such port"}') == "InputError"
            assert await said(401) == "PeerError"
        assert worker.breaker.state == "closed"
        for _ in range(BREAKER.window):
            assert await said(502) in ("PeerError", "UnavailableError")
        assert worker.breaker.state != "closed"
        assert not worker.answers
        handler.answer = (200, b"fine")

        async def is_back() -> bool:
            return await said(200, b"fine") == "fine"

        await until_true(is_back)
        assert worker.breaker.state == "closed"
    finally:
        asking.cancel()
        await worker.close()


async def test_a_token_that_is_gone_is_told_to_nobody_outside(
    tmp_path: Path, strange: tuple[type[Strange], str]
) -> None:
    node = InferenceNodeTable(url=strange[1], token="nowhere")
    worker = Worker("dc-1", node, lambda name: tmp_path / name, SYSTEM)
    await worker.refresh()
    assert "nowhere" in worker.problem
    inference = Inference(InferenceTable(nodes={"dc-1": node}), {"dc-1": worker}, SYSTEM)
    with pytest.raises(UnavailableError, match="^nobody can do this step now$"):
        await inference.step("gw-1", "", encode_step(StepAsk(STRANGER, 60.0), PIXELS, {}), SYSTEM.monotonic())
    await worker.close()
