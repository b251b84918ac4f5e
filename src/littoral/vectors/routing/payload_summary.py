"""What the points of a shard have at one payload key: enough to say of a filter that none of them can pass it.

Everything that is there is in it, and more may be: what is ruled out is not there. Texts, integers and booleans are a
set of digests, or a Bloom filter where there are many; numbers and times lie between two ends. Bounded in bytes.

Every widening costs a write: others must know of it before the write is acknowledged. So ends that must move move far,
and a key with ever new words is given up until it is summed up anew.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from littoral.vectors.filters import Condition, Filter, Match, Range, clause
from littoral.vectors.records import FieldSchema, IndexInfo, Payload

__all__ = ["KEYS_MAX", "KeyValues", "keys_of", "may_match", "summed_up", "widened_by"]

KEYS_MAX = 16
DIGESTS_MAX = 512
BLOOM_BITS = 1 << 15
BLOOM_HASHES = 5
FILLED_MAX = 0.5
"""Of a Bloom filter's bits: beyond it says yes too often to be worth its bytes."""

WIDENED_MAX = 16
"""So many words more, and any may be there."""

NAMES_COUNT_MIN = 64
NAMES_SHARE = 0.5
"""Of so many points at least that have as many words as that, each has its own, and new ones will."""

KINDS: frozenset[FieldSchema] = frozenset({"keyword", "uuid", "integer", "float", "bool", "datetime"})
MEASURES: frozenset[FieldSchema] = frozenset({"float", "datetime"})
"""Of which hardly any value comes twice."""

NUMBER_SLACK = 1.0
"""An index of integers may round the ends of a range."""

TIME_SLACK_S = 1.0
PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")
UUID_LENGTHS = (32, 36, 38, 45)

Ends = tuple[float, float]
"""Lowest and highest; (∞, −∞) where there are none."""

NOWHERE: Ends = (math.inf, -math.inf)
ANYWHERE: Ends = (-math.inf, math.inf)

Kind = Literal["digests", "bloom", "any"]


class KeyValues(msgspec.Struct, frozen=True, array_like=True):
    """kind: of `words`: digests, four bytes each, ascending; the bits of a Bloom filter; or nothing, for anything may
    be there. numbers, times: their ends; times in seconds since 1970. widened: words that came since it was made.
    """

    kind: Kind = "digests"
    words: bytes = b""
    numbers: Ends = NOWHERE
    times: Ends = NOWHERE
    widened: int = 0

    def has(self, digest: int) -> bool:
        """Whether a value with this digest may be there."""
        match self.kind:
            case "digests":
                known = np.frombuffer(self.words, "<u4")
                at = int(np.searchsorted(known, digest))
                return at < len(known) and int(known[at]) == digest
            case "bloom":
                bits = np.frombuffer(self.words, np.uint8)
                places = _places(np.array([digest], np.uint32))
                return bool(((bits[places >> 3] >> (places & 7)) & 1).all())
        return True


ANYTHING = KeyValues("any", b"", ANYWHERE, ANYWHERE)


def keys_of(schema: Mapping[str, IndexInfo]) -> dict[str, FieldSchema]:
    """Of the indexes of a shard those keys that are summed up: plain ones, the first by name."""
    kinds = {key: index.data_type for key, index in sorted(schema.items())}
    found = [key for key, kind in kinds.items() if kind in KINDS and PLAIN_KEY.fullmatch(key)]
    return {key: kinds[key] for key in found[:KEYS_MAX]}


def summed_up(keys: Mapping[str, FieldSchema], payloads: Sequence[Payload | None]) -> dict[str, KeyValues]:
    """Of all points of a shard, by key."""
    return {key: _of_key(kind, [one[key] for one in payloads if one and key in one]) for key, kind in keys.items()}


def _of_key(kind: FieldSchema, found: Sequence[Any]) -> KeyValues:
    values = _elements(found)
    if values is None:
        return ANYTHING
    fresh = _digests(values) if kind not in MEASURES else set()
    is_any = kind in MEASURES or (len(values) >= NAMES_COUNT_MIN and len(fresh) > NAMES_SHARE * len(values))
    how, words = _with_digests("any" if is_any else "digests", b"", fresh)
    numbers, texts = _numbers_and_texts(values)
    return KeyValues(how, words, _around(NOWHERE, _ends(numbers)), _around(NOWHERE, _times(texts)))


def widened_by(known: Mapping[str, KeyValues], payloads: Sequence[Payload | None]) -> dict[str, KeyValues]:
    """With what was written since: where it says no more than before it is equal to `known`."""
    there = [payload for payload in payloads if payload]
    return {key: _with(values, [one[key] for one in there if key in one]) for key, values in known.items()}


def _with(known: KeyValues, found: Sequence[Any]) -> KeyValues:
    if not found:
        return known
    if (values := _elements(found)) is None:
        return ANYTHING
    fresh = {digest for digest in _digests(values) if not known.has(digest)}
    widened = known.widened + len(fresh)
    kind, words = _with_digests(known.kind, known.words, fresh) if widened <= WIDENED_MAX else ("any", b"")
    numbers, texts = _numbers_and_texts(values)
    return KeyValues(
        kind, words, _far_around(known.numbers, _ends(numbers)), _far_around(known.times, _times(texts)), widened
    )


def _elements(found: Sequence[Any]) -> list[Any] | None:
    """Of lists their elements; None for what has lists in lists."""
    values = [part for value in found for part in (value if isinstance(value, list) else [value])]
    return None if any(isinstance(value, list) for value in values) else values


