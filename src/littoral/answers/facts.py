"""What two questions may not differ in, whatever their embeddings say: a check that only ever refuses.

An embedding is a summary. It hardly sees a `not`, a digit or a name, it sees nothing behind the end of its window, and
somebody who looks for texts with one embedding finds them (key collisions, arXiv 2601.23088). So before an answer is
told to a similar question, both are compared by words, in time linear in their lengths.
"""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple
from unicodedata import category, normalize

from littoral.answers.fact_words import (
    AUXILIARIES,
    CONNECTORS,
    NEGATIONS,
    NUMERALS,
    OPPOSITES,
    PREFIXES,
    ROWS,
    UNITS,
)
from littoral.answers.markers import folded
from littoral.answers.scripts import alphabet

__all__ = ["CHECKS", "commands", "differs", "negations_of", "numbers_of"]

NUMBER = re.compile(r"[0-9][0-9.,:/]{0,30}")
COUNTED = re.compile(r"(?:(?<![\w.,:/)-])[-−])?[0-9][0-9.,:/]{0,30}|[^\W\d_]+")
MEASURED = re.compile(r"[0-9]\s{0,2}(°?[^\W\d_]{1,20})")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[^\W_]")
NAME = re.compile(r"(?<=[^\s.?!:\"'“‘(]\s)(?!I\b)[^\W\d_a-z][^\W_]*")
SIGNS = re.compile(r"[<>=!]=|[<>=+*%^|~]|(?<!\S)--?[a-z][\w-]{0,40}")
SIGNED = re.compile(r"\b[a-z](?:\+\+|#)|\.net\b")
PLACE = re.compile(
    r"(?:https?://|www\.)[^\s]{1,200}|[\w.-]{1,64}@[\w.-]{1,64}|\b[\w-]{1,63}\.(?:com|org|net|io|dev|info|biz|ru|cn|xyz|top)\b"
)
RATIO_MAX = 2.0
SLACK_WORDS = 4
SLACK_CHARS = 60
STEM_CHARS = 3
PREFIXED_CHARS = 4

ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}"
    r"\b(?:above|previous|earlier|prior|instructions?|rules|prompt)\b"
    r"|\b(?:answer|reply|respond|say|output|print|repeat|write)\b.{0,20}"
    r"\b(?:only|exactly|with|verbatim|nothing but|always)\b"
    r"|\bsystem prompt\b|\byou are now\b|\bpretend (?:to be|that|you)\b|\bfrom now on\b|\binstead of answering\b"
)
"""What tells a model how to answer, rather than asks it something."""

COMMANDS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:above|previous|earlier|prior|instructions?|prompt)\b"
    r"|\bsystem prompt\b|\byou are now\b|\bfrom now on\b"
)


class Read(NamedTuple):
    """A question as it is compared. line: folded. words: in their order; plain: without what an apostrophe ends."""

    text: str
    line: str
    words: list[str]
    plain: frozenset[str]


def differs(asked: str, cached: str, *, scripts: frozenset[str] = frozenset({"LATIN"})) -> str:
    """Why these may not have one answer, or an empty string. scripts: alphabets that the embedder knows."""
    if asked == cached:
        return ""
    one, other = _read(asked), _read(cached)
    for name, check in CHECKS.items():
        if check(one, other):
            return f"{name} of the two questions differ"
    if _strange(one, scripts) != _strange(other, scripts):
        return "characters that the embedder does not know differ"
    return ""


def numbers_of(text: str) -> list[str]:
    """The numbers of a text, each once, in one way of writing."""
    return _numbers(_read(text))


def negations_of(text: str) -> bool:
    """Whether it holds a word such as `not`."""
    return _negations(_read(text))


def commands(text: str) -> bool:
    """Whether it tells a model what to forget or to be."""
    return bool(COMMANDS.search(folded(text)))


def _read(text: str) -> Read:
    line = folded(text).replace("’", "'")
    words = WORD.findall(line)
    return Read(text, line, words, frozenset(map(_stem, words)))


def _counted(read: Read) -> list[str]:
    """Numbers and numerals in their order, each once."""
    found = COUNTED.findall(read.line)
    numbers = [_number(one) for one in found if one in NUMERALS or one in CONNECTORS or not one.isalpha()]
    return list(dict.fromkeys(one for one in _swapped(numbers) if one not in CONNECTORS))


def _number(text: str) -> str:
    if text.isalpha():
        return NUMERALS.get(text, text)
    sign = "-" if text[0] in "-−" else ""
    return sign + _plain_number(text[len(sign) :])


def _numbers(read: Read) -> list[str]:
    digits = (_plain_number(found) for found in NUMBER.findall(read.line))
    return sorted({*digits, *(NUMERALS[word] for word in read.words if word in NUMERALS)})


def _plain_number(text: str) -> str:
    text = text.rstrip(".,:/")
    grouped = re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3}){1,8}(\.[0-9]{1,12})?", text)
    text = text.replace(",", "") if grouped else text
    whole, point, rest = text.partition(".")
    if rest.isdigit():
        rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (point + rest if rest else "")


def _negations(read: Read) -> bool:
    return any(word in NEGATIONS or word.endswith("n't") or word.startswith("n'") for word in read.words)


def _opposites(one: Read, other: Read) -> bool:
    a, b = one.plain, other.plain
    only_a, only_b = a - b, b - a
    if any((only_a & left and only_b & right) or (only_a & right and only_b & left) for left, right in OPPOSITES):
        return True
    return _prefixed(only_a, only_b) or _prefixed(only_b, only_a)


