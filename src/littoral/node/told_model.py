"""The header `littoral-model`: whose vectors these are, in answers with embeddings, and in requests that bring some."""

from collections.abc import Iterable

from littoral.node.node import Node
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion, parse_version
from littoral.web import Request

__all__ = ["HEADER", "collection_for_vectors", "collection_to_write", "model_header"]

HEADER = "littoral-model"


def model_header(model: ModelVersion | None) -> Iterable[tuple[str, str]]:
    """None where no model is known."""
    return () if model is None else ((HEADER, str(model)),)


def told_model(request: Request) -> ModelVersion | None:
    """None where the request does not say. Raises InputError for what is no version."""
    text = request.headers.get(HEADER)
    return None if text is None else parse_version(str(text))


def collection_for_vectors(node: Node, request: Request) -> Collection:
    """The one that the path names, in the generation that this request's vectors may meet. Raises ConflictError."""
    return node.collections.get(request.names["collection"]).of(told_model(request))


async def collection_to_write(node: Node, request: Request) -> Collection:
    """As `collection_for_vectors`; the first who tells whose vectors he writes says whose are in it."""
    model = told_model(request)
    collection = node.collections.get(request.names["collection"])
    if model is not None and model.name and not collection.config.models:
        await node.collections.claim(collection.name, [model])
    return collection_for_vectors(node, request)
