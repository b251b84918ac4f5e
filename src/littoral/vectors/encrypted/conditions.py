"""Filters and queries over sealed fields: equality becomes equality of tokens, everything else is refused."""

from typing import Any

import msgspec

from littoral.errors import InputError, TooLargeError
from littoral.vectors.asks import Ask, Formula, OrderBy, TextMatch
from littoral.vectors.encrypted.fields import SealedFields
from littoral.vectors.filters import LIST_COUNT_MAX, Condition, Filter, Match, MinShould, PayloadField
from littoral.vectors.indexes import IndexParams
from littoral.vectors.queries import PayloadSelector, Prefetch, SearchParams, SearchQuery
from littoral.vectors.records import FieldSchema

__all__ = ["check_order", "field_schema", "filter_over", "query_over", "selector_over"]

COUNTED = ("values_count", "is_empty", "is_null")
TESTS = ("range", "geo_bounding_box", "geo_radius", "geo_polygon")
MATCHES = ("text", "text_any", "phrase", "prefix", "substring")
INDEXED = ("keyword", "integer", "bool")
INDEX_OPTIONS = ("on_disk", "memory", "enable_hnsw", "is_tenant")
CONDITION_KEYS = frozenset(Condition.__struct_fields__)


def filter_over(fields: SealedFields, given: Filter | None) -> Filter | None:
    """The same over what is stored; the given one stays as it is. Raises InputError."""
    if given is None:
        return None
    return Filter(
        must=_clause(fields, given.must),
        should=_clause(fields, given.should),
        must_not=_clause(fields, given.must_not),
        min_should=_min_should(fields, given.min_should),
    )


def query_over(fields: SealedFields, query: SearchQuery) -> SearchQuery:
    """The same for the store. Raises InputError."""
    _check_ask(fields, query.ask, query.using)
    return msgspec.structs.replace(
        query,
        ask=_ask(fields, query.ask),
        filter=filter_over(fields, query.filter),
        with_payload=selector_over(fields, query.with_payload),
        params=_params(fields, query.params),
        prefetch=[_prefetch(fields, one) for one in query.prefetch],
    )


def selector_over(fields: SealedFields, selector: bool | PayloadSelector) -> bool | PayloadSelector:
    """With the sealed values of the fields that are asked for."""
    if isinstance(selector, bool):
        return selector
    include, exclude = (
        None if keys is None else fields.all_keys(keys, "path") for keys in (selector.include, selector.exclude)
    )
    return PayloadSelector(include, exclude)


def check_order(fields: SealedFields, order: OrderBy | None) -> None:
    """Raises InputError."""
    if order is not None and (field := fields.of_path(order.key)) is not None:
        raise fields.refused(field, "order")


def field_schema(fields: SealedFields, path: str, schema: FieldSchema | IndexParams) -> FieldSchema | IndexParams:
    """What finds equality is an index of tokens. Raises InputError for one that finds more."""
    if (field := fields.of_whole(path, "index")) is None:
        return schema
    kind = schema.type if isinstance(schema, IndexParams) else schema
    if kind not in INDEXED:
        raise fields.refused(field, f"index of type `{kind}`")
    if not isinstance(schema, IndexParams):
        return "keyword"
    given = msgspec.structs.asdict(schema)
    for name in ("prefix", "range", "is_principal"):
        if given[name]:
            raise fields.refused(field, f"index with `{name}`")
    return IndexParams(type="keyword", **{name: given[name] for name in INDEX_OPTIONS})


def _clause(fields: SealedFields, part: list[Condition] | Condition | None) -> list[Condition] | Condition | None:
    if part is None:
        return None
    return _condition(fields, part) if isinstance(part, Condition) else [_condition(fields, one) for one in part]


def _min_should(fields: SealedFields, part: MinShould | None) -> MinShould | None:
    if part is None:
        return None
    return MinShould(conditions=[_condition(fields, one) for one in part.conditions], min_count=part.min_count)


