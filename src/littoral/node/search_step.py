"""The step `{ search = … }`: one vector in, the nearest points of a collection out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from littoral.errors import InputError
from littoral.node.asked_recall import asking_recall
from littoral.node.cached_search import search_through
from littoral.node.caches import USE, Caches
from littoral.node.search_how import noting
from littoral.node.site_tables import CacheTable
from littoral.runtime.edges import HITS, EdgeType, Fit, TensorsType, Value, fit_tensors, tensors_of
from littoral.runtime.step import How
from littoral.tensors import TensorSpec
from littoral.vectors.collection import Collection, QueryOptions
from littoral.vectors.queries import SearchParams

if TYPE_CHECKING:
    from littoral.node.audit.trail import Trail

__all__ = ["CERTAIN", "SearchStage", "SearchStep"]


OFF = CacheTable(embeddings_mb=0, results_mb=0)
CERTAIN = {"certified": True, "expected_recall": 1.0}


class SearchStep:
    """size: numbers of a vector. find: gives the collection for each request, since one may be deleted and made again.

    options: what each query says beside its vector; `params.exact` makes every answer a certified one. caches: default
    none. recall: that is enough, where the collection is spread; the request's goes before it. trail: told each search.
    """

    def __init__(
        self,
        find: Callable[[], Collection],
        *,
        size: int,
        options: QueryOptions,
        caches: Caches | None = None,
        recall: float | None = None,
        trail: "Trail | None" = None,
        name: str = "search",
    ) -> None:
        self.name = name
        self._find = find
        self._size = size
        self._options = options
        self._caches = caches or Caches(OFF)
        self._recall = recall
        self._trail = trail

    @property
    def takes(self) -> EdgeType:
        return TensorsType((TensorSpec("vector", "float32", (1, self._size)),))

    def bind(self, given: EdgeType) -> "SearchStage":
        wanted = TensorSpec("vector", "float32", (1, self._size))
        return SearchStage(
            fit_tensors(given, [wanted])[0],
            self._size,
            self._find,
            self._options,
            self._caches,
            self._recall,
            self._trail,
        )


class SearchStage(NamedTuple):
    fit: Fit
    size: int
    find: Callable[[], Collection]
    options: QueryOptions
    caches: Caches
    recall: float | None = None
    trail: "Trail | None" = None

    @property
    def gives(self) -> EdgeType:
        return HITS

    async def run(self, value: Value, how: How) -> Value:
        """Hits, best first. Raises NotFoundError where the collection was deleted, InputError for another size."""
        vectors = self.fit.of(tensors_of(value))
        if vectors.shape != (1, self.size):
            raise InputError(f"step `search`: vector of shape {list(vectors.shape)}, expected [1, {self.size}]")
        collection = self.find()
        with noting() as noted, asking_recall(self.recall):
            found = await search_through(self.caches, collection, vectors[0], self.options, USE.get())
        if self.trail is not None:
            self.trail.searched(collection, vectors[0].astype("<f4").tobytes(), self.options.get("using", ""))
        how.search = noted.told or searched(self.options)
        if found.cache is not None:
            how.cache = found.cache
        if found.cache == "near":
            how.search |= CERTAIN
        return found.hits


def searched(options: QueryOptions) -> dict[str, Any]:
    """What an answer says of its search: a comparison with every point is certain, one by graph promises nothing."""
    is_exact = options.get("params", SearchParams()).exact
    told = {"asked": 1, "answered": 1, "missing": [], "certified": False, "expected_recall": None}
    return told | CERTAIN if is_exact else told
