"""What a search asks for, as structs, with the readers for the JSON of Qdrant's REST interface."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from littoral.errors import InputError, NotOfferedError, TooLargeError
from littoral.vectors.checks import PAYLOAD_DEPTH_MAX, check_payload
from littoral.vectors.filters import Filter
from littoral.vectors.records import Payload, PointId

__all__ = [
    "RESULT_COUNT_MAX",
    "PayloadChange",
    "PayloadSelector",
    "SearchParams",
    "SearchQuery",
    "parse_params",
    "parse_selector",
]

RESULT_COUNT_MAX = 16_384
QUERY_COUNT_MAX = 64
EF_MAX = 4096
KEY_CHARACTERS_MAX = 1024
PARAMS_NOT_OFFERED = ("quantization", "acorn", "idf")


class PayloadSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload keys to give back, or to leave out; exactly one of the two."""

    include: list[str] | None = None
    exclude: list[str] | None = None


class SearchParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """exact: compare with every point. hnsw_ef: breadth of the graph search. indexed_only: skip what is not indexed."""

    hnsw_ef: int | None = None
    exact: bool = False
    indexed_only: bool = False


class SearchQuery(msgspec.Struct, array_like=True):
    """The `limit` points nearest to `vector` (float32 bytes), after leaving out the first `offset`."""

    vector: bytes
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    score_threshold: float | None = None
    with_payload: bool | PayloadSelector = False
    with_vector: bool = False
    params: SearchParams = SearchParams()


class PayloadChange(msgspec.Struct, forbid_unknown_fields=True):
    """A change to the payloads of some points: those in `ids`, or all that `filter` finds; exactly one of the two.

    merge: keys of `payload` are set (below `key`, if given). replace: `payload` takes the place of the whole.
    remove: `keys` go. clear: everything goes.
    """

    how: Literal["merge", "replace", "remove", "clear"]
    ids: list[PointId] | None = None
    filter: Filter | None = None
    payload: Payload | None = None
    keys: list[str] | None = None
    key: str | None = None


def parse_selector(json: Any) -> bool | PayloadSelector:
    """`with_payload` of a request: true, false, a list of keys, {"include": …} or {"exclude": …}; None is false."""
    if json is None or isinstance(json, bool):
        return bool(json)
    try:
        selector = (
            PayloadSelector(include=msgspec.convert(json, list[str]))
            if isinstance(json, list)
            else msgspec.convert(json, PayloadSelector)
        )
    except msgspec.ValidationError as error:
        raise InputError(f"with_payload: {error}") from error
    if (selector.include is None) == (selector.exclude is None):
        raise InputError("with_payload: needs exactly one of include, exclude")
    return selector


def parse_params(json: Mapping[str, Any] | None) -> SearchParams:
    """`params` of a request. Raises NotOfferedError for the parameters of parts we lack."""
    if json is None:
        return SearchParams()
    given = {name: value for name, value in json.items() if value is not None}
    for name in PARAMS_NOT_OFFERED:
        if name in given:
            raise NotOfferedError(f"params: `{name}` is not offered")
    try:
        return msgspec.convert(given, SearchParams)
    except msgspec.ValidationError as error:
        raise InputError(f"params: {error}") from error


def check_page(limit: int, offset: int = 0) -> None:
    """limit ≥ 1, offset ≥ 0, and both together within what one answer may hold."""
    if limit < 1:
        raise InputError(f"limit is {limit}, must be at least 1")
    if offset < 0:
        raise InputError(f"offset is {offset}, must be at least 0")
    if limit + offset > RESULT_COUNT_MAX:
        raise TooLargeError(f"limit and offset add up to {limit + offset}, at most {RESULT_COUNT_MAX}")


def check_query(query: SearchQuery) -> None:
    """Everything but vector and filter."""
    check_page(query.limit, query.offset)
    if query.score_threshold is not None and query.score_threshold != query.score_threshold:
        raise InputError("score_threshold is NaN")
    if query.params.hnsw_ef is not None and not 1 <= query.params.hnsw_ef <= EF_MAX:
        raise InputError(f"params: `hnsw_ef` is {query.params.hnsw_ef}, must be 1..{EF_MAX}")


def check_change(change: PayloadChange) -> None:
    """One target, and what its kind of change needs."""
    if (change.ids is None) == (change.filter is None):
        raise InputError("payload: needs exactly one of points, filter")
    if (change.payload is not None) != (change.how in ("merge", "replace")):
        raise InputError(f"payload: `payload` {'is missing' if change.payload is None else 'has no meaning here'}")
    if (change.keys is not None) != (change.how == "remove"):
        raise InputError(f"payload: `keys` {'is missing' if change.keys is None else 'has no meaning here'}")
    if change.key is not None and change.how != "merge":
        raise InputError("payload: `key` has no meaning here")
    if len(change.key or "") > KEY_CHARACTERS_MAX or (change.key or "").count(".") > PAYLOAD_DEPTH_MAX:
        raise TooLargeError(f"payload: `key` is longer than {KEY_CHARACTERS_MAX} or deeper than {PAYLOAD_DEPTH_MAX}")
    if change.payload is not None:
        check_payload(change.payload, "payload")
