"""The pipeline opened as a node opens it, and what it makes of an input: what a bundle is held against."""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple, cast

import numpy as np

from littoral.bundle.recipe import AgentPart, HostPart, ModelPart, Part, Recipe
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.node.caches import Caches
from littoral.node.site import Site
from littoral.node.site_tables import CacheTable, SearchStepTable
from littoral.node.wiring import Guests, open_guests, open_pipelines
from littoral.runtime.abi import Ports
from littoral.runtime.edges import BYTES, EdgeType, TensorsType, Value
from littoral.tensors import DTYPES, Array, TensorSpec, decode_frame, encode_frame
from littoral.vectors.collection import Collection

__all__ = ["Tried", "answer_bytes", "known_file", "some", "tried"]


class Tried(NamedTuple):
    """takes, gives: of each part before the search. memory_bytes: of each, after the input.

    given: the input, tensors as one frame. answer: what comes before the search.
    """

    takes: tuple[Ports | None, ...]
    gives: tuple[EdgeType, ...]
    memory_bytes: tuple[int, ...]
    given: bytes
    answer: Value


def known_file(name: str) -> bytes:
    """An input that is part of the package."""
    return (resources.files("littoral.bundle") / "js" / name).read_bytes()


def tried(recipe: Recipe, given: bytes) -> Tried:
    """Runs the pipeline up to its search, as a node does, and checks every edge of it.

    given: bytes, or one frame of tensors where the first step takes tensors. Raises SettingError where a step does not
    fit the one before, and what the steps raise.
    """
    site = _of_one_pipeline(recipe)
    before = tuple(step for step in site.pipelines[recipe.pipeline] if not isinstance(step, SearchStepTable))
    with open_guests(site, lambda _: None, SYSTEM, Caches(CacheTable())) as guests:
        open_pipelines(site, guests, _no_collection, SYSTEM)
        short = guests.site._replace(pipelines={recipe.pipeline: before})
        pipeline = open_pipelines(short, guests, _no_collection, SYSTEM)[recipe.pipeline].pipeline
        value = given if pipeline.takes == BYTES else decode_frame(given)
        answer = asyncio.run(pipeline.run(value)).value
        parts = recipe.parts[: len(before)]
        takes = tuple(_takes(part, guests) for part in parts)
        memory = tuple(_memory_bytes(part, guests) for part in parts)
    return Tried(takes, tuple(edge.gives for edge in pipeline.edges), memory, given, answer)


def _takes(part: Part, guests: Guests) -> Ports | None:
    match part:
        case AgentPart():
            return guests.agents[part.name].pool.first.input
        case ModelPart():
            return guests.models[part.name].pool.first.inputs
        case _:
            return None


def _memory_bytes(part: Part, guests: Guests) -> int:
    return guests.agents[part.name].pool.first.statistics().memory_bytes if isinstance(part, AgentPart) else 0


def some(ports: Sequence[TensorSpec]) -> bytes:
    """A frame of numbers between −1 and 1, or of bytes: the same on every machine. What has any size has 1."""
    arrays = {port.name: some_array(port.dtype, [max(1, size) if size else 0 for size in port.shape]) for port in ports}
    return encode_frame(arrays, {port.name: port.dtype for port in ports})


def some_array(dtype: str, shape: Sequence[int]) -> Array:
    storage = DTYPES[dtype].storage
    whole = np.random.default_rng(0).integers(-1000, 1001, shape)
    found = whole / 1000 if np.issubdtype(storage, np.floating) else whole % 100
    return np.ascontiguousarray(found.astype(storage))


def answer_bytes(value: Value, gives: EdgeType) -> bytes:
    """What the digest of a known answer is of; `bytesOfAnswer` in js/chain.mjs does the same."""
    if isinstance(value, bytes):
        return value
    if isinstance(gives, TensorsType):
        arrays = cast("Mapping[str, Array]", value)
        return b"".join(np.ascontiguousarray(arrays[port.name]).tobytes() for port in gives.ports)
    hits = cast("Sequence[Mapping[str, Any]]", value)
    return b"".join(struct.pack("<2d", hit["id"], hit["score"]) for hit in hits)


def _of_one_pipeline(recipe: Recipe) -> Site:
    """The site with nothing but what the pipeline uses."""
    site, steps = recipe.site, recipe.site.pipelines[recipe.pipeline]
    agents = {part.name for part in recipe.only(AgentPart)}
    models = {part.name for part in recipe.only(ModelPart)}
    models |= {part.labels_of for part in recipe.only(HostPart) if part.labels_of is not None}
    return site._replace(
        pipelines={recipe.pipeline: steps},
        agents={name: table for name, table in site.agents.items() if name in agents},
        models={name: table for name, table in site.models.items() if name in models},
    )


def _no_collection(name: str) -> Collection:
    raise NotFoundError(f"collection `{name}` is not open")
