"""What a client may change of the repository: load with a policy or files, unload, and the way back."""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from littoral.errors import ConflictError, InputError, ModelError, TrustError, UnavailableError
from littoral.node.model_files import MODEL_FILE, NUMBER_MAX, Policy, refuse_onnx
from littoral.node.model_repository import ModelRepository
from littoral.node.node import Node

__all__ = ["load", "unload"]

ROLLBACK = "rollback"
CONFIG = "config"
UPLOADS_MAX = 8
_FILE = re.compile(r"file:(?:([1-9][0-9]{0,9})/)?([^/]{1,255})")


class _Count(msgspec.Struct):
    num_versions: int = 1


class _Numbers(msgspec.Struct):
    versions: list[int] = []


class _VersionPolicy(msgspec.Struct):
    latest: _Count | None = None
    all: dict[str, Any] | None = None
    specific: _Numbers | None = None


class _Config(msgspec.Struct):
    """Of Triton's configuration, the part that says which versions; the rest comes from the model itself."""

    version_policy: _VersionPolicy | None = None


async def load(node: Node, name: str, parameters: Mapping[str, Any]) -> None:
    """parameters: `config` (JSON with a `version_policy`), `file:N/model.wasm` (bytes, or Base64), `rollback`.

    Raises InputError for a model that cannot be opened, and what `ModelRepository.load` raises.
    """
    repository = _repository(node, name)
    try:
        if parameters.get(ROLLBACK) is True:
            await repository.roll_back(name)
        else:
            uploads = dict(_upload(key, value) for key, value in parameters.items() if key.startswith("file:"))
            if len(uploads) > UPLOADS_MAX:
                raise InputError(f"model `{name}`: {len(uploads)} files, at most {UPLOADS_MAX}")
            await repository.load(name, _policy(parameters.get(CONFIG)), uploads)
    except (ModelError, TrustError) as error:
        raise InputError(f"model `{name}`: {error.message}", hint=error.hint) from error


async def unload(node: Node, name: str) -> None:
    """Pipelines that use the model answer 503 until it is loaded again."""
    await _repository(node, name).unload(name)


def _repository(node: Node, name: str) -> ModelRepository:
    if node.repository is None:
        raise UnavailableError("the node is starting or stopping")
    if name not in node.models and name in node.pipelines:
        raise ConflictError(f"`{name}` is a pipeline: it stands in the site file, and serves as long as the node")
    return node.repository


def _policy(text: object) -> Policy | None:
    if text in (None, ""):
        return None
    if not isinstance(text, str):
        raise InputError("parameter `config` must be a text with JSON")
    try:
        policy = msgspec.json.decode(text, type=_Config).version_policy
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InputError(f"parameter `config`: {error}") from error
    if policy is None:
        return None
    if policy.all is not None:
        return Policy("all")
    if policy.specific is not None:
        return Policy("specific", numbers=tuple(sorted(set(policy.specific.versions))))
    count = 1 if policy.latest is None else policy.latest.num_versions
    if count < 1:
        raise InputError(f"parameter `config`: `version_policy.latest.num_versions` is {count}, must be at least 1")
    return Policy("latest", count)


def _upload(key: str, value: object) -> tuple[int, bytes]:
    """Number and content; 0 where the name says none."""
    if (match := _FILE.fullmatch(key)) is None or int(match[1] or 0) > NUMBER_MAX:
        raise InputError(f"file `{key[:80]}`: expected `file:1/{MODEL_FILE}`")
    if match[2] != MODEL_FILE:
        refuse_onnx(PurePath(match[2]))
        raise InputError(f"file `{key[:80]}`: a model is one file, `{MODEL_FILE}`")
    if isinstance(value, bytes):
        return int(match[1] or 0), value
    if not isinstance(value, str):
        raise InputError(f"file `{key[:80]}` must be Base64")
    try:
        return int(match[1] or 0), base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"file `{key[:80]}` is no Base64: {error}") from error
