"""The data centre changes while sites ask it: its nodes come, go and are others by the file alone."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fallback_rig import PIXELS, Rig, done_by, fallback_rig
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.orchestrator import inference as inference_module
from littoral.orchestrator.file import InferenceNodeTable, InferenceTable
from littoral.orchestrator.inference import Inference, Worker
from littoral.steps.messages import StepAsk, encode_loads, encode_step
from littoral.steps.offer import Offer
from waiting import until_async

KEY = f"model:{'0' * 64}"


def parts(rig: Rig) -> tuple[Path, str, dict[str, str]]:
    """The file, what is before its nodes, and the table of each of them."""
    file = rig.kept.folder / "orchestrator.toml"
    head, *tables = file.read_text().split("[inference.nodes.")
    return file, head, {table.partition("]")[0]: f"[inference.nodes.{table}" for table in tables}


def workers(rig: Rig) -> set[str]:
    assert rig.kept.found.inference is not None
    return {*rig.kept.found.inference.workers}


async def told(rig: Rig) -> dict[str, Any]:
    return await rig.kept.done("viewer", "GET", "/api/fleet/inference")


async def test_nodes_come_and_go_and_who_stays_goes_on(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path, names=("dc-1", "dc-2")) as rig:
        file, head, tables = parts(rig)
        file.write_text(head + tables["dc-1"])
        await until_async(lambda: workers(rig) == {"dc-1"})
        assert done_by(await rig.step(rig.frame()))[0] == "dc-1"
        (first,) = (await told(rig))["nodes"]
        assert (first["node"], first["answers"], first["steps"]) == ("dc-1", True, {"answered": 1})
        assert first["bytes"]["sent"] == len(rig.frame())
        file.write_text(head + tables["dc-1"] + tables["dc-2"])
        await until_async(lambda: workers(rig) == {"dc-1", "dc-2"})
        assert {node["node"]: node["steps"].get("answered", 0) for node in (await told(rig))["nodes"]} == {
            "dc-1": 1,
            "dc-2": 0,
        }, "who stays keeps what it counted"
        file.write_text(head + tables["dc-2"])
        await until_async(lambda: workers(rig) == {"dc-2"})
        assert done_by(await rig.step(rig.frame()))[0] == "dc-2"
        found = await told(rig)
        assert (found["takes"], found["steps"], found["busy"]) == (True, {"answered": 2}, 0)
        (site,) = found["sites"]
        assert (site["node"], site["steps"]) == ("gw-1", {"answered": 2})
        metrics = (await rig.kept.ask("viewer", "GET", "/metrics")).body.decode()
        sent = f'littoral_fleet_inference_bytes_total{{direction="sent",node="dc-2"}} {len(rig.frame())}'
        assert sent in metrics
        assert 'node="dc-1"' not in metrics


async def test_bounds_are_others_and_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    async with fallback_rig(tmp_path) as rig:
        file, head, tables = parts(rig)
        good = file.read_text()
        file.write_text(good.replace("token =", "tokem ="))
        await until_async(lambda: rig.kept.found.inference.problem != "")
        assert "tokem" in (await told(rig))["problem"]
        assert (
            "littoral_fleet_inference_file_wrong 1" in (await rig.kept.ask("viewer", "GET", "/metrics")).body.decode()
        )
        assert done_by(await rig.step(rig.frame()))[0] == "dc-1"
        file.write_text(head.partition("[inference]")[0])
        await until_async(lambda: "takes a restart" in rig.kept.found.inference.problem)
        assert (await rig.step(rig.frame())).status == 200
        file.write_text(f"{head}\nbody_bytes_max = 1024\nstep_count_max = 7\n{tables['dc-1']}")
        await until_async(lambda: rig.kept.found.inference.step_count_max == 7)
        assert (await told(rig))["problem"] == ""
        assert (await rig.step(rig.frame())).status == 413
        (site,) = (await told(rig))["sites"]
        assert site["steps"] == {"answered": 2, "large": 1}


class Holds(BaseHTTPRequestHandler):
    """A node of the data centre whose steps take until a test lets them go."""

    protocol_version = "HTTP/1.1"
    came: threading.Event
    goes: threading.Event

    def do_GET(self) -> None:
        self._say(encode_loads("", {KEY: Offer(0, 0, 1, 0.01)}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.came.set()
        assert self.goes.wait(300)
        self._say(b"done")

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def holds() -> Iterator[tuple[type[Holds], str]]:
    handler = type("Handler", (Holds,), {"came": threading.Event(), "goes": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield handler, f"http://127.0.0.1:{server.server_port}"
        finally:
            handler.goes.set()
            server.shutdown()
            serving.join()


async def test_a_node_that_goes_ends_its_steps(
    tmp_path: Path, holds: tuple[type[Holds], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LOADS_S": 60.0, "FIRST_S": 60.0, "FRESH_S": 3600.0}.items():
        monkeypatch.setattr(inference_module, name, value)
    handler, url = holds
    (tmp_path / "token").write_text("littoral_x")
    table = InferenceTable(nodes={"dc-1": InferenceNodeTable(url=url, token="token")}, deadline_ms=300_000)
    leaving = Worker("dc-1", table.nodes["dc-1"], lambda name: tmp_path / name, SYSTEM)
    inference = Inference(table, {"dc-1": leaving}, SYSTEM)
    await leaving.refresh()
    asking = asyncio.create_task(inference.keep_asking())
    frame = encode_step(StepAsk(KEY, 300.0), PIXELS, {})
    step = asyncio.create_task(inference.step("gw-1", "", frame, SYSTEM.monotonic()))
    assert await asyncio.to_thread(handler.came.wait, 300)
    assert inference.change(table, {}) == [leaving]
    retires = asyncio.create_task(leaving.retire())
    with pytest.raises(NotFoundError):
        await inference.step("gw-1", "", frame, SYSTEM.monotonic())
    assert not retires.done(), "it has a step to end"
    handler.goes.set()
    assert await step == b"done"
    await retires
    assert (leaving.is_gone, leaving.tally.busy) == (True, 0)
    asking.cancel()
