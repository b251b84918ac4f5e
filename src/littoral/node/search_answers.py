"""What searches over HTTP answer, as JSON that can be told again: to the same body, and to a near query with proof."""

import functools
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
import numpy as np

from littoral.errors import LittoralError
from littoral.node.cached_search import NearQuestion, near_question
from littoral.node.caches import Caches, Use
from littoral.node.heard import HEARD, Heard
from littoral.node.plain_searches import plain_of
from littoral.node.search_step import searched
from littoral.vectors.collection import Collection
from littoral.vectors.queries import SearchParams, SearchQuery
from littoral.vectors.result_cache import question_key

if TYPE_CHECKING:
    from littoral.vectors.result_cache import Scope

__all__ = ["Known", "SearchQuestion"]

SPLIT = b"\0"
OLDER = "search"
BATCH = "query/batch"
REMEMBERED = frozenset({"query", OLDER})
"""Routes whose answers are told again."""


class Known(NamedTuple):
    """result, searched (what the answer says of its search): as JSON. cache: None for an answer of the shard."""

    result: bytes
    searched: bytes
    cache: Literal["exact", "near"] | None


_SEARCHED = {
    is_exact: msgspec.json.encode(searched({"params": SearchParams(exact=is_exact)})) for is_exact in (False, True)
}


class SearchQuestion:
    """One request to a search route. route: the end of its path, such as `query`."""

    def __init__(self, caches: Caches, collection: Collection, route: str, body: bytes, use: Use) -> None:
        self._caches = caches
        self._collection = collection
        self._body = body
        self._route = route
        self._use = use
        self._scope: Scope | None = None

    def find(self) -> Known | None:
        """The answer, if it is known; looks at the body itself only for near ones."""
        self._scope = self._caches.results.scope(self._collection)
        if self._scope is None or self._route not in REMEMBERED or not self._use.find:
            return None
        if (known := self._caches.results.find(self._key)) is not None:
            searched, _, result = known.partition(SPLIT)
            return Known(result, searched, "exact")
        if not self._caches.results.has_near or (near := self._near()) is None:
            return None
        if (hits := near.find(self._collection, self._caches)) is None:
            return None
        result = hits.told() if self._route == OLDER else b'{"points":%b}' % hits.told()
        self.keep(result, _SEARCHED[True])
        return Known(result, _SEARCHED[True], "near")

    async def ask(self, deadline_s: float) -> Known | None:
        """What the shard answers; None for a body that is not plain. Raises InputError, and as `search_told`."""
        if not (asked := self.asked):
            return None
        found = await self._collection.search_told(asked, deadline_s=deadline_s)
        HEARD.set(Heard(self._collection, asked))
        is_exact = all(query.params.exact for query in asked)
        if self._route == OLDER:
            result = found[0]
        else:
            told = [b'{"points":%b}' % hits for hits in found]
            result = b"[%b]" % b",".join(told) if self._route == BATCH else told[0]
        self.keep(result, _SEARCHED[is_exact])
        return Known(result, _SEARCHED[is_exact], None)

    def keep(self, result: bytes, searched: bytes) -> None:
        """What the shard answered, unless something was written meanwhile."""
        if self._scope is None or not self._use.keep or self._route not in REMEMBERED or self.asked is None:
            return
        if self._caches.results.scope(self._collection) == self._scope:
            self._caches.results.keep(self._key, b"".join((searched, SPLIT, result)))

    @functools.cached_property
    def _key(self) -> bytes:
        assert self._scope is not None
        return question_key(self._scope, b"".join((self._route.encode(), SPLIT, self._body)))

    @functools.cached_property
    def asked(self) -> list[SearchQuery] | None:
        """What a plain body asks; None for any other. Raises InputError."""
        return plain_of(self._route, self._body)

    def _near(self) -> NearQuestion | None:
        try:
            if self.asked is None or not isinstance((asked := self.asked[0]).ask, bytes):
                return None
            return near_question(
                self._collection,
                self._caches,
                np.frombuffer(asked.ask, "<f4"),
                {
                    "limit": asked.limit,
                    "offset": asked.offset,
                    "matching": asked.filter,
                    "score_threshold": asked.score_threshold,
                    "with_payload": asked.with_payload,
                    "params": asked.params,
                },
            )
        except LittoralError:  # the search itself says what is wrong
            return None
