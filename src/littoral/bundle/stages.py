"""A pipeline of compiled models alone, one behind the other, for machines without an operating system.

Each stage takes one tensor and gives one, at addresses that the compiler has fixed; its module needs WebAssembly 1.0,
no imports, and no more memory than it says.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from littoral.artifact import Port, digest
from littoral.artifact.manifest import PAGE_BYTES
from littoral.bundle.footprint import bare
from littoral.bundle.known_answer import some_array
from littoral.bundle.marking import MARK, marked
from littoral.bundle.recipe import AgentPart, HostPart, ModelPart, Part, Recipe, SearchPart
from littoral.runtime.instance import load
from littoral.runtime.operations import executed

__all__ = ["Known", "Operations", "Stage", "digest_of", "known_answer", "stages_of"]

TARGET = "mvp"
_OTHERS: Mapping[type[Part], str] = {
    AgentPart: "an agent, which a device has no room for",
    HostPart: "a step that the node computes itself",
    SearchPart: "a search, and a device has no database",
}


class Stage(NamedTuple):
    """One model. wasm: its module without what engines skip."""

    part: ModelPart
    wasm: bytes
    entry: str
    given: Port
    made: Port

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def memory_bytes(self) -> int:
        return self.part.model.manifest.memory.pages * PAGE_BYTES


class Known(NamedTuple):
    """What the node answers. operations: executed instructions, by stage."""

    given: bytes
    made: bytes
    operations: tuple["Operations", ...]


class Operations(NamedTuple):
    """Executed instructions of one stage. by_layer: in the order of the manifest, none where they cannot be told."""

    whole: int
    by_layer: tuple[int, ...] | None


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """Raises InputError for what a device cannot do, with what to do instead."""
    for number, part in enumerate(recipe.parts, 1):
        if not isinstance(part, ModelPart):
            hint = "make it a part of the model: examples/vibration/monitor.py does"
            raise recipe.refusal(f"has in step {number} {_OTHERS[type(part)]}", hint)
    if not recipe.parts:
        raise recipe.refusal("has no step")
    stages = tuple(_stage(recipe, part) for part in recipe.only(ModelPart))
    for before, after in pairwise(stages):
        made, given = ((p.dtype, p.shape) for p in (before.made, after.given))
        if made != given:
            raise recipe.refusal(
                f"passes {before.made.spec} of `{before.name}` to {after.given.spec} of `{after.name}`"
            )
    return stages


def _stage(recipe: Recipe, part: ModelPart) -> Stage:
    manifest = part.model.manifest
    if manifest.target != TARGET:
        why = f"has model `{part.name}`, which is compiled for `{manifest.target}`"
        raise recipe.refusal(why, f"`littoral build --target {TARGET}`: the results are the same, to the bit")
    if len(manifest.variants) > 1:
        raise recipe.refusal(f"has model `{part.name}` of {len(manifest.variants)} variants, a device runs one")
    (variant,) = manifest.variants
    made = [port for port in variant.outputs if not part.take or port.name in part.take]
    if len(variant.inputs) != 1 or len(made) != 1:
        counts = f"{len(variant.inputs)} inputs and {len(made)} outputs"
        raise recipe.refusal(
            f"has model `{part.name}` with {counts}, a device passes one of each", "name one in `take`"
        )
    if made[0].dims_offset is not None:
        raise recipe.refusal(f"has model `{part.name}`, whose output has a size that depends on data")
    return Stage(part, bare(part.model.wasm), variant.entry, variant.inputs[0], made[0])


def known_answer(stages: Sequence[Stage]) -> Known:
    """Some input, and what the node's own engine makes of it."""
    given = array = some_array(stages[0].given.dtype, stages[0].given.shape)
    operations = []
    for stage in stages:
        entry_input = np.ascontiguousarray(array).tobytes()
        operations.append(_counted(stage, entry_input))
        with load(stage.part.model) as session:
            array = session.run({stage.given.name: array.reshape(stage.given.shape)})[stage.made.name]
    return Known(given.tobytes(), np.ascontiguousarray(array).tobytes(), tuple(operations))


def _counted(stage: Stage, given: bytes) -> Operations:
    inputs = {stage.given.offset: given}
    whole, _ = executed(stage.wasm, stage.entry, inputs)
    layers = stage.part.model.manifest.layers
    if not layers or (wasm := marked(stage.wasm, [layer.function for layer in layers])) is None:
        return Operations(whole, None)
    _, found = executed(wasm, stage.entry, inputs, MARK)
    return Operations(whole, tuple(found.get(i, 0) for i in range(len(layers))))


def digest_of(stages: Sequence[Stage]) -> str:
    """SHA-256 of all that an answer depends on."""
    return digest(" ".join(f"{digest(stage.wasm)} {stage.made.name}" for stage in stages).encode())