def _prefixed(some: frozenset[str], others: frozenset[str]) -> bool:
    return any(prefix + word in others for word in some if len(word) >= PREFIXED_CHARS for prefix in PREFIXES)


def _rows(one: Read, other: Read) -> bool:
    return any(_apart(row, one.plain, other.plain) for row in ROWS)


def _units(one: Read, other: Read) -> bool:
    a, b = (frozenset(MEASURED.findall(read.line)) for read in (one, other))
    return bool(a and b) and any(_apart(row, a, b) for row in UNITS)


def _apart(row: Mapping[str, int], some: frozenset[str], others: frozenset[str]) -> bool:
    a, b = ({row[word] for word in words if word in row} for words in (some, others))
    return bool(a and b) and a != b


def _accents(one: Read, other: Read) -> bool:
    """`pêche` and `péché`, which many an embedder reads alike. Whoever writes no accents at all means any."""
    if one.line.isascii() or other.line.isascii():
        return False
    a, b = ({_bare(word) for word in words} for words in (one.plain - other.plain, other.plain - one.plain))
    return not a.isdisjoint(b)


def _bare(word: str) -> str:
    return "".join(character for character in normalize("NFD", word) if category(character) != "Mn")


def _sequences(one: Read, other: Read) -> bool:
    """The same words, or the same names, in another order: who owes whom."""
    a, b = map(_said, (one, other))
    if sorted(a) == sorted(b):
        return _swapped(a) != _swapped(b)
    names = _inside(one) | _inside(other)
    a, b = (_swapped([w for w in map(_stem, read.words) if w in names or w in CONNECTORS]) for read in (one, other))
    a, b = ([w for w in words if w not in CONNECTORS] for words in (a, b))
    return a != b and sorted(a) == sorted(b)


def _said(read: Read) -> list[str]:
    """Words whose place counts; an `a` where it is no article."""
    pairs = pairwise([*read.words, ""])
    return [word for word, after in pairs if word not in AUXILIARIES and not (word == "a" and len(after) > 1)]


def _inside(read: Read) -> frozenset[str]:
    """Words with a capital that does not begin a sentence."""
    return frozenset(folded(_stem(found)) for found in NAME.findall(read.text)) - AUXILIARIES


def _swapped(words: list[str]) -> list[str]:
    """With what stands around an `and` in one order."""
    found = list(words)
    for at in range(1, len(found) - 1):
        if found[at] in CONNECTORS and found[at - 1] > found[at + 1]:
            found[at - 1], found[at + 1] = found[at + 1], found[at - 1]
    return found


def _stem(word: str) -> str:
    return word.partition("'")[0]


def _names(one: Read, other: Read) -> bool:
    """A word with a capital inside a sentence that the other does not have at all, in both."""
    return all(any(not _is_among(name, b.words) for name in _capitals(a)) for a, b in ((one, other), (other, one)))


def _is_among(name: str, words: list[str]) -> bool:
    """With endings: `India` is among the words of `an Indian hacker`."""
    return any(
        w == name or (len(name) > STEM_CHARS and len(w) > STEM_CHARS and (w.startswith(name) or name.startswith(w)))
        for w in words
    )


def _capitals(read: Read) -> frozenset[str]:
    words = WORD.findall(read.text)
    return frozenset(
        folded(word.partition("'")[0]) for word in words[1:] if word[0].isupper() and word[:2] not in ("I", "I'")
    )


def _lengths(one: Read, other: Read) -> bool:
    words, characters = (sorted(map(len, pair)) for pair in ((one.words, other.words), (one.line, other.line)))
    return words[1] > words[0] * RATIO_MAX + SLACK_WORDS or characters[1] > characters[0] * RATIO_MAX + SLACK_CHARS


def _strange(read: Read, scripts: frozenset[str]) -> list[str]:
    """What is no letter of a known alphabet, no digit and no punctuation: pictures, signs, other alphabets' letters."""
    if read.line.isascii():
        return sorted(c for c in read.line if c == "$")
    return sorted(
        c
        for c in read.line
        if (category(c)[0] == "L" and alphabet(c) not in scripts and not c.isascii()) or category(c)[0] == "S"
        if c not in "`^~|<=>+"
    )


def _codes(read: Read) -> frozenset[str]:
    """`b2b`, `h264`, `c++`: words of letters and digits, and names with signs."""
    mixed = (word for word in read.words if not word.isalpha() and any(map(str.isalpha, word)) and "'" not in word)
    return frozenset([*mixed, *SIGNED.findall(read.line)])


def _unlike(of: Callable[[Read], object]) -> Callable[[Read, Read], bool]:
    return lambda one, other: of(one) != of(other)


def _found(pattern: re.Pattern[str]) -> Callable[[Read], object]:
    return lambda read: frozenset(pattern.findall(read.line))


CHECKS: dict[str, Callable[[Read, Read], bool]] = {
    "numbers": _unlike(_counted),
    "negations": _unlike(_negations),
    "names": _names,
    "opposites": _opposites,
    "addresses": _unlike(_found(PLACE)),
    "codes": _unlike(_codes),
    "orders": _unlike(_found(ORDERS)),
    "units": _units,
    "days, months or ranks": _rows,
    "signs": _unlike(_found(SIGNS)),
    "sequences": _sequences,
    "accents": _accents,
    "lengths": _lengths,
}
