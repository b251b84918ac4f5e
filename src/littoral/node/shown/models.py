"""`/api/models/{name}/versions` and `/api/examined`: what versions there are, and what is in a file."""

import asyncio
import contextlib
import sys
from typing import Any

from littoral.errors import DeadlineError, InputError, NotFoundError, SetupError, UnavailableError
from littoral.making.about import about
from littoral.node.node import Node, ServedModel, ServedVersion
from littoral.settings import environment
from littoral.web import Answer, Request, Route, json_answer

__all__ = ["model_routes"]

EXAMINED_S = 18
MEMORY_BYTES = 2 << 30
COPIES = 6


def model_routes(node: Node) -> list[Route]:
    """One file is examined at a time."""
    turn = asyncio.Lock()

    async def versions(request: Request) -> Answer:
        name = request.names["name"]
        if (found := node.models.get(name)) is None:
            raise NotFoundError(f"model `{name[:80]}` is unknown")
        return json_answer(_versions(node, found))

    async def examined(request: Request) -> Answer:
        data = await request.body.read()
        if not data:
            raise InputError("body is empty, expected an ONNX model or a WebAssembly module")
        if turn.locked():
            raise UnavailableError("another file is being examined", hint="try again")
        async with turn:
            return Answer(await _examined(data))

    return [Route("GET", "/api/models/{name}/versions", versions), Route("POST", "/api/examined", examined)]


def _versions(node: Node, served: ServedModel) -> dict[str, Any]:
    known = [] if node.repository is None else node.repository.index(served.name)
    table = None if node.site is None else node.site.signatures
    rows = []
    for entry in known:
        row: dict[str, Any] = {"number": entry.version, "state": entry.state, "reason": entry.reason}
        found = served.versions.get(entry.version)
        rows.append(
            row
            | {"is_serving": found is served.serving and found is not None}
            | _version(found, is_shared=served.is_shared)
        )
    return {
        "name": served.name,
        "signatures": None if table is None else {"keys": len(table.keys), "threshold": table.threshold},
        "before": None if node.repository is None else node.repository.before(served.name),
        "versions": rows,
    }


def _version(found: ServedVersion | None, *, is_shared: bool) -> dict[str, Any]:
    """Nothing of one that is not open. is_shared: nothing of what others asked it."""
    if found is None:
        return {"about": None}
    session, pool, counted = found.pool.first, found.pool.statistics(), found.statistics
    told = about(found.model.manifest, found.model.digest, found.model.size_bytes)
    told |= {"engine": session.engine, "inputs": session.inputs, "outputs": session.outputs}
    told["memory_bytes"] = session.memory_bytes
    if is_shared:
        runs: dict[str, Any] = {
            "runs": counted.success_count,
            "failures": counted.fail_count,
            "run_mean_ms": None,
        }
    else:
        runs = {"runs": pool.runs, "failures": pool.failures, "run_mean_ms": pool.work_ms if pool.runs else None}
    return {"about": told | runs}


async def _examined(data: bytes) -> bytes:
    """The report as JSON. In a process of its own: the file is somebody's, and reading it takes its time."""
    kind = "wasm" if data[:4] == b"\0asm" else "onnx"
    bounds = str(MEMORY_BYTES + COPIES * len(data)), str(EXAMINED_S)
    command = (sys.executable, "-P", "-m", "littoral.making.contents", kind, *bounds)
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env=environment()
        )
    except OSError as error:
        raise SetupError(f"no process to examine a file in: {error}") from error
    try:
        async with asyncio.timeout(EXAMINED_S):
            told, _ = await process.communicate(data)
    except TimeoutError as error:
        raise DeadlineError(f"the file was not examined in {EXAMINED_S} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise InputError(
            f"reading the file failed ({process.returncode}): more than {MEMORY_BYTES >> 20} MiB of memory?",
            hint="`littoral explain FILE` tells more",
        )
    return told
