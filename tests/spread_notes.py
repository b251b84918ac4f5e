"""Nodes of one process, real in all but their network, over which notes are spread that real text encoders embed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.artifact import Store
from littoral.node.node import Node
from littoral.node.origin import Origin, coming_from
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node
from littoral.runtime.edges import tensors_of
from littoral.runtime.pipeline import Answer
from littoral.vectors.collection import Collection
from littoral.vectors.records import PointId
from mixed_texts import wordpiece
from nodes_in_process import Wires
from two_models import add_version, encoder
from waiting import until_async

MESH = """
[mesh]
site = "shop"
peers = {{ {peers} }}
deadline_ms = 30000
"""
SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
{mesh}
[models.encoder]
path = "encoder"

[models.wide]
path = "wide.wasm"

[agents.words]
path = "builtin:text"
files = {{ tokenizer = "tokenizer.json" }}
config = {{ max_tokens = 16 }}

[collections.notes]
vectors = {{ size = 24, distance = "Cosine" }}
model = "encoder@1"
{migrate}
spread = {{ {spread} }}

[pipelines.sentences]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}]

[pipelines.keep]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}, {{ upsert = "notes", payload = {{ text = "{{input}}" }} }}]

[pipelines.find]
steps = [{{ agent = "words" }}, {{ model = "encoder" }}, {{ search = "notes", limit = 3, with_payload = true }}]
"""
MIGRATE = 'migrate = { source = "payload:text", pipeline = "sentences", points_per_s = 100000 }'
SPREAD = 'strategy = "hash", shards = 2, replicas = 1, recall = 1.0'
DEADLINE_MS = 60_000.0
NAMES = ("a", "b", "c")
ATTEMPTS = 240_000


def site_text(
    name: str,
    names: Sequence[str],
    *,
    peers: Mapping[str, str] | None = None,
    migrate: str = MIGRATE,
    regions: Mapping[str, str] | None = None,
    **more: str,
) -> str:
    """regions: of all nodes. more: `spread`, `mesh` in the place of the table of that name, `tables` for the end."""
    others = {other: "127.0.0.1:1" for other in names if other != name} | dict(peers or {})
    told = ", ".join(f'{other} = "{address}"' for other, address in others.items())
    mesh = more.get("mesh", MESH.format(peers=told))
    if regions is not None:
        of_others = ", ".join(f'{other} = "{region}"' for other, region in regions.items() if other != name)
        mesh += f'region = "{regions[name]}"\nregions = {{ {of_others} }}\n'
    site = SITE.format(name=name, mesh=mesh, migrate=migrate, spread=more.get("spread", SPREAD))
    return site + more.get("tables", "")


def write_notes_folder(folder: Path, text: str, versions: Iterable[int] = (1, 2)) -> Path:
    folder.mkdir(exist_ok=True)
    for version in versions:
        add_version(folder, version)
    encoder(3).save(folder / "wide.wasm")
    Store().record(encoder(3).digest)
    (folder / "tokenizer.json").write_text(wordpiece())
    if "other.json" in text:
        (folder / "other.json").write_text(wordpiece(lowercase=False))
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


class NotesNode:
    """One of them: pipelines and collection as its HTTP interface uses them."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def answer(self, pipeline: str, data: bytes, point: int = 0) -> Answer:
        with coming_from(Origin(data, id=str(point))):
            return await self.node.pipelines[pipeline].pipeline.run(data, deadline_ms=DEADLINE_MS)

    async def run(self, pipeline: str, data: bytes, point: int = 0) -> Any:
        return (await self.answer(pipeline, data, point)).value

    async def keep(self, point: int, text: str) -> None:
        await self.run("keep", text.encode(), point)

    async def find(self, text: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.run("find", text.encode())
        return found

    async def embed(self, text: str) -> npt.NDArray[np.float32]:
        (vector,) = tensors_of(await self.run("sentences", text.encode())).values()
        return np.asarray(vector[0], np.float32)

    @property
    def collection(self) -> Collection:
        return self.node.collections.get("notes")

    async def texts(self) -> dict[PointId, str]:
        records, _ = await self.collection.scroll(limit=10_000)
        return {record.id: (record.payload or {}).get("text", "") for record in records}

    async def vector(self, point: int) -> npt.NDArray[np.float32]:
        (record,) = await self.collection.retrieve([point], with_vector=True)
        assert isinstance(record.vector, bytes)
        return np.frombuffer(record.vector, "<f4")

    async def migrate(self, to: str) -> None:
        assert self.node.migrations is not None
        await self.node.migrations.start("notes", to)

    async def back(self) -> None:
        assert self.node.migrations is not None
        await self.node.migrations.back("notes")

    async def drop(self) -> None:
        assert self.node.migrations is not None
        await self.node.migrations.drop("notes")

    def told(self) -> Any:
        """Of the migration; None without one."""
        assert self.node.migrations is not None
        return self.node.migrations.all().get("notes")

    @property
    def model(self) -> str:
        """Whose embeddings answer on this node."""
        (model,) = self.collection.config.models
        return f"{model.name}@{model.number}"

    @property
    def step(self) -> str:
        """Of its map; empty without a change."""
        assert self.node.federation is not None
        spread = self.node.federation.map.spreads["notes"]
        return "" if spread.change is None else spread.change.step


@contextlib.asynccontextmanager
async def opened_note_node(site: Path, wires: Wires, name: str) -> AsyncIterator[NotesNode]:
    described = read_site(site)
    with embedded(described.data) as link:
        async with link, open_node(described, link, transport=wires.end(name), say=print) as node:
            yield NotesNode(node)


@contextlib.asynccontextmanager
async def notes_nodes(
    folder: Path,
    names: Sequence[str] = NAMES,
    *,
    wires: Wires | None = None,
    regions: Mapping[str, str] | None = None,
    **more: str,
) -> AsyncIterator[dict[str, NotesNode]]:
    wires = wires or Wires()
    async with contextlib.AsyncExitStack() as opened:
        nodes = {}
        for name in names:
            site = write_notes_folder(folder / name, site_text(name, names, regions=regions, **more))
            nodes[name] = await opened.enter_async_context(opened_note_node(site, wires, name))
        await settled(nodes)
        yield nodes


async def settled(nodes: Mapping[str, NotesNode]) -> None:
    """All know where shards lie, and hold theirs."""
    for node in nodes.values():
        federation = node.node.federation
        assert federation is not None
        await until_async(lambda federation=federation: not federation.lacking())


async def until_model(nodes: Mapping[str, NotesNode], model: str, step: str) -> None:
    """Of all nodes."""
    try:
        await until_async(
            lambda: all((node.model, node.step) == (model, step) for node in nodes.values()), attempts=ATTEMPTS
        )
    except AssertionError as error:
        found = {name: (node.model, node.step, node.told()) for name, node in nodes.items()}
        raise AssertionError(f"not all go by {model}, step {step!r}: {found}") from error


async def fill(nodes: Mapping[str, NotesNode], texts: Mapping[int, str]) -> None:
    ordered = list(nodes.values())
    for at, (point, text) in enumerate(texts.items()):
        await ordered[at % len(ordered)].keep(point, text)
        await asyncio.sleep(0)


def shards_on_disk(nodes: Mapping[str, NotesNode]) -> list[str]:
    """Of all of them."""
    return sorted(part for node in nodes.values() for part in node.node.collections.parts())
