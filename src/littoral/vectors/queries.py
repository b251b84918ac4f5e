"""A query with all that stands around its question, as structs, and changes of payloads.

With them, readers for the parts of Qdrant's JSON that are the same everywhere.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.vectors.asks import Ask, Mmr
from littoral.vectors.checks import PAYLOAD_DEPTH_MAX, check_payload
from littoral.vectors.filters import Filter, check_filter, parse_filter
from littoral.vectors.records import Payload, PointId

__all__ = [
    "DEFAULT_PARAMS",
    "QUERY_COUNT_MAX",
    "RESULT_COUNT_MAX",
    "PayloadChange",
    "PayloadSelector",
    "Prefetch",
    "QuantizationParams",
    "SearchParams",
    "SearchQuery",
    "candidates_of",
    "check_pairs",
    "check_query",
    "parse_params",
    "parse_selector",
]

RESULT_COUNT_MAX = 16_384
QUERY_COUNT_MAX = 64
EF_MAX = 4096
OVERSAMPLING_MAX = 100.0
KEY_CHARACTERS_MAX = 1024
MATRIX_SAMPLE_MAX = 1000
PREFETCH_COUNT_MAX = 64
PREFETCH_DEPTH_MAX = 8


class PayloadSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload keys to give back, or to leave out; exactly one of the two."""

    include: list[str] | None = None
    exclude: list[str] | None = None


class QuantizationParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ignore: use the vectors themselves. rescore: compare the best again with them, out of `oversampling` × limit."""

    ignore: bool = False
    rescore: bool | None = None
    oversampling: float | None = None


class AcornParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A graph search that looks past what a filter excludes, if the filter finds at most this share of the points."""

    enable: bool = False
    max_selectivity: float | None = None


class SearchParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """exact: compare with every point. hnsw_ef: breadth of the graph search. indexed_only: skip what is not indexed.

    idf_corpus: among which points an index of a sparse vector is rare.
    """

    hnsw_ef: int | None = None
    exact: bool = False
    indexed_only: bool = False
    quantization: QuantizationParams | None = None
    acorn: AcornParams | None = None
    idf_corpus: Filter | None = None


DEFAULT_PARAMS = SearchParams()


class Prefetch(msgspec.Struct, array_like=True):
    """A query whose answers another one orders anew. using: name of the vector, or payload field of a text match."""

    ask: Ask | None = None
    using: str = ""
    limit: int = 10
    filter: Filter | None = None
    score_threshold: float | None = None
    params: SearchParams = DEFAULT_PARAMS
    prefetch: "list[Prefetch]" = []


class SearchQuery(msgspec.Struct, array_like=True):
    """The `limit` best points after leaving out the first `offset`.

    ask: bytes are the one vector without a name, to which points are to be near; None gives points in the order of ids.
    """

    ask: bytes | Ask | None
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    score_threshold: float | None = None
    with_payload: bool | PayloadSelector = False
    with_vector: bool | list[str] = False
    params: SearchParams = DEFAULT_PARAMS
    using: str = ""
    prefetch: list[Prefetch] = []


class PayloadChange(msgspec.Struct, forbid_unknown_fields=True):
    """A change to the payloads of some points: those in `ids`, or all that `filter` finds; exactly one of the two.

    merge: keys of `payload` are set. replace: `payload` takes the place of the whole. Both below `key`, if given.
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
    """`params` of a request. Raises InputError naming what is wrong."""
    if not json:
        return DEFAULT_PARAMS
    given = {name: value for name, value in json.items() if value is not None}
    if (idf := given.pop("idf", None)) is not None and idf != "global":
        if not isinstance(idf, dict) or list(idf) != ["corpus"]:
            raise InputError("params: `idf` must be `global` or have a `corpus`")
        given["idf_corpus"] = parse_filter(idf["corpus"])
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
    """Everything but vectors and filters."""
    check_page(query.limit, query.offset)
    _check_score(query.score_threshold)
    check_params(query.params)
    if query.prefetch:
        _check_prefetches(query.prefetch)


def check_params(params: SearchParams) -> None:
    """Bounds of the numbers."""
    if params is DEFAULT_PARAMS:
        return
    if params.hnsw_ef is not None and not 1 <= params.hnsw_ef <= EF_MAX:
        raise InputError(f"params: `hnsw_ef` is {params.hnsw_ef}, must be 1..{EF_MAX}")
    if (kept := params.quantization) is not None and not 1 <= (kept.oversampling or 1) <= OVERSAMPLING_MAX:
        raise InputError(f"params: `oversampling` is {kept.oversampling}, must be 1..{OVERSAMPLING_MAX}")
    if params.acorn is not None and not 0 <= (params.acorn.max_selectivity or 0) <= 1:
        raise InputError(f"params: `max_selectivity` is {params.acorn.max_selectivity}, must be 0..1")
    if params.idf_corpus is not None:
        check_filter(params.idf_corpus)


def check_pairs(sample: int, limit: int) -> None:
    """Of points at random that are compared with each other. Raises InputError."""
    if not (1 <= sample <= MATRIX_SAMPLE_MAX and limit >= 1):
        raise InputError(f"sample is {sample}, limit is {limit}, must be 1..{MATRIX_SAMPLE_MAX} and at least 1")


def candidates_of(ask: Mmr, limit: int) -> int:
    """Of how many points `limit` are chosen that are unlike each other. Raises InputError."""
    if not 0 <= ask.diversity <= 1:
        raise InputError(f"query: `diversity` is {ask.diversity}, must be 0..1")
    count = limit if ask.candidates_limit is None else ask.candidates_limit
    if not 1 <= count <= RESULT_COUNT_MAX:
        raise InputError(f"query: `candidates_limit` is {count}, must be 1..{RESULT_COUNT_MAX}")
    return count


def _check_score(threshold: float | None) -> None:
    if threshold is not None and threshold != threshold:
        raise InputError("score_threshold is NaN")


def _check_prefetches(prefetches: list[Prefetch]) -> None:
    waiting = [(1, prefetch) for prefetch in prefetches]
    for count in itertools.count():
        if not waiting:
            return
        depth, prefetch = waiting.pop()
        if depth > PREFETCH_DEPTH_MAX or count >= PREFETCH_COUNT_MAX:
            raise TooLargeError(f"prefetch: more than {PREFETCH_COUNT_MAX}, or deeper than {PREFETCH_DEPTH_MAX}")
        check_page(prefetch.limit)
        _check_score(prefetch.score_threshold)
        check_params(prefetch.params)
        waiting += [(depth + 1, inner) for inner in prefetch.prefetch]


def check_change(change: PayloadChange) -> None:
    """One target, and what its kind of change needs."""
    if (change.ids is None) == (change.filter is None):
        raise InputError("payload: needs exactly one of points, filter")
    if (change.payload is not None) != (change.how in ("merge", "replace")):
        raise InputError(f"payload: `payload` {'is missing' if change.payload is None else 'has no meaning here'}")
    if (change.keys is not None) != (change.how == "remove"):
        raise InputError(f"payload: `keys` {'is missing' if change.keys is None else 'has no meaning here'}")
    if change.key is not None and change.how not in ("merge", "replace"):
        raise InputError("payload: `key` has no meaning here")
    if len(change.key or "") > KEY_CHARACTERS_MAX or (change.key or "").count(".") > PAYLOAD_DEPTH_MAX:
        raise TooLargeError(f"payload: `key` is longer than {KEY_CHARACTERS_MAX} or deeper than {PAYLOAD_DEPTH_MAX}")
    if change.payload is not None:
        check_payload(change.payload, "payload")