def _digests(values: Iterable[object]) -> set[int]:
    return {digest for value in values if (digest := _digest(value)) is not None}


def _numbers_and_texts(values: Iterable[Any]) -> tuple[list[float], list[str]]:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return numbers, [value for value in values if isinstance(value, str)]


def _digest(value: object) -> int | None:
    """Equal for values that one index takes for equal; None for what no match finds."""
    match value:
        case bool():
            told = f"b{value}"
        case int():
            told = f"i{value}"
        case float():
            if not value.is_integer():
                return None
            told = f"i{int(value)}"
        case str():
            told = _canonical(value)
        case _:
            return None
    return int.from_bytes(hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")


def _canonical(text: str) -> str:
    """An index of UUIDs takes all spellings of one for the same."""
    if len(text) in UUID_LENGTHS:
        try:
            return f"u{UUID(text).hex}"
        except ValueError:
            pass
    return f"s{text}"


def _with_digests(kind: Kind, words: bytes, fresh: set[int]) -> tuple[Kind, bytes]:
    if not fresh or kind == "any":
        return kind, words
    digests = np.array(sorted(fresh), np.uint32)
    bits = np.zeros(BLOOM_BITS // 8, np.uint8)
    if kind == "digests":
        digests = np.union1d(np.frombuffer(words, "<u4"), digests).astype("<u4")
        if len(digests) <= DIGESTS_MAX:
            return "digests", digests.tobytes()
    else:
        bits = np.frombuffer(words, np.uint8).copy()
    places = _places(digests)
    np.bitwise_or.at(bits, places >> 3, (1 << (places & 7)).astype(np.uint8))
    if np.unpackbits(bits).mean() > FILLED_MAX:
        return "any", b""
    return "bloom", bits.tobytes()


def _places(digests: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Bits of a Bloom filter, by double hashing (Kirsch and Mitzenmacher, 2006)."""
    wide = digests.astype(np.int64)
    steps = (wide >> 15) | 1
    return ((wide[:, None] + np.arange(BLOOM_HASHES)[None] * steps[:, None]) % BLOOM_BITS).ravel()


def _ends(numbers: Sequence[float]) -> Ends:
    return (_float(min(numbers), -math.inf), _float(max(numbers), math.inf)) if numbers else NOWHERE


def _float(number: float, towards: float) -> float:
    """An integer that no float is equal to lies between two."""
    try:
        found = float(number)
    except OverflowError:
        return towards
    return found if found == number else math.nextafter(found, towards)


def _times(texts: Iterable[str]) -> Ends:
    """A text that is not plainly a time may be one for the store."""
    ends = NOWHERE
    for text in texts:
        if (at := _time(text)) is None:
            return ANYWHERE
        ends = _around(ends, (at, at))
    return ends


def _around(first: Ends, second: Ends) -> Ends:
    return min(first[0], second[0]), max(first[1], second[1])


def _far_around(known: Ends, fresh: Ends) -> Ends:
    """As far again on the side that has to move."""
    low, high = _around(known, fresh)
    if (low, high) == known or low > high:
        return known
    far = max(1.0, high - low)
    return (low - far if low < known[0] else low), (high + far if high > known[1] else high)


def _time(text: str) -> float | None:
    if TIME.fullmatch(text) is None:
        return None
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789")
    try:
        return datetime.fromisoformat(whole + zone).timestamp()
    except (ValueError, OverflowError):
        return None


def may_match(known: Mapping[str, KeyValues], matching: Filter | Condition) -> bool:
    """False where provably no point passes. A key that is not known says nothing."""
    if isinstance(matching, Condition) and matching.key is not None:
        values = known.get(matching.key)
        return values is None or _may_pass(values, matching)
    if not all(may_match(known, one) for one in clause(matching.must) or ()):
        return False
    if (some := clause(matching.should)) and not any(may_match(known, one) for one in some):
        return False
    if (least := matching.min_should) is not None:
        return sum(may_match(known, one) for one in least.conditions) >= least.min_count
    return True


def _may_pass(values: KeyValues, condition: Condition) -> bool:
    if condition.match is not None:
        return _may_be_equal(values, condition.match)
    if condition.range is not None:
        return _may_lie_within(values, condition.range)
    return True


def _may_be_equal(values: KeyValues, match: Match) -> bool:
    wanted: Sequence[object] = [match.value] if match.value is not None else match.any or ()
    digests = [_digest(one) for one in wanted]
    return not digests or any(digest is None or values.has(digest) for digest in digests)


def _may_lie_within(values: KeyValues, bounds: Range) -> bool:
    given = [bound for bound in (bounds.gt, bounds.gte, bounds.lt, bounds.lte) if bound is not None]
    if any(isinstance(bound, str) for bound in given):
        ends, slack = values.times, TIME_SLACK_S
    else:
        ends, slack = values.numbers, NUMBER_SLACK
    lows = [_bound(bound) for bound in (bounds.gt, bounds.gte) if bound is not None]
    highs = [_bound(bound) for bound in (bounds.lt, bounds.lte) if bound is not None]
    low = max((bound for bound in lows if bound is not None), default=-math.inf)
    high = min((bound for bound in highs if bound is not None), default=math.inf)
    return ends[0] <= ends[1] and ends[1] + slack >= low and ends[0] - slack <= high


def _bound(bound: float | str) -> float | None:
    """None where nothing is to be concluded from it."""
    return _time(bound) if isinstance(bound, str) else bound
