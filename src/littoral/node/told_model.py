"""The header `littoral-model`: whose vectors these are, in answers with embeddings, and in requests that bring some.

`VERSION` is said of all vectors of a request, `VECTOR=VERSION, …` of each by its name where they are of several models.
"""

from collections.abc import Callable, Iterable

from littoral.node.node import Node
from littoral.vectors.collection import Collection
from littoral.vectors.model_version import ModelVersion, ToldModels, parse_told
from littoral.web import Request

__all__ = ["HEADER", "collection_for_vectors", "collection_to_write", "model_header"]

HEADER = "littoral-model"
NOTHING = ToldModels()

Names = Callable[[], Iterable[str]]
"""Of the vectors of a request; asked only where it matters."""


def model_header(model: ModelVersion | None) -> Iterable[tuple[str, str]]:
    """None where no model is known."""
    return () if model is None else ((HEADER, str(model)),)


def told_models(request: Request) -> ToldModels:
    """Raises InputError for what is no version."""
    text = request.headers.get(HEADER)
    return NOTHING if text is None else parse_told(str(text))


def collection_for_vectors(node: Node, request: Request, names: Names) -> Collection:
    """The one that the path names, in the generation that this request's vectors may meet. Raises ConflictError."""
    return _of(node.collections.get(request.names["collection"]), told_models(request), names)


async def collection_to_write(node: Node, request: Request, names: Names) -> Collection:
    """As `collection_for_vectors`; the first who tells whose vectors he writes says whose are in it."""
    told = told_models(request)
    collection = node.collections.get(request.names["collection"])
    if told is not NOTHING:
        for vector in dict.fromkeys(names()):
            model = told.of(vector)
            if model is not None and model.name and _is_open(collection, vector):
                await node.collections.claim(collection.name, [model], vector)
    return _of(node.collections.get(request.names["collection"]), told, names)


def _is_open(collection: Collection, vector: str) -> bool:
    """Whether nobody has said yet whose the vector is; of a sparse one nobody needs to."""
    return vector in collection.config.dense and not collection.config.models_of(vector)


def _of(collection: Collection, told: ToldModels, names: Names) -> Collection:
    if told is NOTHING and not collection.is_strict:
        return collection
    return collection.of_all({vector: told.of(vector) for vector in names()})
