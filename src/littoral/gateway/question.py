"""A request to the gateway, read from its bytes, and what it is told."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from littoral.errors import InputError

__all__ = ["KINDS", "Kind", "Outcome", "Question", "Streamed", "Told", "Whole", "read_question"]

Kind = Literal["chat", "completion"]
Outcome = Literal["hit", "semantic", "miss", "explore", "stale", "off"]
"""hit: the same request. semantic: a similar question. explore: it might have been told, and was asked all the same.
stale: too old, and no upstream answers. off: by rule, or there is no cache."""

KINDS: Mapping[Kind, str] = {"chat": "/chat/completions", "completion": "/completions"}
"""Paths behind `/v1`."""

MODEL_CHARACTERS_MAX = 256

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Question(NamedTuple):
    """body: its JSON; data: the same as it came. has_usage: a stream ends with the count of tokens.

    author: digest of whose token asked. until_s: monotonic, when nobody waits for it any more.
    """

    kind: Kind
    body: Mapping[str, Any]
    data: bytes
    model: str
    is_stream: bool
    has_usage: bool
    author: bytes
    cache_control: str
    until_s: float


class Whole(NamedTuple):
    """body: JSON."""

    body: bytes
    status: int
    headers: tuple[tuple[str, str], ...]


class Streamed(NamedTuple):
    """chunks: server-sent events."""

    chunks: AsyncIterator[bytes]
    headers: tuple[tuple[str, str], ...]


Told = Whole | Streamed


def read_question(kind: Kind, data: bytes, *, author: bytes, cache_control: str, until_s: float) -> Question:
    """Raises InputError for what is no request of this kind."""
    if not data.strip():
        raise InputError("body: is empty", hint="a request as JSON, as OpenAI's API has it")
    try:
        body = _decode(data)
    except RecursionError as error:
        raise InputError("body: JSON is nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"body: {error}") from error
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MODEL_CHARACTERS_MAX:
        raise InputError("`model` must be the name of a model", hint="`GET /v1/models` lists those that are here")
    needed = "messages" if kind == "chat" else "prompt"
    if not body.get(needed):
        raise InputError(f"`{needed}` is missing or empty")
    if not isinstance(body[needed], list if kind == "chat" else list | str):
        wanted = "a list of messages" if kind == "chat" else "a text, a list of texts, or a list of token ids"
        raise InputError(f"`{needed}` is of type {type(body[needed]).__name__}, must be {wanted}")
    is_stream, options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(is_stream, bool) or not isinstance(options, dict):
        raise InputError("`stream` must be true or false, `stream_options` an object")
    has_usage = bool(options.get("include_usage"))
    return Question(kind, body, data, model, is_stream, has_usage, author, cache_control, until_s)
