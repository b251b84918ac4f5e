"""Embeds what a point keeps, by a pipeline that is bound to one version of its model."""

import asyncio

import numpy as np

from littoral.errors import ConflictError, InputError
from littoral.node.migration.sources import Source
from littoral.runtime.edges import BYTES, TensorsType, tensors_of
from littoral.runtime.pipeline import Pipeline
from littoral.vectors.records import Payload

__all__ = ["Embedding"]

DEADLINE_MS = 30_000.0


class Embedding:
    """pipeline: bytes in, one float32[1, size] out. Raises ConflictError for any other."""

    def __init__(self, pipeline: Pipeline, source: Source) -> None:
        gives = pipeline.gives
        is_one = isinstance(gives, TensorsType) and len(gives.ports) == 1 and gives.ports[0].dtype == "float32"
        if pipeline.takes != BYTES or not is_one:
            raise ConflictError(
                f"pipeline `{pipeline.name}` takes {pipeline.takes} and gives {gives}",
                hint="what embeds anew takes bytes, and gives one tensor float32[1, size]",
            )
        self._pipeline = pipeline
        self._source = source

    @property
    def size(self) -> int:
        """Numbers of a vector; −1 where only an answer tells it."""
        gives = self._pipeline.gives
        shape = gives.ports[0].shape if isinstance(gives, TensorsType) else ()
        return shape[-1] if len(shape) == 2 else -1

    async def __call__(self, payload: Payload | None) -> bytes:
        """The vector as float32. Raises InputError where the source is not there, and what the pipeline raises."""
        if self._source.kind == "file":
            data = await asyncio.to_thread(self._source.read, payload)
        else:
            data = self._source.read(payload)
        answer = await self._pipeline.run(data, deadline_ms=DEADLINE_MS)
        (vector,) = tensors_of(answer.value).values()
        if vector.ndim != 2 or len(vector) != 1 or self.size not in (-1, vector.shape[1]):
            raise InputError(f"pipeline `{self._pipeline.name}` gave {list(vector.shape)}, an embedding is [1, size]")
        return np.ascontiguousarray(vector, "<f4").tobytes()