def _condition(fields: SealedFields, given: Condition) -> Condition:
    found = msgspec.structs.replace(
        given,
        must=_clause(fields, given.must),
        should=_clause(fields, given.should),
        must_not=_clause(fields, given.must_not),
        min_should=_min_should(fields, given.min_should),
    )
    for test in (given.is_empty, given.is_null):
        if isinstance(test, PayloadField):
            fields.of_whole(test.key, "condition")
    if given.nested is not None and (field := fields.of_path(given.nested.key)) is not None:
        raise fields.refused(field, "condition `nested`")
    if given.key is None or (field := fields.of_whole(given.key, "condition")) is None:
        return found
    for name in TESTS:
        if getattr(given, name) is not None:
            raise fields.refused(field, f"condition `{name}`")
    if given.match is None:
        return found
    found.match = _match(fields, field, given.match)
    return _in_either_form(fields, field, found, given) if fields.is_either(field) else found


def _in_either_form(fields: SealedFields, field: str, sealed: Condition, given: Condition) -> Condition:
    """A token is looked for where a value lies sealed, and the value itself where none does: no text is both."""
    is_plain = Condition(is_empty=PayloadField(fields.beside(field)))
    plain = msgspec.structs.replace(given, must=None, should=None, must_not=None, min_should=None)
    return Condition(should=[Condition(must=[sealed], must_not=[is_plain]), Condition(must=[plain, is_plain])])


def _match(fields: SealedFields, field: str, given: Match) -> Match:
    for name in MATCHES:
        if getattr(given, name) is not None:
            raise fields.refused(field, f"match `{name}`")
    if given.except_ is not None:
        return Match(except_=_tokens(fields, field, given.except_))
    return Match(any=_tokens(fields, field, given.any if given.value is None else [given.value]))


def _tokens(fields: SealedFields, field: str, values: list[Any] | None) -> list[int | str]:
    found: list[int | str] = [token for value in values or [] for token in fields.tokens(field, value)]
    if len(found) > LIST_COUNT_MAX:
        raise TooLargeError(
            f"filter: {len(values or [])} values of `{field}` by every key are {len(found)}, at most {LIST_COUNT_MAX}",
            hint="ask for fewer at a time",
        )
    return found


def _params(fields: SealedFields, params: SearchParams) -> SearchParams:
    if params.idf_corpus is None:
        return params
    return msgspec.structs.replace(params, idf_corpus=filter_over(fields, params.idf_corpus))


def _prefetch(fields: SealedFields, given: Prefetch) -> Prefetch:
    _check_ask(fields, given.ask, given.using)
    return msgspec.structs.replace(
        given,
        ask=_ask(fields, given.ask),
        filter=filter_over(fields, given.filter),
        params=_params(fields, given.params),
        prefetch=[_prefetch(fields, one) for one in given.prefetch],
    )


def _check_ask(fields: SealedFields, ask: bytes | Ask | None, using: str) -> None:
    if isinstance(ask, OrderBy):
        check_order(fields, ask)
    if isinstance(ask, TextMatch) and (field := fields.of_path(using)) is not None:
        raise fields.refused(field, "search for words")


def _ask(fields: SealedFields, ask: Any) -> Any:
    if not isinstance(ask, Formula):
        return ask
    for name in ask.defaults:
        if (field := fields.of_path(name)) is not None:
            raise fields.refused(field, "formula")
    return Formula(_expression(fields, ask.expression), ask.defaults)


def _expression(fields: SealedFields, json: Any) -> Any:
    """A name in it is a value of the payload; an object with keys of a condition is one."""
    if isinstance(json, str):
        if (field := fields.of_path(json)) is not None:
            raise fields.refused(field, "formula")
        return json
    if isinstance(json, list):
        return [_expression(fields, one) for one in json]
    if not isinstance(json, dict):
        return json
    if not CONDITION_KEYS.isdisjoint(json):
        try:
            return msgspec.to_builtins(_condition(fields, msgspec.convert(json, Condition)))
        except msgspec.ValidationError as error:
            raise InputError(f"formula: is neither a known expression nor a condition: {error}") from error
    return {name: _expression(fields, part) for name, part in json.items()}
