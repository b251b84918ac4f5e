"""Pipelines that run outside a node: agents, models and host steps one behind the other, and a search if any."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from littoral.artifact import digest
from littoral.artifact.manifest import PAGE_BYTES
from littoral.bundle.known_answer import Tried, answer_bytes, tried
from littoral.bundle.recipe import AgentPart, HostPart, ModelPart, Recipe, SearchPart
from littoral.bundle.takes import Takes, known_input, takes_of
from littoral.runtime.edges import EdgeType, Fit, TensorsType, fit_tensors
from littoral.tensors import Array, TensorSpec

__all__ = ["STEPS", "Chain", "Link", "Vector", "chain_of", "guide_words", "version_of"]

STEPS = ("normalize", "softmax", "top_k", "threshold", "join")  # those that js/steps.mjs has
CARRIED = ("float32", "float64", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
AGENT_BYTES_MAX = 48 << 20  # pictures of a thousand pixels on a side take less than a quarter


class Link(NamedTuple):
    """One step. takes, fits: a guest's tensors, and how they are served by what is given, none = bytes or as it is.

    memory_bytes: most that a guest may take. files: of a guest, its module first.
    """

    part: AgentPart | ModelPart | HostPart
    fits: tuple[Fit, ...] | None
    takes: TensorsType | None
    gives: EdgeType
    memory_bytes: int
    files: Mapping[str, bytes]


class Vector(NamedTuple):
    """The one tensor that a chain makes."""

    name: str
    shape: tuple[int, ...]


class Chain(NamedTuple):
    """vector: what the links make, where that is one vector of float32 numbers.

    known: an input; answer: SHA-256 of what a node makes of it.
    """

    pipeline: str
    takes: Takes
    links: tuple[Link, ...]
    vector: Vector | None
    search: SearchPart | None
    known: bytes
    answer: str

    @property
    def files(self) -> dict[str, bytes]:
        """Modules, and what agents are started with beside their configuration."""
        return {name: data for link in self.links for name, data in link.files.items()}

    @property
    def memory_bytes(self) -> int:
        """Most that its guests may take."""
        return sum(link.memory_bytes for link in self.links)

    @property
    def digest(self) -> str:
        """SHA-256 of all that an answer before the search depends on."""
        return digest(" ".join(map(_decides, self.links)).encode())


def chain_of(recipe: Recipe, sample: bytes | None = None) -> Chain:
    """The recipe as a chain, run once. sample: the known input, if it is not the package's.

    Raises InputError for what no chain can do, and what its parts raise.
    """
    if not recipe.parts:
        raise recipe.refusal("has no step")
    *before, last = recipe.parts
    search = last if isinstance(last, SearchPart) else None
    for number, part in enumerate(before if search else recipe.parts, 1):
        _check_part(recipe, part, number)
    takes = takes_of(recipe)
    found = tried(recipe, known_input(recipe, takes, sample))
    links = tuple(_links(recipe, found))
    _check_ports(recipe, links)
    vector = _vector(links[-1].gives, found)
    if search is not None and vector is None:
        raise recipe.refusal(f"gives {links[-1].gives} before its search, expected one vector of float32 numbers")
    answer = digest(answer_bytes(found.answer, links[-1].gives))
    return Chain(recipe.pipeline, takes, links, vector, search, found.given, answer)


def _check_part(recipe: Recipe, part: object, number: int) -> None:
    if isinstance(part, SearchPart):
        raise recipe.refusal(f"has a search in step {number}; outside a node a search is the last step")
    if isinstance(part, HostPart) and part.options.step not in STEPS:
        why = f"has the step `{part.options.step}` in step {number}; outside a node there are {', '.join(STEPS)}"
        raise recipe.refusal(why, "make it a part of the model, or end the pipeline before it")


def _links(recipe: Recipe, found: Tried) -> Iterator[Link]:
    given: EdgeType | None = None
    counts: dict[str, int] = {}
    for part, takes, gives, taken in zip(recipe.parts, found.takes, found.gives, found.memory_bytes, strict=False):
        first = TensorsType(takes) if isinstance(takes, tuple) else None
        fits = None if first is None else fit_tensors(first if given is None else given, first.ports)
        memory, files = 0, dict[str, bytes]()
        if not isinstance(part, HostPart | SearchPart):
            kind = "agent" if isinstance(part, AgentPart) else "model"
            counts[kind] = count = counts.get(kind, 0) + 1
            memory, files = _guest(part, kind if count == 1 else f"{kind}{count}", taken)
        yield Link(part, fits, first, gives, memory, files)  # type: ignore[arg-type]
        given = gives


def _guest(part: AgentPart | ModelPart, name: str, taken: int) -> tuple[int, dict[str, bytes]]:
    """Most memory, and files."""
    if isinstance(part, ModelPart):
        return part.model.manifest.memory.pages * PAGE_BYTES, {f"{name}.wasm": part.model.wasm}
    memory = min(part.memory_bytes, max(AGENT_BYTES_MAX, 2 * taken))
    return memory, {f"{name}.wasm": part.wasm, **({f"{name}.bin": part.init} if part.has_files else {})}


def _check_ports(recipe: Recipe, links: tuple[Link, ...]) -> None:
    for number, link in enumerate(links, 1):
        for ports in (link.takes, link.gives):
            if bad := next((port for port in _ports(ports) if port.dtype not in CARRIED), None):
                raise recipe.refusal(f"has {bad} in step {number}; outside a node there are {', '.join(CARRIED)}")
        if isinstance(link.part, HostPart) and link.part.options.step == "softmax" and "float64" in _dtypes(link.gives):
            raise recipe.refusal(f"has `softmax` of float64 in step {number}, whose last bits depend on the machine")


def _ports(edge: EdgeType | None) -> tuple[TensorSpec, ...]:
    return edge.ports if isinstance(edge, TensorsType) else ()


def _dtypes(edge: EdgeType) -> set[str]:
    return {port.dtype for port in _ports(edge)}


def _vector(gives: EdgeType, found: Tried) -> Vector | None:
    """The one tensor of a known size; of one picture or text a first dimension that may be any is 1."""
    ports = _ports(gives)
    if len(ports) != 1 or ports[0].dtype != "float32" or not isinstance(found.answer, Mapping):
        return None
    (array,) = found.answer.values()
    shape = tuple(np.shape(array))
    is_known = all(size >= 0 or (at == 0 and shape[0] == 1) for at, size in enumerate(ports[0].shape))
    return Vector(ports[0].name, shape) if is_known and _is_row(array) else None


def _is_row(array: Array) -> bool:
    return array.ndim > 0 and array.size == array.shape[-1]


def _decides(link: Link) -> str:
    """What of a step decides an answer."""
    match link.part:
        case AgentPart(wasm=wasm, init=init):
            return f"{digest(wasm)} {digest(init)}"
        case ModelPart(model=model, take=take):
            return " ".join([digest(model.wasm), *take])
        case HostPart(options=options, labels=labels):
            return digest(msgspec.json.encode([options, labels]))


def version_of(chain: Chain) -> str:
    """That of its last guest, and of what else an answer depends on."""
    parts = [link.part for link in chain.links if not isinstance(link.part, HostPart)]
    manifest = parts[-1].model.manifest if isinstance(parts[-1], ModelPart) else parts[-1].manifest
    return f"{manifest.version}-{chain.digest[:12]}"


def guide_words(chain: Chain) -> dict[str, str]:
    """What a guide in texts/ says of the chain."""
    return {
        "pipeline": chain.pipeline,
        "version": version_of(chain),
        "takes": chain.takes.about,
        "through": ", ".join(map(_called, chain.links)),
        "search": "" if chain.search is None else f", then a search in `{chain.search.collection}`",
        "route": "similarity" if chain.search else f"pipelines/{chain.pipeline}",
        "example": chain.takes.example,
    }


def _called(link: Link) -> str:
    match link.part:
        case AgentPart(name=name):
            return f"agent `{name}`"
        case ModelPart(name=name):
            return f"model `{name}`"
        case HostPart(options=options):
            return f"`{options.step}`"
