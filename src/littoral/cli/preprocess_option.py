"""`--preprocess`: the pipeline that a model brings along, checked before it goes into the manifest."""

import json
import tomllib
from pathlib import Path
from typing import Any

from littoral.artifact import Manifest
from littoral.artifact.preprocess import BUILTIN, read_preprocess
from littoral.errors import ArtifactError, InputError, LittoralError, NotFoundError
from littoral.runtime.agents import Agent
from littoral.runtime.edges import edge_of, fit_tensors
from littoral.runtime.host.options import OPTIONS
from littoral.tensors import merged_specs

__all__ = ["check_preprocess", "preprocess_from", "preprocess_text"]


def preprocess_from(option: str | None) -> dict[str, Any] | None:
    """JSON, or a .json or .toml file of it. Raises InputError, NotFoundError."""
    if option is None:
        return None
    text, is_toml = option, False
    if not option.lstrip().startswith("{"):
        path = Path(option)
        is_toml = path.suffix == ".toml"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f"`--preprocess {option}`: {error}") from error
    try:
        found = tomllib.loads(text) if is_toml else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"`--preprocess`: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"`--preprocess`: a {type(found).__name__}, expected an object")
    try:
        read_preprocess(found)
    except ArtifactError as error:
        raise InputError(f"`--preprocess`: {error.message}") from error
    return found


def check_preprocess(manifest: Manifest) -> None:
    """Raises InputError where no node could make the pipeline: the agent, what it gives, `take`, a step's name."""
    try:
        _check(manifest)
    except LittoralError as error:
        raise InputError(f"`--preprocess`: {error.message}", hint=error.hint) from error


def _check(manifest: Manifest) -> None:
    if (found := read_preprocess(manifest.preprocess)) is None:
        return
    outputs = [port.name for port in manifest.variants[0].outputs]
    take = [found.take] if isinstance(found.take, str) else found.take or []
    if unknown := [name for name in take if name not in outputs]:
        raise InputError(f"`take`: no output `{unknown[0]}`, outputs: {', '.join(outputs)}")
    if wrong := [str(step["step"]) for step in found.then if step["step"] not in OPTIONS]:
        raise InputError(f"`then`: no step `{wrong[0]}`, there are: {', '.join(OPTIONS)}")
    if found.agent.startswith(BUILTIN):
        inputs = merged_specs([[port.spec for port in variant.inputs] for variant in manifest.variants])
        with Agent.open(found.agent, found.config) as agent:
            fit_tensors(edge_of(agent.output), inputs)


def preprocess_text(manifest: Manifest) -> str:
    """The pipeline in a few words, empty where there is none."""
    if (found := read_preprocess(manifest.preprocess)) is None:
        return ""
    take = [found.take] if isinstance(found.take, str) else found.take or []
    steps = [found.agent, manifest.name + (f" ({', '.join(take)})" if take else "")]
    return " → ".join([*steps, *(str(step["step"]) for step in found.then)])
