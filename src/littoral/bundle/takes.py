"""What a pipeline takes, as a caller brings it, and an input that is known of each kind."""

from typing import Literal, NamedTuple

from littoral.bundle.known_answer import known_file, some
from littoral.bundle.recipe import AgentPart, HostPart, ModelPart, Recipe
from littoral.tensors import TensorSpec

__all__ = ["Kind", "Takes", "known_input", "takes_of"]

Kind = Literal["picture", "text", "bytes", "tensors"]

PICTURES = ("image/jpeg", "image/png")
TEXT = "text/plain"
OCTETS = "application/octet-stream"
KNOWN = {"picture": "known.jpg", "text": "known.txt"}


class Takes(NamedTuple):
    """types: content types, none = any. about: for guides. example: what a command line sends."""

    kind: Kind
    types: tuple[str, ...]
    about: str
    example: str


def takes_of(recipe: Recipe) -> Takes:
    """By the first step: an agent says what it accepts; a model takes tensors."""
    match recipe.parts[0]:
        case AgentPart(manifest=manifest) as part if manifest.input == "bytes":
            return _of_agent(part)
        case HostPart(options=options):
            raise recipe.refusal(f"begins with the step `{options.step}`; outside a node an agent or a model is first")
        case AgentPart() | ModelPart():
            example = '--data-binary @inputs.json -H "content-type: application/json"'
            return Takes("tensors", ("application/json", "application/x-safetensors"), "Tensors", example)
        case _:
            raise recipe.refusal("begins with a search; a bundle makes the vector that is searched for")


def _of_agent(part: AgentPart) -> Takes:
    accepts = part.manifest.accepts
    if (part.is_builtin and part.manifest.name == "image") or (accepts and set(accepts) <= set(PICTURES)):
        example = '--data-binary @picture.jpg -H "content-type: image/jpeg"'
        return Takes("picture", (*PICTURES, OCTETS), "A picture (JPEG or PNG)", example)
    if TEXT in accepts:
        return Takes("text", (TEXT, OCTETS), "A text (UTF-8)", "--data-binary 'a text' -H \"content-type: text/plain\"")
    types = (*accepts, OCTETS) if accepts else ()
    example = f'--data-binary @input -H "content-type: {types[0] if types else OCTETS}"'
    return Takes("bytes", types, "Bytes", example)


def known_input(recipe: Recipe, takes: Takes, sample: bytes | None) -> bytes:
    """sample: the caller's own. Raises InputError where only he can give one."""
    if sample is not None:
        return sample
    if takes.kind in KNOWN:
        return known_file(KNOWN[takes.kind])
    first = recipe.parts[0]
    if isinstance(first, ModelPart):
        ports = first.model.manifest.variants[0].inputs
        return some([TensorSpec(port.name, port.dtype, port.shape) for port in ports])
    if isinstance(first, AgentPart) and not isinstance(first.manifest.input, str):
        return some(first.manifest.input)
    raise recipe.refusal(
        f"begins with agent `{first.name}`, whose bytes are its own"
        if isinstance(first, AgentPart)
        else "has no agent",
        "`--sample FILE`: an input whose answer goes into the bundle, to be held against",
    )
