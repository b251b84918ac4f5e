"""What searches over HTTP answer, as JSON that can be told again: to the same body, and to a near query with proof."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from littoral.errors import LittoralError
from littoral.node.cached_search import NearQuestion, near_question
from littoral.node.caches import Caches, Use
from littoral.node.search_step import CERTAIN
from littoral.vectors.collection import Collection
from littoral.vectors.filters import parse_filter
from littoral.vectors.queries import SearchParams, parse_selector
from littoral.vectors.records import Hit

if TYPE_CHECKING:
    from littoral.vectors.result_cache import Scope

__all__ = ["Known", "SearchQuestion"]

SPLIT = b"\0"


class Known(NamedTuple):
    """result: as JSON. searched: what the answer says of its search, as JSON."""

    result: bytes
    searched: bytes
    cache: Literal["exact", "near"]


class _Nearest(msgspec.Struct, forbid_unknown_fields=True):
    nearest: list[float]


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """The bodies of searches that depend on nothing but the points of their collection, and always in the same way."""

    query: list[float] | _Nearest
    limit: int | None = None
    offset: int | None = None
    filter: dict[str, Any] | None = None
    params: SearchParams | None = None
    with_payload: Any = None
    with_vector: Literal[False] | None = None
    score_threshold: float | None = None
    using: Literal[""] | None = None
    prefetch: None = None
    shard_key: None = None
    lookup_from: None = None


class _Older(_Plain):
    """`POST …/points/search`: the vector has another name."""

    query: list[float] = msgspec.field(name="vector")


_KINDS: dict[str, type[_Plain]] = {"query": _Plain, "search": _Older}
_CERTAIN = msgspec.json.encode({"asked": 1, "answered": 1, "missing": []} | CERTAIN)


class SearchQuestion:
    """One request to a search route. route: the end of its path, such as `query`."""

    def __init__(self, caches: Caches, collection: Collection, route: str, body: bytes, use: Use) -> None:
        self._caches = caches
        self._collection = collection
        self._question = b"".join((route.encode(), SPLIT, body))
        self._body = body
        self._use = use
        self._kind = _KINDS.get(route)
        self._scope: Scope | None = None
        self._plain: _Plain | None = None

    def find(self) -> Known | None:
        """The answer, if it is known; looks at the body itself only for near ones."""
        self._scope = self._caches.results.scope(self._collection)
        if self._scope is None or self._kind is None or not self._use.find:
            return None
        if (known := self._caches.results.find(self._scope, self._question)) is not None:
            searched, _, result = known.partition(SPLIT)
            return Known(result, searched, "exact")
        if not self._caches.results.has_near or (near := self._near()) is None:
            return None
        if (hits := near.find(self._collection, self._caches)) is None:
            return None
        points: object = [_told(hit) for hit in hits]
        result = msgspec.json.encode(points if self._kind is _Older else {"points": points})
        self.keep(result, _CERTAIN)
        return Known(result, _CERTAIN, "near")

    def keep(self, result: bytes, searched: bytes) -> None:
        """What the shard answered, unless something was written meanwhile."""
        if self._scope is None or not self._use.keep or self._decoded() is None:
            return
        if self._caches.results.scope(self._collection) == self._scope:
            self._caches.results.keep(self._scope, self._question, b"".join((searched, SPLIT, result)))

    def _decoded(self) -> _Plain | None:
        if self._plain is None and self._kind is not None:
            try:
                self._plain = msgspec.json.decode(self._body, type=self._kind)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
        return self._plain

    def _near(self) -> NearQuestion | None:
        if (body := self._decoded()) is None:
            return None
        numbers = body.query if isinstance(body.query, list) else body.query.nearest
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is no question then
            vector = np.array(numbers, np.float32)
        try:
            return near_question(
                self._collection,
                self._caches,
                vector,
                {
                    "limit": 10 if body.limit is None else body.limit,
                    "offset": body.offset or 0,
                    "matching": parse_filter(body.filter),
                    "score_threshold": body.score_threshold,
                    "with_payload": parse_selector(body.with_payload),
                    "params": body.params or SearchParams(),
                },
            )
        except LittoralError:  # the search itself says what is wrong
            return None


def _told(hit: Hit) -> dict[str, Any]:
    told: dict[str, Any] = {"version": hit.version, "score": hit.score, "id": hit.id}
    if hit.payload is not None:
        told["payload"] = hit.payload
    return told
