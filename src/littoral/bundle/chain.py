"""The one form of pipeline that runs outside a node: bytes → agent → model → steps → search, the last two if any."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from littoral.artifact import Port, Variant, custom_section, digest
from littoral.artifact.manifest import AGENT_SECTION, MODEL_SECTION, PAGE_BYTES
from littoral.bundle.known_answer import KnownAnswer, known_answer
from littoral.bundle.link import linked
from littoral.bundle.memory_image import memory_image
from littoral.bundle.plan import Options
from littoral.bundle.recipe import AgentPart, HostPart, ModelPart, Recipe, SearchPart
from littoral.errors import InputError
from littoral.runtime.agents import Agent

__all__ = ["SIDE_MAX", "Chain", "chain_of", "guide_words", "module_of", "version_of"]

STEPS = ("normalize",)  # those that js/steps.mjs has
SIDE_MAX = 1024
AGENT_BYTES_MAX = 48 << 20  # pictures of a thousand pixels on a side take less than a quarter


class Chain(NamedTuple):
    """variant: of the model, for what the agent gives. output: the one that goes on. known: what a node answers."""

    pipeline: str
    agent: AgentPart
    model: ModelPart
    variant: Variant
    output: Port
    steps: tuple[str, ...]
    search: SearchPart | None
    known: KnownAnswer

    @property
    def memory_bytes(self) -> int:
        """Most that its two guests may take."""
        return self.model.model.manifest.memory.pages * PAGE_BYTES + self.agent.memory_bytes

    @property
    def digest(self) -> str:
        """SHA-256 of all that a vector depends on."""
        decides = (self.agent.wasm, self.agent.init, self.model.model.wasm, self.output.name.encode())
        parts = [digest(part) for part in decides] + list(self.steps)
        return digest(" ".join(parts).encode())


def chain_of(recipe: Recipe) -> Chain:
    """The recipe as a chain, run once. Raises InputError for any other form, and what its parts raise."""
    kinds = [type(part) for part in recipe.parts]
    host = recipe.only(HostPart)
    searches = recipe.only(SearchPart)
    if kinds != [AgentPart, ModelPart, *[HostPart] * len(host), *[SearchPart] * len(searches)] or len(searches) > 1:
        raise recipe.refusal("is not an agent, a model, host steps and at most one search, in that order")
    steps = tuple(part.options.step for part in host)
    if unknown := next((step for step in steps if step not in STEPS), None):
        raise recipe.refusal(f"has the step `{unknown}`; outside a node there are {', '.join(STEPS)}")
    (agent,), (model,) = recipe.only(AgentPart), recipe.only(ModelPart)
    agent = agent._replace(memory_bytes=min(agent.memory_bytes, AGENT_BYTES_MAX))
    variant = _variant(recipe, agent, model)
    known = known_answer(recipe)
    output = next(port for port in variant.outputs if port.name == known.name)
    return Chain(recipe.pipeline, agent, model, variant, output, steps, next(iter(searches), None), known)


def _variant(recipe: Recipe, part: AgentPart, model: ModelPart) -> Variant:
    with Agent.open(part.wasm, dict(part.config), name=part.name, memory_bytes=part.memory_bytes) as agent:
        takes, gives = agent.input, agent.output
    if takes != "bytes" or gives == "bytes" or len(gives) != 1:
        raise recipe.refusal(f"begins with an agent that does not take bytes and give one tensor: `{part.name}`")
    for variant in model.model.manifest.variants:
        (first, *others) = variant.inputs
        if not others and (first.dtype, first.shape) == (gives[0].dtype, gives[0].shape):
            return variant
    raise InputError(f"model `{model.name}` has no variant for {gives[0]}, which agent `{part.name}` gives")


def version_of(chain: Chain) -> str:
    """The model's, and of what else a vector depends on."""
    return f"{chain.model.model.manifest.version}-{chain.digest[:12]}"


def module_of(entry: str, chain: Chain, options: Options) -> bytes:
    """A module of js/ with all that it imports and the chain as `RECIPE`, as one ES module."""
    recipe = json.dumps(_recipe(chain, options), indent=1, sort_keys=True, ensure_ascii=False)
    return linked(entry, {"recipe.mjs": f"const RECIPE = {recipe};\n"}).encode()


def _recipe(chain: Chain, options: Options) -> dict[str, Any]:
    """The recipe as js/ reads it."""
    (given,) = chain.variant.inputs
    model, agent = chain.model.model, chain.agent
    return {
        "pipeline": chain.pipeline,
        "version": version_of(chain),
        "digest": chain.digest,
        "start": options.start,
        "side_max": options.side_max or SIDE_MAX,
        "agent": {
            "sha256": digest(agent.wasm),
            "file_bytes": len(agent.wasm),
            "init": agent.init.decode(),
            "memory_bytes": agent.memory_bytes,
            "digests": _digests(agent.wasm, AGENT_SECTION),
        },
        "model": {
            "name": model.manifest.name,
            "sha256": model.digest,
            "file_bytes": len(model.wasm),
            "entry": chain.variant.entry,
            "input": _port(given) | {"dtype": given.dtype, "shape": list(given.shape)},
            "output": _port(chain.output),
            "digests": _digests(model.wasm, MODEL_SECTION),
        },
        "steps": list(chain.steps),
        "output": {
            "name": chain.known.name,
            "shape": list(chain.known.shape),
            "size": chain.output.bytes // 4,
        },
        "search": _search(chain.search),
        "known": {"picture": chain.known.picture, "vector": chain.known.vector},
    }


def guide_words(chain: Chain) -> dict[str, str]:
    """What a guide in texts/ says of the chain."""
    return {
        "pipeline": chain.pipeline,
        "version": version_of(chain),
        "agent": chain.agent.name,
        "model": chain.model.name,
        "search": "" if chain.search is None else f", then a search in `{chain.search.collection}`",
    }


def _search(part: SearchPart | None) -> Mapping[str, Any] | None:
    return None if part is None else {"collection": part.collection, "query": part.query}


def _port(port: Port) -> dict[str, Any]:
    return {"offset": port.offset, "bytes": port.bytes}


def _digests(wasm: bytes, section: str) -> dict[str, Any]:
    """What an isolate can check of a module that it is given compiled: manifest and memory, before the first call."""
    image = memory_image(wasm)
    return {
        "manifest": digest(custom_section(wasm, section) or b""),
        "constants": [image.start, len(image.data)],
        "memory": digest(image.data),
    }
