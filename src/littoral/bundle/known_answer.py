"""A picture that is part of the package, and the vector that the node makes of it: what a bundle is held against."""

import asyncio
import base64
from importlib import resources
from typing import NamedTuple

import numpy as np

from littoral.artifact import digest
from littoral.bundle.recipe import Recipe
from littoral.clock import SYSTEM
from littoral.errors import NotFoundError
from littoral.node.caches import Caches
from littoral.node.site import Site
from littoral.node.site_tables import (
    AgentStepTable,
    CacheTable,
    ModelStepTable,
    SearchStepTable,
)
from littoral.node.wiring import open_guests, open_pipelines
from littoral.runtime.edges import tensors_of
from littoral.tensors import Array
from littoral.vectors.collection import Collection

__all__ = ["KnownAnswer", "known_answer"]

PICTURE = "known.jpg"


class KnownAnswer(NamedTuple):
    """picture: Base64 of the file. name, shape: of the one tensor before the search. vector: SHA-256 of its bytes."""

    picture: str
    name: str
    shape: tuple[int, ...]
    vector: str


def known_answer(recipe: Recipe) -> KnownAnswer:
    """Runs the pipeline up to its search, as a node does, and checks every edge of it.

    Raises SettingError where a step does not fit the one before, InputError where it does not end in one vector.
    """
    picture = (resources.files("littoral.bundle") / "js" / PICTURE).read_bytes()
    tensors = _run(recipe, picture)
    if len(tensors) != 1:
        raise recipe.refusal(f"gives {len(tensors)} tensors, expected one", "name one output in `take`")
    ((name, array),) = tensors.items()
    if array.dtype != np.float32:
        raise recipe.refusal(f"gives `{name}` of {array.dtype}, expected float32")
    vector = digest(np.ascontiguousarray(array).tobytes())
    return KnownAnswer(base64.b64encode(picture).decode(), name, tuple(array.shape), vector)


def _run(recipe: Recipe, picture: bytes) -> dict[str, Array]:
    site = _of_one_pipeline(recipe.site, recipe.pipeline)
    before = tuple(step for step in site.pipelines[recipe.pipeline] if not isinstance(step, SearchStepTable))
    with open_guests(site, lambda _: None, SYSTEM, Caches(CacheTable())) as guests:
        open_pipelines(site, guests, _no_collection, SYSTEM)
        short = guests.site._replace(pipelines={recipe.pipeline: before})
        served = open_pipelines(short, guests, _no_collection, SYSTEM)[recipe.pipeline]
        answer = asyncio.run(served.pipeline.run(picture))
    return dict(tensors_of(answer.value))


def _of_one_pipeline(site: Site, pipeline: str) -> Site:
    """The site with nothing but what the pipeline uses."""
    steps = site.pipelines[pipeline]
    agents = {step.agent for step in steps if isinstance(step, AgentStepTable)}
    models = {step.model for step in steps if isinstance(step, ModelStepTable)}
    return site._replace(
        pipelines={pipeline: steps},
        agents={name: table for name, table in site.agents.items() if name in agents},
        models={name: table for name, table in site.models.items() if name in models},
    )


def _no_collection(name: str) -> Collection:
    raise NotFoundError(f"collection `{name}` is not open")
