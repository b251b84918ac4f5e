"""Indexes on payload fields: their options in the JSON of Qdrant's REST interface."""

from typing import Annotated, Any, Literal

import msgspec

from littoral.errors import InputError
from littoral.vectors.records import FieldSchema
from littoral.vectors.tuning import Memory

__all__ = ["IndexParams", "Stemmer", "Stopwords", "parse_schema"]

_Length = Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
_Word = Annotated[str, msgspec.Meta(max_length=256)]


class Stopwords(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Words that a text index leaves out."""

    languages: Annotated[list[str], msgspec.Meta(max_length=64)] | None = None
    custom: Annotated[list[_Word], msgspec.Meta(max_length=4096)] | None = None


class Stemmer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a text index reduces words to their stems."""

    type: Literal["snowball", "none"]
    language: str | None = None


class Scoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["bm25"]


class IndexParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The type and its options; which type has which says `OPTIONS`."""

    type: FieldSchema
    is_tenant: bool | None = None
    is_principal: bool | None = None
    on_disk: bool | None = None
    memory: Memory | None = None
    enable_hnsw: bool | None = None
    nested: _Word | None = None
    prefix: bool | None = None
    lookup: bool | None = None
    range: bool | None = None
    tokenizer: Literal["prefix", "whitespace", "word", "multilingual", "code"] | None = None
    min_token_len: _Length | None = None
    max_token_len: _Length | None = None
    lowercase: bool | None = None
    ascii_folding: bool | None = None
    phrase_matching: bool | None = None
    stopwords: str | Stopwords | None = None
    stemmer: Stemmer | None = None
    scoring: bool | Scoring | None = None


EVERYWHERE = frozenset({"on_disk", "memory", "enable_hnsw", "nested"})
OPTIONS: dict[FieldSchema, frozenset[str]] = {
    "keyword": EVERYWHERE | {"is_tenant", "prefix"},
    "integer": EVERYWHERE | {"lookup", "range", "is_principal"},
    "float": EVERYWHERE | {"is_principal"},
    "geo": EVERYWHERE,
    "bool": EVERYWHERE,
    "datetime": EVERYWHERE | {"is_principal"},
    "uuid": EVERYWHERE | {"is_tenant"},
    "text": EVERYWHERE
    | {"tokenizer", "min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching"}
    | {"stopwords", "stemmer", "scoring"},
}


def parse_schema(json: Any) -> FieldSchema | IndexParams:
    """`field_schema` of a request: the name of a type, or an object with `type` and options. Raises InputError."""
    try:
        if not isinstance(json, dict):
            schema: FieldSchema = msgspec.convert(json, FieldSchema)
            return schema
        params = msgspec.convert(json, IndexParams)
    except msgspec.ValidationError as error:
        raise InputError(f"field_schema: {error}") from error
    check_schema(params)
    return params


def check_schema(params: IndexParams) -> None:
    """Raises InputError for an option that the type does not have."""
    given = {name for name in msgspec.to_builtins(params) if name != "type"}
    if unknown := given - OPTIONS[params.type]:
        raise InputError(f"field_schema: an index of type `{params.type}` has no option `{min(unknown)}`")
