"""Table of a site file about a collection that is taken to another model: where what was embedded is kept."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from littoral.node.site_problems import NAME_PATTERN, Place, nearest_hint

if TYPE_CHECKING:
    from littoral.node.site_tables import CollectionTable

__all__ = ["MODELS_MAX", "MigrateTable", "WayTable", "check_models"]

MODELS_MAX = 8
AGENTS_MAX = 64
WAYS_MAX = 64
MODEL = re.compile(r"[a-zA-Z0-9_-]{1,64}(@[0-9]{1,9})?")


Source = Annotated[str, Meta(pattern="^(payload|file):.{1,256}$")]
Embedder = Annotated[str, Meta(pattern=NAME_PATTERN)]


class WayTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one vector is embedded anew."""

    source: Source
    pipeline: Embedder


class MigrateTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the points of a collection are embedded anew. source, pipeline: of the vector without a name."""

    source: Annotated[
        Source | None,
        Meta(description="What was embedded: `payload:KEY` (a text) or `file:KEY` (the name of a file below `folder`)"),
    ] = None
    pipeline: Annotated[Embedder | None, Meta(description="Embeds it: bytes in, one tensor [1, size] out")] = None
    named: Annotated[
        dict[str, WayTable],
        Meta(max_length=WAYS_MAX, description="`source` and `pipeline` of vectors with names, by name"),
    ] = {}
    folder: Annotated[str, Meta(max_length=4096, description="Of the files that `file:KEY` names")] = "."
    points_per_s: Annotated[float, Meta(gt=0, le=100_000, description="Points embedded anew a second, at most")] = 100.0
    keep_h: Annotated[
        float, Meta(ge=0, le=8760, description="Hours for which the generation before is kept for the way back")
    ] = 24.0
    agents: Annotated[
        dict[str, dict[str, str]],
        Meta(
            max_length=AGENTS_MAX,
            description="By model, `NAME` or `NAME@NUMBER`: agents of pipelines in whose place others stand with it",
        ),
    ] = {}

    @property
    def ways(self) -> Mapping[str, WayTable]:
        """By vector, "" = the one without a name."""
        if self.source is None or self.pipeline is None:
            return self.named
        return {"": WayTable(source=self.source, pipeline=self.pipeline), **self.named}


def check_models(
    collections: Mapping[str, "CollectionTable"],
    models: Mapping[str, Any],
    pipelines: Mapping[str, Any],
    agents: Mapping[str, Any],
    place: Place,
) -> None:
    """What the tables say of each other. Raises SettingError."""
    for name, table in collections.items():
        at = place / "collections" / name
        for vector, texts in table.declared_models.items():
            where = at if vector is None else at / "named" / vector if vector else at / "vectors"
            for text in texts:
                _check_model(text, models, where / "model")
        if table.migrate is not None:
            _check_migrate(table.migrate, pipelines, at / "migrate")
            for model, instead in table.migrate.agents.items():
                _check_model(model, models, at / "migrate" / "agents")
                _check_agents(instead, agents, at / "migrate" / "agents" / model)


def _check_model(text: str, models: Mapping[str, Any], at: Place) -> None:
    if not text:
        return
    if MODEL.fullmatch(text) is None:
        raise at.wrong(text, "a model of this file, or `NAME@NUMBER` for one of its versions")
    if (name := text.partition("@")[0]) not in models:
        raise at.wrong(text, "a model of this file", hint=nearest_hint(name, models))


def _check_agents(instead: Mapping[str, str], agents: Mapping[str, Any], at: Place) -> None:
    for name in (*instead, *instead.values()):
        if name not in agents:
            raise at.wrong(name, "an agent of this file", hint=nearest_hint(name, agents))


def _check_migrate(migrate: MigrateTable, pipelines: Mapping[str, Sequence[Any]], at: Place) -> None:
    for vector, way in migrate.ways.items():
        if way.pipeline not in pipelines:
            where = at / "named" / vector / "pipeline" if vector else at / "pipeline"
            raise where.wrong(way.pipeline, "a pipeline of this file", hint=nearest_hint(way.pipeline, pipelines))
