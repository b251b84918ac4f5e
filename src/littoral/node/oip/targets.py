"""What a request can name: a version of a model, or a pipeline; both take tensors and give tensors.

A pipeline that takes bytes has the input `input` of BYTES [1]. One that gives bytes has the output `output` of
BYTES [1]; one that ends in a search has `ids` (BYTES), `scores` (FP32) and `payloads` (BYTES, JSON), one element a hit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from littoral.errors import InputError, NotFoundError, UnavailableError
from littoral.node.model_repository import READY
from littoral.node.node import Node, ServedModel, ServedPipeline, ServedVersion
from littoral.node.oip.datatypes import BYTES, Values, datatype_of
from littoral.runtime.edges import BYTES as BYTES_EDGE
from littoral.runtime.edges import HITS, EdgeType, TensorsType, Value
from littoral.tensors import TensorSpec
from littoral.vectors.records import Hit

__all__ = ["ModelTarget", "PipelineTarget", "Port", "Target", "Targets"]

PIPELINE_VERSION = "1"
PIPELINE_PREFIX = "pipeline."


class Port(NamedTuple):
    """shape: −1 = any size. dtype: ours, '' for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: str


class ModelTarget(NamedTuple):
    served: ServedModel
    version: ServedVersion

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def number(self) -> str:
        return str(self.version.number)

    @property
    def inputs(self) -> Sequence[Port]:
        return [_port(spec) for spec in self.version.pool.first.inputs]

    @property
    def outputs(self) -> Sequence[Port]:
        return [_port(spec) for spec in self.version.pool.first.outputs]


class PipelineTarget(NamedTuple):
    name: str
    served: ServedPipeline

    @property
    def number(self) -> str:
        return PIPELINE_VERSION

    @property
    def inputs(self) -> Sequence[Port]:
        return _ports(self.served.pipeline.takes, Port("input", BYTES, (1,), ""))

    @property
    def outputs(self) -> Sequence[Port]:
        gives = self.served.pipeline.gives
        if gives == HITS:
            return [Port("ids", BYTES, (-1,), ""), _SCORES, Port("payloads", BYTES, (-1,), "")]
        return _ports(gives, Port("output", BYTES, (1,), ""))

    def value(self, feeds: Mapping[str, Values]) -> Value:
        """What the pipeline is given."""
        if self.served.pipeline.takes == BYTES_EDGE:
            (strings,) = feeds.values()
            assert isinstance(strings, list)
            return strings[0]
        return {name: values for name, values in feeds.items() if not isinstance(values, list)}

    def outputs_of(self, value: Value) -> Mapping[str, Values]:
        """What the pipeline gave, by the names of `outputs`."""
        if isinstance(value, bytes):
            return {"output": [value]}
        if isinstance(value, Mapping):
            return value
        hits = [hit for hit in value if isinstance(hit, Hit)]
        return {
            "ids": [str(hit.id).encode() for hit in hits],
            "scores": np.array([hit.score for hit in hits], np.float32),
            "payloads": [msgspec.json.encode(hit.payload) for hit in hits],
        }


Target = ModelTarget | PipelineTarget

_SCORES = Port("scores", "FP32", (-1,), "float32")


class Targets:
    """Of one node, by name. A pipeline that has the name of a model is found as `pipeline.NAME`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def names(self) -> list[str]:
        models, pipelines = self._node.models, self._node.pipelines
        return [*models, *(f"{PIPELINE_PREFIX}{name}" if name in models else name for name in pipelines)]

    def find(self, name: str, version: str = "") -> Target:
        """Raises NotFoundError, UnavailableError for a model that is unloaded, InputError for no version."""
        if (served := self._node.models.get(name)) is not None:
            return ModelTarget(served, _version(served, version))
        if (pipeline := self._node.pipelines.get(name.removeprefix(PIPELINE_PREFIX))) is None:
            self._node.check_delivered(name.removeprefix(PIPELINE_PREFIX))
            known = ", ".join(f"`{known}`" for known in self.names()) or "none"
            raise NotFoundError(f"model `{name[:80]}` is unknown, known: {known}")
        if version not in ("", PIPELINE_VERSION):
            raise NotFoundError(f"pipeline `{name}`: no version `{version[:20]}`, it has {PIPELINE_VERSION} alone")
        return PipelineTarget(name, pipeline)

    def versions(self, name: str) -> list[str]:
        """Those that can be asked for, in ascending order. Raises NotFoundError."""
        if (served := self._node.models.get(name)) is None:
            return [self.find(name).number]
        return [str(number) for number in sorted(served.versions)]

    def is_ready(self, name: str, version: str = "") -> bool:
        """Raises NotFoundError for a name that is unknown."""
        try:
            self.find(name, version)
        except UnavailableError:
            return False
        return self._node.is_ready

    def index(self, *, only_ready: bool = False) -> list[dict[str, str]]:
        """Every version of every model that is known, and the pipelines."""
        rows = []
        for name in self.names():
            if name in self._node.models and self._node.repository is not None:
                rows += [
                    {"name": name, "version": str(entry.version), "state": entry.state, "reason": entry.reason}
                    for entry in self._node.repository.index(name)
                ]
            else:
                rows += [{"name": name, "version": v, "state": READY, "reason": ""} for v in self.versions(name)]
        return [row for row in rows if row["state"] == READY or not only_ready]


def _version(served: ServedModel, version: str) -> ServedVersion:
    if not served.is_loaded:
        raise UnavailableError(f"model `{served.name}` is not loaded", hint="load it first")
    if not version:
        return served.serving
    if not (version.isascii() and version.isdigit()):
        raise InputError(f"model `{served.name}`: version `{version[:20]}` is no number")
    if (found := served.versions.get(int(version[:20]))) is None:
        known = ", ".join(map(str, sorted(served.versions)))
        raise NotFoundError(f"model `{served.name}`: version `{version[:20]}` is not open, open: {known}")
    return found


def _port(spec: TensorSpec) -> Port:
    return Port(spec.name, datatype_of(spec.dtype), spec.shape, spec.dtype)


def _ports(edge: EdgeType, otherwise: Port) -> list[Port]:
    return [_port(spec) for spec in edge.ports] if isinstance(edge, TensorsType) else [otherwise]
