"""Pipelines that make one vector of a text: what they are known by, how they are asked, and what is remembered of them.

One text at a time goes through the pipeline, so that an embedding depends on its text alone, not on its neighbours.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from littoral.errors import InputError
from littoral.node.caches import Caches, Use
from littoral.node.node import Node, ServedAgent, ServedPipeline, StepDescription
from littoral.node.observed import Observed
from littoral.runtime.edges import BYTES, TensorsType
from littoral.vectors.embedding_cache import Embedding, embedding_key
from littoral.vectors.model_version import ModelVersion

if TYPE_CHECKING:
    from littoral.runtime.pipeline import Pipeline
    from littoral.tensors import Array

__all__ = ["Embedded", "Embedder", "Embedders", "made_of", "takes_text"]

TEXT = "text/plain"
STEPS = frozenset({"agent", "model", "step"})
HOST_STEPS = frozenset({"normalize"})
RECORD_SEPARATOR = b"\x1e"

Content = str | Sequence[int]
"""A text, or its token ids without the special ones."""


class Embedded(NamedTuple):
    """cached: how many of the embeddings were remembered. stages_ms: of the others together, by step. model: whose."""

    embeddings: list[Embedding]
    cached: int
    stages_ms: Mapping[str, float]
    model: ModelVersion | None = None


def takes_text(served: ServedPipeline, node: Node) -> bool:
    """Whether the first step is an agent that says of itself that it accepts texts."""
    first = served.steps[0]
    return first.kind == "agent" and TEXT in node.agents[first.uses].pool.first.manifest.accepts


def made_of(step: StepDescription, node: Node) -> str:
    """Digest of a step's agent as it is now, or of the model that it is bound to."""
    if step.kind == "agent":
        return node.agents[step.uses].pool.first.digest
    return step.digest if step.kind == "model" else step.uses


class Embedders:
    """Those of a node, by its pipelines as they are now."""

    def __init__(self, node: Node, observed: Observed) -> None:
        self._node = node
        self._observed = observed
        self._known: dict[str, tuple[Pipeline, Embedder | None]] = {}

    def find(self, name: str) -> "Embedder | None":
        """None for a pipeline of another kind, and for none."""
        if (served := self._node.pipelines.get(name)) is None:
            return None
        pipeline, embedder = self._known.get(name, (None, None))
        if pipeline is not served.pipeline:
            embedder = Embedder.of(served, self._node, self._observed)
            self._known[name] = served.pipeline, embedder
        return embedder

    def __iter__(self) -> "Iterator[Embedder]":
        return (embedder for name in self._node.pipelines if (embedder := self.find(name)) is not None)


