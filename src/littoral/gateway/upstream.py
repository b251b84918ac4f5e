"""A service of language models as the gateway sees it, without a word of the library that carries it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple, Protocol

__all__ = ["Ask", "Reply", "Secret", "Service", "Upstream"]

HIDDEN = b"***"
KEY_CHARS_MIN = 16
VALUE_CHARS_MIN = 4


class Secret:
    """A key, which nothing that is printed, logged or written as JSON shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def shown(self) -> str:
        """For the one place that needs it: the head of a request to its service."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Upstream(NamedTuple):
    """url: up to `/v1`. models: patterns of the names that it is asked for (`*`, `?`). rename: what the service calls
    them, by the name that callers use. weight: of the requests that several could answer; 0 = only where no other can.

    connect_s, first_byte_s, whole_s: until the connection is there, the answer begins, and ends. idle_s: between two
    pieces of an answer. asks_usage: streams are asked to end with their count of tokens.
    """

    name: str
    url: str
    key: Secret | None = None
    models: tuple[str, ...] = ("*",)
    rename: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    weight: float = 1.0
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    idle_s: float = 60.0
    whole_s: float = 300.0
    requests_max: int = 64
    asks_usage: bool = True

    def takes(self, model: str) -> bool:
        """Whether it is asked for this model."""
        return model in self.rename or any(fnmatchcase(model, pattern) for pattern in self.models)

    def name_of(self, model: str) -> str:
        """What the service calls it."""
        return self.rename.get(model, model)

    def error_without_secrets(self, data: bytes) -> bytes:
        """An error of the service, as bytes, without its key and the values of `headers`."""
        values = (value for value in self.headers.values() if len(value) >= VALUE_CHARS_MIN)
        return _without(data, (*(() if self.key is None else (self.key.shown(),)), *values))

    def answer_without_key(self, data: bytes) -> bytes:
        """An answer of the service, as bytes. A short key stays: it may be a word of the answer."""
        key = "" if self.key is None else self.key.shown()
        return _without(data, (key,)) if len(key) >= KEY_CHARS_MIN else data


def _without(data: bytes, secrets: tuple[str, ...]) -> bytes:
    for needle in _needles(secrets):
        if needle in data:
            data = data.replace(needle, HIDDEN)
    return data


@lru_cache(64)
def _needles(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """As texts of JSON may hold them, the longest first."""
    quoted = [json.dumps(text)[1:-1] for text in secrets if text]
    ways = {*filter(None, secrets), *quoted, *(text.replace("/", r"\/") for text in quoted)}
    return tuple(sorted((way.encode() for way in ways), key=len, reverse=True))


class Ask(NamedTuple):
    """path: behind `/v1`, such as `/chat/completions`. body: JSON. whole_s: bounds all of it, beside the upstream's."""

    path: str
    body: bytes
    whole_s: float
    is_stream: bool = False
    method: str = "POST"


class Reply(Protocol):
    """An answer whose head is there. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]

    async def read(self, bytes_max: int) -> bytes:
        """All of it. Raises UpstreamError: more bytes, cut off, too late."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """As they come. Raises UpstreamError: cut off, too late."""
        ...


class Service(Protocol):
    """Who carries requests to services."""

    def ask(self, upstream: Upstream, ask: Ask) -> AbstractAsyncContextManager[Reply]:
        """The connection is free again when the block ends, or closed where the answer was not read to its end.

        Raises UpstreamError where no answer begins.
        """
        ...
