"""A chain as one ES module: js/ and the recipe that it reads."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from littoral.artifact import custom_section, digest
from littoral.artifact.manifest import AGENT_SECTION, MODEL_SECTION, Manifest, Port, Variant
from littoral.bundle.chain import Chain, Link, version_of
from littoral.bundle.link import linked
from littoral.bundle.memory_image import memory_image
from littoral.bundle.plan import Options
from littoral.bundle.recipe import AgentPart, HostPart, ModelPart
from littoral.runtime.edges import TensorsType
from littoral.runtime.host.options import Threshold, TopK
from littoral.tensors import TensorSpec, element_count

__all__ = ["SIDE_MAX", "module_of"]

SIDE_MAX = 1024


def module_of(entry: str, chain: Chain, options: Options, made: Mapping[str, str] | None = None) -> bytes:
    """A module of js/ with all that it imports and the chain as `RECIPE`, as one ES module. made: further modules."""
    recipe = json.dumps(_recipe(chain, options), indent=1, sort_keys=True, ensure_ascii=False)
    return linked(entry, {"recipe.mjs": f"const RECIPE = {recipe};\n", **(made or {})}).encode()


def _recipe(chain: Chain, options: Options) -> dict[str, Any]:
    """The recipe as js/ reads it."""
    first, vector, search = chain.links[0].takes, chain.vector, chain.search
    ports = [_spec(port) for port in first.ports] if isinstance(first, TensorsType) else []
    return {
        "pipeline": chain.pipeline,
        "version": version_of(chain),
        "digest": chain.digest,
        "start": options.start,
        "side_max": options.side_max or SIDE_MAX,
        "takes": {"kind": chain.takes.kind, "types": chain.takes.types, "ports": ports},
        "files": {name: {"sha256": digest(data), "bytes": len(data)} for name, data in chain.files.items()},
        "stages": [_stage(link) for link in chain.links],
        "vector": vector and {"name": vector.name, "shape": vector.shape, "size": element_count(vector.shape)},
        "search": search and {"collection": search.collection, "query": search.query},
        "known": {"input": base64.b64encode(chain.known).decode(), "answer": chain.answer},
    }


def _stage(link: Link) -> dict[str, Any]:
    match link.part:
        case AgentPart() as agent:
            return _agent(agent, link)
        case ModelPart() as model:
            return _model(model, link)
        case HostPart(options=TopK(k=k), labels=labels):
            return {"kind": "step", "step": "top_k", "k": k, "labels": labels}
        case HostPart(options=Threshold(at=at, by=by)):
            return {"kind": "step", "step": "threshold", "at": at, "by": by}
        case HostPart(options=options):
            return {"kind": "step", "step": options.step}


def _agent(agent: AgentPart, link: Link) -> dict[str, Any]:
    file, *others = link.files
    return {
        "kind": "agent",
        "name": agent.name,
        "file": file,
        "init": None if others else agent.init.decode(),
        "init_file": others[0] if others else None,
        "memory_bytes": link.memory_bytes,
        "gives": [_spec(port) for port in link.gives.ports] if isinstance(link.gives, TensorsType) else "bytes",
        "fits": _fits(link),
        "digests": _digests(agent.wasm, AGENT_SECTION),
    }


def _model(part: ModelPart, link: Link) -> dict[str, Any]:
    manifest = part.model.manifest
    return {
        "kind": "model",
        "name": part.name,
        "file": next(iter(link.files)),
        "fits": _fits(link),
        "axes": {name: msgspec.to_builtins(axis) | {"pad": axis.pad} for name, axis in manifest.axes.items()},
        "variants": [_variant(variant, part.take) for variant in _smallest_first(manifest)],
        "digests": _digests(part.model.wasm, MODEL_SECTION),
    }


def _smallest_first(manifest: Manifest) -> list[Variant]:
    """The order in which a node would take the first that holds what is given (`runtime/fitting.py`)."""
    whole = [name for name, axis in manifest.axes.items() if not axis.split]
    split = [name for name, axis in manifest.axes.items() if axis.split]

    def size(variant: Variant) -> tuple[int, tuple[int, ...]]:
        sizes = tuple(variant.key[name] for name in whole)
        return element_count(sizes), (*sizes, *(variant.key[name] for name in split))

    return sorted(manifest.variants, key=size)


def _variant(variant: Variant, take: tuple[str, ...]) -> dict[str, Any]:
    names = take or tuple(port.name for port in variant.outputs)
    outputs = {port.name: port for port in variant.outputs}
    return {
        "entry": variant.entry,
        "key": variant.key,
        "inputs": [_port(port) for port in variant.inputs],
        "outputs": [_port(outputs[name]) for name in names],
    }


def _port(port: Port) -> dict[str, Any]:
    told = {"offset": port.offset, "dims": port.dims_offset}
    return {"name": port.name, "dtype": port.dtype, "shape": port.shape, **told}


def _spec(port: TensorSpec) -> dict[str, Any]:
    return {"name": port.name, "dtype": port.dtype, "shape": port.shape}


def _fits(link: Link) -> list[list[Any]] | None:
    return None if link.fits is None else [list(fit) for fit in link.fits]


def _digests(wasm: bytes, section: str) -> dict[str, Any]:
    """What an isolate can check of a module that it is given compiled: manifest and memory, before the first call."""
    image = memory_image(wasm)
    return {
        "manifest": digest(custom_section(wasm, section) or b""),
        "constants": [image.start, len(image.data)],
        "memory": digest(image.data),
    }