class Embedder:
    """One pipeline: an agent that takes text, models and `normalize`, one vector at the end."""

    def __init__(self, served: ServedPipeline, agent: ServedAgent, node: Node, observed: Observed) -> None:
        self.name = served.name
        self._served = served
        self._agent = agent
        self._node = node
        self._observed = observed
        self._parts: list[str] = []
        self._source = b""

    @classmethod
    def of(cls, served: ServedPipeline, node: Node, observed: Observed) -> "Embedder | None":
        """None for a pipeline of another kind."""
        first, gives = served.steps[0], served.pipeline.gives
        if served.pipeline.takes != BYTES or not isinstance(gives, TensorsType) or not takes_text(served, node):
            return None
        others = (step.kind in STEPS and (step.kind != "step" or step.uses in HOST_STEPS) for step in served.steps)
        is_vector = len(gives.ports) == 1 and gives.ports[0].dtype == "float32" and len(gives.ports[0].shape) == 2
        return cls(served, node.agents[first.uses], node, observed) if is_vector and all(others) else None

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        gives = self._served.pipeline.gives
        assert isinstance(gives, TensorsType), "checked where it was made"
        return int(gives.ports[0].shape[-1])

    @property
    def models(self) -> tuple[ModelVersion, ...]:
        """Whose vectors these are, where that is known."""
        return () if self._served.embeds is None else (self._served.embeds,)

    def source(self) -> bytes:
        """Digest of all that an embedding depends on beside its content, now: a model may be replaced at any time."""
        parts = [made_of(step, self._node) for step in self._served.steps]
        if parts != self._parts:
            told = [[s.kind, of, s.takes, s.gives] for s, of in zip(self._served.steps, parts, strict=True)]
            self._source = hashlib.blake2b(json.dumps(told).encode(), digest_size=32).digest()
            self._parts = parts
        return self._source

    async def embed(
        self, contents: Sequence[Content], caches: Caches, use: Use, deadline_ms: float, tenant: str = ""
    ) -> Embedded:
        """One embedding for each content, in order. Raises what the pipeline raises, InputError for another shape."""
        source, model = self.source(), self._served.embeds
        keys = [embedding_key(tenant, source, _packed(content)) for content in contents]
        known = {key: found for key in keys if use.find and (found := caches.embeddings.find(key)) is not None}
        missing = {key: content for key, content in zip(keys, contents, strict=True) if key not in known}
        stages_ms: dict[str, float] = {}
        if missing:
            made = await self._make(missing, self._served.pipeline, deadline_ms, stages_ms)
            known |= made
            if use.keep and self.source() == source:
                for key, embedding in made.items():
                    caches.embeddings.keep(key, embedding)
        return Embedded([known[key] for key in keys], sum(key not in missing for key in keys), stages_ms, model)

    async def _make(
        self, missing: Mapping[bytes, Content], pipeline: "Pipeline", deadline_ms: float, stages_ms: dict[str, float]
    ) -> dict[bytes, Embedding]:
        """As many at a time as the models have instances for, all by the same version of them."""
        until_s = self._node.clock.monotonic() + deadline_ms / 1000
        made: dict[bytes, Embedding] = {}
        waiting = iter(missing.items())

        async def work() -> None:
            for key, content in waiting:
                left_ms = max(0.0, until_s - self._node.clock.monotonic()) * 1000
                made[key] = await self._one(content, pipeline, left_ms, stages_ms)

        workers = [asyncio.create_task(work()) for _ in range(min(self._instances(), len(missing)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*workers, return_exceptions=True)
        return made

    def _instances(self) -> int:
        if self._node.gate is not None:
            return self._node.gate.count_max
        used = [step.uses for step in self._served.steps if step.kind == "model"]
        return max((self._node.models[name].pool.statistics().instances for name in used), default=1) or 1

    async def _one(
        self, content: Content, pipeline: "Pipeline", deadline_ms: float, stages_ms: dict[str, float]
    ) -> Embedding:
        data = _input(content)
        with self._observed.pipeline(self.name) as outcome:
            answer = await pipeline.run(data, deadline_ms=deadline_ms)
            outcome.stages_ms = answer.how.stages
        for name, stage_ms in answer.how.stages.items():
            stages_ms[name] = round(stages_ms.get(name, 0.0) + stage_ms, 3)
        assert isinstance(answer.value, Mapping)
        (vector,) = answer.value.values()
        if vector.ndim != 2 or len(vector) != 1:
            raise InputError(f"pipeline `{self.name}` gave {list(vector.shape)}, an embedding is [1, size]")
        return Embedding(np.ascontiguousarray(vector, "<f4").tobytes(), await self._tokens(data))

    async def _tokens(self, data: bytes) -> int:
        """How many tokens the text has for its model."""
        counted = await self._agent.pool.run(lambda agent: _token_count(agent.infer(data)))
        return int(counted)


def _token_count(answer: "bytes | Mapping[str, Array]") -> int:
    if not isinstance(answer, Mapping):
        return 0
    return int(answer["attention_mask"].sum()) if "attention_mask" in answer else next(iter(answer.values())).size


def _packed(content: Content) -> bytes:
    """For keys; a text and ids never look alike."""
    return b"text " + content.encode() if isinstance(content, str) else b"ids " + json.dumps(list(content)).encode()


def _input(content: Content) -> bytes:
    """A text as it is, ids as a record of a JSON text sequence (docs/reference/text-agent.md)."""
    if isinstance(content, str):
        data = content.encode()
        return data if not data.startswith(RECORD_SEPARATOR) else RECORD_SEPARATOR + json.dumps(content).encode()
    return RECORD_SEPARATOR + json.dumps(list(content)).encode()
