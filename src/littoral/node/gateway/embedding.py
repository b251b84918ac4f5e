"""Vectors of questions: by a text pipeline of the operator's, for every tenant with caches of its own."""

from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from littoral.errors import SettingError, UnavailableError
from littoral.node.caches import ANY
from littoral.node.embedders import Embedder, Embedders
from littoral.node.node import Node
from littoral.node.observed import Observed
from littoral.node.site import Site

__all__ = ["QuestionEmbedder", "embedder_of"]

DEADLINE_MS = 10_000.0


class QuestionEmbedder:
    """size: of a vector. A model that was replaced since the node started makes other vectors than those that are kept:
    then none is made until it starts again.
    """

    def __init__(self, embedder: Embedder, size: int) -> None:
        self.name = embedder.name
        self.size = size
        self.models = embedder.models
        self._embedder = embedder
        self._source = embedder.source()

    def of(self, node: Node) -> Callable[[str], Awaitable[NDArray[np.float32]]]:
        """For one tenant: what it embeds is remembered in its own caches."""

        async def embed(text: str) -> NDArray[np.float32]:
            if self._embedder.source() != self._source:
                raise UnavailableError(
                    f"pipeline `{self.name}` has another model than when the node started", hint="restart the node"
                )
            found = await self._embedder.embed([text], node.caches, ANY, DEADLINE_MS, node.tenant)
            return np.frombuffer(found.embeddings[0].vector, "<f4")

        return embed


def embedder_of(site: Site, node: Node, observed: Observed) -> QuestionEmbedder | None:
    """Of the table `gateway`. Raises SettingError for a pipeline that makes no vector of a text."""
    if site.gateway is None or site.gateway.embedder is None:
        return None
    name = site.gateway.embedder
    if (found := Embedders(node, observed).find(name)) is None:
        raise SettingError(
            f"{site.file}: `gateway.embedder` is `{name}`, which is no pipeline that makes a vector of a text",
            hint="docs/reference/openai.md says what such a pipeline is",
        )
    return QuestionEmbedder(found, found.size)
