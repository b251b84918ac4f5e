"""A site, an orchestrator and nodes of a data centre in this process, over real HTTP; between data centre and
orchestrator over TLS. What differs from a fleet of machines is that no distance lies between them.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from littoral.clock import SYSTEM
from littoral.node.access.roles import Role
from littoral.node.node import Node
from littoral.orchestrator import inference as inference_module
from littoral.runtime.call import Call, calling
from littoral.runtime.edges import Value
from littoral.runtime.step import How
from littoral.steps.messages import StepAsk, decode_loads, decode_told, encode_step
from littoral.web.access.tokens import new_token, write_tokens
from mesh_certificates import Authority
from node_fixture import Served, served_node
from orchestrated import FILE, Kept, orchestrated
from raw_http import Reply
from site_folder import site_folder

WORKER = """
[node]
name = "NAME"
listen = "127.0.0.1:0"
data = "data"

[auth]

[tls]
certificate = "certificate.pem"
key = "key.pem"

[placement]
PLACEMENT

[models.embedder]
path = "embedder.wasm"
instances = { min = 1, max = 2 }

[pipelines.p]
steps = [{ model = "embedder" }]
"""
SITE = """
[node]
name = "gw-1"
listen = "127.0.0.1:0"
data = "data"

[updates]
trust = "fleet.json"
poll_s = 86400

[placement]
fallback = true
tries = 0.0
PLACEMENT

[models.embedder]
path = "embedder.wasm"
instances = { min = 1, max = 1 }

[agents.decode]
path = "builtin:image"
config = { width = 32, height = 32 }
memory_mb = 64
deadline_ms = 5000

[pipelines.here]
steps = [{ agent = "decode" }, { model = "embedder" }]

[pipelines.any]
steps = [{ agent = "decode" }, { model = "embedder", place = "auto", residency = "any" }]

[pipelines.site]
steps = [{ agent = "decode" }, { model = "embedder", place = "auto" }]
"""
PIXELS = {"x": np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)}


@dataclass
class Rig:
    """kept: the orchestrator, with nodes `gw-1` and `gw-2` enrolled. workers: of the data centre, by name."""

    kept: Kept
    workers: dict[str, Served] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Of the model that all have."""
        (worker, *_) = self.workers.values()
        return f"model:{worker.node.models['embedder'].model.digest}"

    def frame(self, *, key: str = "", left_s: float = 60.0, value: Value | None = None) -> bytes:
        return encode_step(StepAsk(key or self.key, left_s), PIXELS if value is None else value, {})

    async def step(self, body: bytes, who: str = "gw-1", **headers: str) -> Reply:
        return await self.kept.ask(who, "POST", "/fleet/v1/steps", body, **headers)

    async def offers(self, who: str = "gw-1") -> set[str]:
        reply = await self.kept.ask(who, "GET", "/fleet/v1/steps")
        assert reply.status == 200, reply.body
        return {*decode_loads(reply.body, "orchestrator").offers}

    def counted(self, outcome: str) -> int:
        """By the orchestrator."""
        assert self.kept.found.inference is not None
        return self.kept.found.inference.tally.outcomes[outcome]


def done_by(reply: Reply) -> tuple[str, np.ndarray]:
    """Who did it, and its one tensor."""
    assert reply.status == 200, reply.body
    told, value = decode_told(reply.body, "orchestrator")
    assert isinstance(value, Mapping)
    (tensor,) = value.values()
    return told.node, np.asarray(tensor)


@contextlib.asynccontextmanager
async def fallback_rig(
    folder: Path,
    *,
    names: Sequence[str] = ("dc-1",),
    inference: str = "",
    groups: Mapping[str, str] | None = None,
    placement: str = "",
) -> AsyncIterator[Rig]:
    """inference: more keys of the orchestrator's table. groups: by worker, for whom it works. placement: of workers.

    How busy this machine is decides nothing: loads may take long here.
    """
    authority = Authority(folder / "ca")
    async with contextlib.AsyncExitStack() as opened:
        patched = opened.enter_context(pytest.MonkeyPatch.context())
        for name, value in {"LOADS_S": 60.0, "FIRST_S": 60.0, "FRESH_S": 3600.0}.items():
            patched.setattr(inference_module, name, value)
        workers, tables = {}, ""
        for name in names:
            (folder / name).mkdir()
            workers[name], table = await _worker(opened, folder / name, authority, placement, (groups or {}).get(name))
            tables += table
        (folder / "fleet").mkdir()
        text = FILE + f"\n[inference]\n{inference}\n" + tables
        kept = await opened.enter_async_context(orchestrated(folder / "fleet", text))
        await kept.enrolled("gw-1", "gw-2")
        yield Rig(kept, workers)


async def _worker(
    opened: contextlib.AsyncExitStack, folder: Path, authority: Authority, placement: str, group: str | None
) -> tuple[Served, str]:
    """And what the orchestrator's file says of it."""
    site = site_folder(folder, WORKER.replace("NAME", folder.name).replace("PLACEMENT", placement))
    made = authority.issue(folder.name)
    made.certificate.rename(folder / "certificate.pem")
    made.key.rename(folder / "key.pem")
    text, token = new_token("fleet", [Role.STEPS], SYSTEM.wall())
    write_tokens(folder / "tokens.json", [token])
    (folder / "token").write_text(text)
    served = await opened.enter_async_context(served_node(folder, site=site))
    lines = [
        f"[inference.nodes.{folder.name}]",
        f'url = "https://{served.address}"',
        f'token = "{folder / "token"}"',
        f'ca = "{authority.ca}"',
        *([f'groups = ["{group}"]'] if group else []),
    ]
    return served, "\n".join([*lines, ""])


@contextlib.asynccontextmanager
async def site_of(rig: Rig, folder: Path, *, placement: str = "spill_ms = 0.001") -> AsyncIterator[Node]:
    """Node `gw-1` of the fleet, alone in its site. placement: by default whatever it does takes too long here."""
    trust = await rig.kept.done("operator", "GET", "/api/fleet/trust")
    trust["orchestrator"] = f"http://{rig.kept.address}"
    site = enrolled(folder, SITE.replace("PLACEMENT", placement), json.dumps(trust), rig.kept.tokens["gw-1"])
    async with served_node(folder, site=site) as served:
        yield served.node


def enrolled(folder: Path, text: str, trust: str, token: str) -> Path:
    """The site file of a node that has been enrolled."""
    (folder / "data/updates").mkdir(parents=True)
    (folder / "fleet.json").write_text(trust)
    (folder / "data/updates/bearer").write_text(f"{token}\n")
    return site_folder(folder, text)


async def ask(node: Node, pipeline: str, picture: bytes, *, left_s: float | None = None) -> tuple[np.ndarray, How]:
    found = node.pipelines[pipeline].pipeline
    if left_s is None:
        answer = await found.run(picture)
    else:
        with calling(Call(node.clock.monotonic() + left_s)):
            answer = await found.run(picture)
    assert isinstance(answer.value, Mapping)
    (tensor,) = answer.value.values()
    return np.asarray(tensor), answer.how
