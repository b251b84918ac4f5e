"""Changes of valid inputs, as somebody would make them who wants a parser to fall; a seed repeats them."""

import builtins
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Mutator"]

NUMBERS = (
    *("0", "-0", "-1", "1", "2", "3", "127", "128", "255", "256", "65536", "2147483647", "2147483648", "-2147483649"),
    *("4294967296", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("1e308", "-1e308", "1e999", "-1e999", "5e-324", "0.1", "3.0", "NaN", "Infinity", "-Infinity", "1e39", "9" * 400),
)
WORDS = ("null", "true", "false", '""', "[]", "{}", "[[]]", "[{}]", '{"":{}}', '"\\ud800"', '"\\u0000"', "[0]", '"x"')
BROKEN = ("", ",", "}", "]", "nul", '"', "'x'", "01", "+1", "//", "{1:2}", "\x00", '"\\x"', "\ufeff1")
TEXTS = (
    "",
    "x",
    "\0",
    "..",
    "../../etc/passwd",
    "%00",
    "a" * 300,
    "a" * 5000,
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "é\u0301",
    "\u202e",
    "{}",
    "{1}",
    "#",
    "+",
    "$SYS",
    "-1",
    "1",
    "null",
    " ",
    "\n",
    "A" * 70000,
)
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
DEPTHS = (5, 64, 200, 2000, 100_000)


class _Raw(str):
    """Written as it stands."""

    __slots__ = ()


class Mutator:
    """A source of changes. `rng` is its only chance."""

    def __init__(self, seed: object) -> None:
        self.rng = random.Random(repr(seed))

    def one(self, of: Any) -> Any:
        return self.rng.choice(of)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def text(self, text: str) -> str:
        """Another text, mostly near the old one."""
        rng = self.rng
        kind = rng.randrange(6)
        at = rng.randrange(len(text) + 1)
        if kind == 0:
            return str(rng.choice(TEXTS))
        if kind == 1:
            return text[:at]
        if kind == 2:
            return text[:at] + str(rng.choice(TEXTS))[:300] + text[at:]
        if kind == 3:
            return text * rng.choice((2, 3, 50))
        if kind == 4:
            return text[:at] + chr(rng.choice((0, 9, 10, 34, 47, 92, 127, 0xE9, 0x2028, 0x1F600))) + text[at + 1 :]
        return text[::-1]

    def bytes(self, data: bytes) -> bytes:
        """Up to four changes of bytes: flipped, cut, doubled, removed, put in, lengths written over."""
        found = bytearray(data)
        for _ in range(self.rng.randrange(1, 5)):
            self._bytes(found)
        return bytes(found[: 4 << 20])

    def _bytes(self, data: bytearray) -> None:
        rng = self.rng
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice((*INTERESTING, rng.randrange(256)))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 64)))
        elif kind == 5:
            data[at:at] = data[at : at + rng.randrange(1, 200)]
        elif kind == 6:
            size = rng.choice((2, 4, 8))
            data[at : at + size] = (
                rng.choice((0, 1, -1, 1 << 15, (1 << (8 * size - 1)) - 1)).to_bytes(
                    size, rng.choice(("little", "big")), signed=True
                )
                if size > 2
                else bytes(rng.choice(INTERESTING) for _ in range(2))
            )
        else:
            other = rng.randrange(len(data) + 1)
            data[at : at + 16] = data[other : other + 16]

    def json(self, value: Any) -> builtins.bytes:
        """JSON of a changed value: other types, numbers, depths, names; sometimes no JSON at all."""
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            value = self._changed(value)
        text = _written(value).encode("utf-8", "surrogatepass")
        return self.bytes(text) if self.chance(0.08) else text

    def _changed(self, value: Any) -> Any:
        """One change somewhere inside."""
        rng = self.rng
        places = list(_places(value))
        path = rng.choice(places)
        return _replaced(value, path, self._other)

    def _other(self, value: Any) -> Any:
        rng = self.rng
        if isinstance(value, dict) and value and self.chance(0.6):
            return self._other_dict(value)
        if isinstance(value, list) and value and self.chance(0.6):
            return self._other_list(value)
        if isinstance(value, str) and not isinstance(value, _Raw) and self.chance(0.6):
            return self.text(value)
        kind = rng.randrange(10)
        if kind < 4:
            return _Raw(rng.choice(NUMBERS))
        if kind < 7:
            return _Raw(rng.choice(WORDS))
        if kind == 7:
            return rng.choice(TEXTS)
        if kind == 8:
            depth = rng.choice(DEPTHS)
            return _Raw(rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth)))
        return _Raw(rng.choice(BROKEN)) if self.chance(0.3) else [value, value]

    def _other_dict(self, value: dict[str, Any]) -> Any:
        rng = self.rng
        key = rng.choice(list(value))
        kind = rng.randrange(5)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return {(self.text(key) if k == key else k): v for k, v in value.items()}
        if kind == 2:
            return value | {rng.choice(TEXTS)[:100]: value[key]}
        if kind == 3:
            pair = f"{json.dumps(key)}:{_written(value[key])}"
            return _Raw("{" + ",".join((pair, pair, _written(value)[1:])))
        other = rng.choice(list(value))
        return value | {key: value[other]}

    def _other_list(self, value: list[Any]) -> Any:
        rng = self.rng
        at = rng.randrange(len(value))
        kind = rng.randrange(5)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value[: at + 1] * rng.choice((2, 3, 70))
        if kind == 2:
            return [*value, value[at]]
        if kind == 3:
            return [value]
        return value[::-1]

    def query(self, fields: Mapping[str, str]) -> str:
        """A query string."""
        rng = self.rng
        known = dict(fields) or {rng.choice(("wait", "timeout", "limit", "timeout_ms", "credit", "cache")): "1"}
        if self.chance(0.5):
            key = rng.choice(list(known))
            known[key] = str(rng.choice((*NUMBERS, *WORDS, self.text(known[key]))))[:8000]
        joined = "&".join(f"{key}={_percent(value)}" for key, value in known.items())
        return self.text(joined)[:9000] if self.chance(0.2) else joined

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Values that are changed, and others that every route must bear."""
        rng = self.rng
        found = dict(headers)
        if found and self.chance(0.5):
            key = rng.choice(list(found))
            found[key] = _latin(self.text(found[key]))[:5000]
        if self.chance(0.7):
            key, values = rng.choice(list(HEADERS.items()))
            found[key] = rng.choice(values)
        return found


HEADERS = {
    "content-type": (
        *("", "application/json", "application/octet-stream", "multipart/form-data", "text/plain; x=" + "y" * 900),
        *("multipart/form-data; boundary=", 'multipart/form-data; boundary=""', "application/x-safetensors"),
    ),
    "content-encoding": ("gzip", "deflate", "br", "identity", "gzip, gzip", "x" * 300),
    "accept-encoding": ("gzip", "deflate", "br;q=0.1, gzip", "*"),
    "accept": ("application/x-safetensors", "text/html", "application/octet-stream", "*/*", ",,;;,"),
    "inference-header-content-length": ("0", "-1", "1", "10", "99999999999", "x", "1e3", "\xb2"),
    "traceparent": (
        *("00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
        *("ff-x", "", "00-" + "g" * 32),
    ),
    "tracestate": ("a=b", "=" * 600, ",,,", "a" * 2000),
    "x-request-id": ("", "x", "é", "a" * 2000),
    "origin": ("http://evil.example", "null", "http://node"),
    "timeout-ms": ("0", "-1", "1", "nan", "1e400"),
    "priority": ("0", "9", "-1", "x"),
    "range": ("bytes=0-", "bytes=9-1", "bytes=-0"),
    "host": ("", "evil.example", "a" * 500),
    "littoral-cache": ("off", "x", ""),
    "cache-control": ("no-cache", "no-store", "max-age=x"),
}


def _latin(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and ord(c) < 256)


def _percent(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="", errors="replace")


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:6]
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _replaced(value: Any, path: tuple[Any, ...], other: Callable[[Any], Any]) -> Any:
    if not path:
        return other(value)
    key, *rest = path
    if isinstance(value, dict):
        return {k: _replaced(v, tuple(rest), other) if k == key else v for k, v in value.items()}
    return [_replaced(v, tuple(rest), other) if i == key else v for i, v in enumerate(value)]


def _written(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(k))}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)
