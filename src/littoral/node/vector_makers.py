"""What makes the vectors that a pipeline's steps search with and write: read off its tables. Pure.

The maker of a vector is the last guest before it: the model of `agent → model → normalize → search`, the agent where no
model stands between. A vector that comes with the request has none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from littoral.errors import ConflictError
from littoral.node.site import Site, inner_steps
from littoral.node.site_tables import (
    AgentStepTable,
    ForEachStepTable,
    ModelStepTable,
    SearchStepTable,
    StepTable,
    UpsertStepTable,
)
from littoral.runtime.edges import BYTES, EdgeType
from littoral.runtime.host.options import HostOptions
from littoral.runtime.sources import Placed, step_names, takes_of
from littoral.runtime.step import Stage
from littoral.vectors.collections import Collections
from littoral.vectors.model_version import ModelVersion

__all__ = ["Fed", "Maker", "Makers", "feeds", "given_by", "in_its_place", "made_by", "models_of"]


class Maker(NamedTuple):
    """name: of a model or an agent of the site file."""

    kind: Literal["model", "agent"]
    name: str


class Fed(NamedTuple):
    """A vector of a collection; "" = the one without a name."""

    collection: str
    vector: str = ""

    def __str__(self) -> str:
        return f"collection `{self.collection}`" + (f", vector `{self.vector}`," if self.vector else "")


Makers = frozenset[Maker]
NOBODY: Makers = frozenset()


def given_by(tables: Sequence[StepTable], outer: Makers = NOBODY) -> list[Makers]:
    """Of each step, the makers of what it is given. outer: those of the pipeline's input."""
    return _walked(tables, outer)[0]


def made_by(tables: Sequence[StepTable], outer: Makers = NOBODY) -> Makers:
    """The makers of what the last step gives."""
    return _walked(tables, outer)[1][-1]


def in_its_place(model: ModelVersion, pipeline: str, tables: Sequence[StepTable]) -> ModelVersion:
    """As it stands in pipelines where the steps of this one embed. Raises ConflictError."""
    makers = [maker for maker in made_by(tables) if maker.kind == "model"]
    if len(makers) != 1:
        raise ConflictError(f"pipeline `{pipeline}` does not end in what one model makes")
    return msgspec.structs.replace(model, stands_for=makers[0].name if makers[0].name != model.name else "")


def feeds(site: Site, pipeline: str) -> Mapping[Fed, Makers]:
    """The vectors that this pipeline's vectors meet, and the makers of these.

    One that embeds anew for a collection's migration is one of them.
    """
    found: dict[Fed, Makers] = {}
    for fed, makers in _met(site.pipelines[pipeline], NOBODY):
        found[fed] = found.get(fed, NOBODY) | makers
    for collection, table in site.collections.items():
        for vector, way in ({} if table.migrate is None else table.migrate.ways).items():
            if way.pipeline == pipeline:
                fed = Fed(collection, vector)
                found[fed] = found.get(fed, NOBODY) | made_by(site.pipelines[pipeline])
    return found


def models_of(collections: Collections, fed: Fed) -> tuple[ModelVersion, ...]:
    """Whose it is, as the collection says; nobody's where there is none."""
    return collections.get(fed.collection).config.models_of(fed.vector) if fed.collection in collections else ()


def _met(tables: Sequence[StepTable], outer: Makers) -> Iterator[tuple[Fed, Makers]]:
    for table, makers in zip(tables, given_by(tables, outer), strict=True):
        match table:
            case SearchStepTable():
                yield Fed(table.search, table.using), makers
            case UpsertStepTable():
                yield Fed(table.upsert, table.vector), makers
            case ForEachStepTable():
                yield from _met(inner_steps(table), makers)


def _walked(tables: Sequence[StepTable], outer: Makers) -> tuple[list[Makers], list[Makers]]:
    names = step_names([Placed(_Named(_name(table)), table.name, table.source) for table in tables])
    given: list[Makers] = []
    made: list[Makers] = []
    for index, table in enumerate(tables):
        takes = takes_of(index, table.source, names)
        given.append(NOBODY.union(*(outer if take.giver < 0 else made[take.giver] for take in takes)))
        made.append(_made(table, given[-1]))
    return given, made


def _made(table: StepTable, given: Makers) -> Makers:
    match table:
        case ModelStepTable():
            return frozenset({Maker("model", table.model)})
        case AgentStepTable():
            return frozenset({Maker("agent", table.agent)})
        case ForEachStepTable():
            return made_by(inner_steps(table), given)
        case SearchStepTable() | UpsertStepTable():
            return NOBODY
    return given


class _Named:
    """What names of steps are made of; nothing is run here."""

    takes: EdgeType = BYTES

    def __init__(self, name: str) -> None:
        self.name = name

    def bind(self, given: EdgeType) -> Stage:
        raise NotImplementedError(f"step `{self.name}` is given {given}")


def _name(table: StepTable) -> str:
    match table:
        case AgentStepTable():
            return table.agent
        case ModelStepTable():
            return table.model
        case HostOptions():
            return table.step
        case ForEachStepTable():
            return "for_each"
        case SearchStepTable():
            return "search"
        case UpsertStepTable():
            return "upsert"
