"""What a pipeline is made of, read once: its agents and models as files, what its other steps are told.

A bundle runs steps one behind the other: branches, `for_each` and writes stay with the node.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from littoral.artifact import Model, custom_section, digest
from littoral.artifact.manifest import AGENT_SECTION, AgentManifest
from littoral.errors import ArtifactError, InputError, NotFoundError, TrustError
from littoral.node.default_pipelines import with_default_pipelines
from littoral.node.site import Site
from littoral.node.site_tables import (
    AgentStepTable,
    AgentTable,
    ForEachStepTable,
    ModelStepTable,
    ModelTable,
    SearchStepTable,
    StepTable,
    UpsertStepTable,
)
from littoral.runtime.agent_files import init_bytes
from littoral.runtime.builtin_agents import PREFIX, builtin_agent
from littoral.runtime.host.options import Ctc, HostOptions, TopK
from littoral.vectors.records import Distance

__all__ = ["AgentPart", "HostPart", "ModelPart", "Part", "Recipe", "SearchPart", "read_recipe"]

_P = TypeVar("_P", bound="AgentPart | ModelPart | HostPart | SearchPart")


class AgentPart(NamedTuple):
    """An agent as a file. init: what its `init` gets, one frame where it has files. is_builtin: one of the package."""

    name: str
    wasm: bytes
    manifest: AgentManifest
    init: bytes
    has_files: bool
    memory_bytes: int
    is_builtin: bool


class ModelPart(NamedTuple):
    """A compiled model. take: outputs that go on, none = all."""

    name: str
    model: Model
    take: tuple[str, ...]


class HostPart(NamedTuple):
    """A step that the host computes itself. labels: names of classes, of the model `labels_of`."""

    options: HostOptions
    labels_of: str | None = None
    labels: tuple[str, ...] | None = None


class SearchPart(NamedTuple):
    """size: numbers of a vector. query: what a query says beside its vector, as in Qdrant's REST API."""

    collection: str
    size: int
    distance: Distance
    query: Mapping[str, Any]


Part = AgentPart | ModelPart | HostPart | SearchPart


class Recipe(NamedTuple):
    """One pipeline. site: the file that it is in."""

    site: Site
    pipeline: str
    parts: tuple[Part, ...]

    def only(self, kind: type[_P]) -> tuple[_P, ...]:
        """The parts of a kind, in order."""
        return tuple(part for part in self.parts if isinstance(part, kind))

    def refusal(self, why: str, hint: str | None = None) -> InputError:
        """An error about the pipeline, for a target that cannot have it."""
        return InputError(f"{self.site.file}: pipeline `{self.pipeline}` {why}", hint=hint)


def read_recipe(site: Site, pipeline: str) -> Recipe:
    """The parts of a pipeline, in order, their files read and held against their digests.

    Raises NotFoundError for an unknown pipeline or a missing file, InputError for steps that only a node can do,
    and what the files raise: ArtifactError, TrustError.
    """
    site = _with_models_own(site, pipeline)
    if (steps := site.pipelines.get(pipeline)) is None:
        known = ", ".join(f"`{name}`" for name in site.pipelines) or "none"
        raise NotFoundError(f"{site.file}: pipeline `{pipeline}` is unknown, known: {known}")
    empty = Recipe(site, pipeline, ())
    return empty._replace(parts=tuple(_parts(empty, steps)))


def _with_models_own(site: Site, pipeline: str) -> Site:
    """The site with the pipeline that a model of that name brings along."""
    if pipeline in site.pipelines or (table := site.models.get(pipeline)) is None:
        return site
    return with_default_pipelines(site, {pipeline: _model(site, pipeline, table).manifest})


def _parts(recipe: Recipe, steps: tuple[StepTable, ...]) -> Iterator[Part]:
    site = recipe.site
    for number, step in enumerate(steps, 1):
        if step.source is not None:
            raise recipe.refusal(f"has `from` in step {number}; a bundle runs steps one behind the other")
        match step:
            case AgentStepTable():
                yield _agent(site, step.agent, site.agents[step.agent])
            case ModelStepTable():
                take = [step.take] if isinstance(step.take, str) else step.take or []
                yield ModelPart(step.model, _model(site, step.model, site.models[step.model]), tuple(take))
            case HostOptions():
                yield _host(site, step)
            case SearchStepTable():
                if step.using:
                    raise recipe.refusal(f"has `using` in step {number}; a bundle searches the vector without a name")
                vectors = site.collections[step.search].plain()
                yield SearchPart(step.search, vectors.size, vectors.distance, _query(step))
            case ForEachStepTable() | UpsertStepTable():
                kind = "for_each" if isinstance(step, ForEachStepTable) else "upsert"
                raise recipe.refusal(f"has `{kind}` in step {number}, which only a node can do")


def _query(step: SearchStepTable) -> dict[str, Any]:
    step.options()
    told = {"limit": step.limit, "with_payload": step.with_payload, "params": {"exact": True} | step.params}
    more = {"score_threshold": step.score_threshold, "filter": step.filter}
    return told | {key: value for key, value in more.items() if value is not None}


def _host(site: Site, step: HostOptions) -> HostPart:
    if not isinstance(step, TopK | Ctc) or step.labels is None:
        return HostPart(step)
    labels = _model(site, step.labels, site.models[step.labels]).manifest.labels
    return HostPart(step, step.labels, tuple(labels or ()))


def _agent(site: Site, name: str, table: AgentTable) -> AgentPart:
    if table.grants:
        why = f"agent `{name}` is granted `{table.grants[0]}`, which no bundle can give"
        raise InputError(why, hint="leave its pipeline to the node, or take the model into the pipeline as a step")
    path, wanted = site.agent_path(table), table.sha256
    if is_builtin := path.startswith(PREFIX):
        file, wanted = builtin_agent(path.removeprefix(PREFIX), wanted)
    else:
        file = Path(path)
    wasm = _read(file, f"agent `{name}`", wanted)
    if (section := custom_section(wasm, AGENT_SECTION)) is None:
        raise ArtifactError(f"agent `{name}`: `{file}` has no section `{AGENT_SECTION}`")
    manifest = AgentManifest.decode(section)
    memory = manifest.memory_bytes_max if table.memory_mb is None else table.memory_mb << 20
    files = {key: site.path_of(file) for key, file in table.files.items()}
    init = init_bytes(table.config, files, f"agent `{name}`")
    return AgentPart(name, wasm, manifest, init, bool(files), memory, is_builtin)


def _model(site: Site, name: str, table: ModelTable) -> Model:
    path = site.path_of(table.path)
    if path.is_dir():
        raise InputError(f"model `{name}`: `{path}` is a folder of versions", hint="name the file of one version")
    if table.state:
        raise InputError(f"model `{name}` keeps `state` of sequences, which only a node does")
    model = Model(_read(path, f"model `{name}`", table.sha256))
    if model.manifest.threads > 1:
        raise InputError(f"model `{name}` is for {model.manifest.threads} threads, a bundle has one")
    return model


def _read(path: Path, what: str, sha256: str | None) -> bytes:
    try:
        wasm = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{what}: `{path}`: {error.strerror}") from error
    if sha256 is not None and digest(wasm) != sha256.lower():
        raise TrustError(f"{what}: SHA-256 of `{path}` is `{digest(wasm)}`, expected `{sha256.lower()}`")
    return wasm
