"""What two questions may not differ in, whatever their embeddings say: a check that only ever refuses.

An embedding is a summary. It hardly sees a `not`, a digit or a name, it sees nothing behind the end of its window, and
somebody who looks for texts with one embedding finds them (key collisions, arXiv 2601.23088). So before an answer is
told to a similar question, both are compared by words, in time linear in their lengths.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from unicodedata import category

from littoral.answers.markers import folded
from littoral.answers.scripts import alphabet

__all__ = ["CHECKS", "commands", "differs", "negations_of", "numbers_of"]

NUMBER = re.compile(r"[0-9][0-9.,:/]{0,30}")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[^\W_]")
SIGNED = re.compile(r"\b[a-z](?:\+\+|#)|\.net\b")
PLACE = re.compile(
    r"(?:https?://|www\.)[^\s]{1,200}|[\w.-]{1,64}@[\w.-]{1,64}|\b[\w-]{1,63}\.(?:com|org|net|io|dev|info|biz|ru|cn|xyz|top)\b"
)
RATIO_MAX = 2.0
SLACK_WORDS = 4
SLACK_CHARS = 60
STEM_CHARS = 3

NUMERAL_WORDS = (
    "zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
"""`one` is mostly a pronoun."""
NUMERALS = dict(zip(NUMERAL_WORDS.split(), map(str, [0, *range(2, 21)]), strict=True))

NEGATION_WORDS = (
    "not no never none nobody nothing without cannot neither nor nicht kein keine nie ohne pas jamais sans sin nunca "
    "senza mai não sem niet geen nooit zonder"
)
NEGATIONS = frozenset(NEGATION_WORDS.split())

OPPOSITES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        (
            "increase increases increased increasing raise raised raising gain",
            "decrease decreases decreased decreasing lower lowered lowering reduce reduced reducing",
        ),
        ("before", "after"),
        ("maximum max most highest largest biggest", "minimum min least lowest smallest"),
        ("best good better", "worst bad worse"),
        ("buy bought buying purchase", "sell sold selling"),
        (
            "enable enables enabled enabling activate activated unlock unlocked",
            "disable disables disabled disabling deactivate deactivated lock locked",
        ),
        ("start started starting open opened opening", "stop stopped stopping close closed closing"),
        (
            "install installed installing add added adding",
            "uninstall uninstalled remove removed removing delete deleted deleting",
        ),
        ("allow allowed legal permit", "forbid forbidden illegal ban banned prohibit"),
        ("advantages advantage pros benefits benefit", "disadvantages disadvantage cons drawbacks drawback"),
        ("male man men boy boys husband father", "female woman women girl girls wife mother"),
        ("import imported importing input", "export exported exporting output"),
        ("encrypt encrypted encode encoded", "decrypt decrypted decode decoded"),
        ("hot warm summer", "cold cool winter"),
        ("left", "right"),
        ("true correct", "false wrong incorrect"),
        ("safe", "unsafe dangerous"),
        ("upload uploaded uploading send sent", "download downloaded downloading receive received"),
        ("hire", "fire"),
        ("north northern", "south southern"),
        ("east eastern", "west western"),
        ("first", "last"),
        ("love", "hate"),
        ("inside above", "outside below"),
    )
)

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
    """A question as it is compared. line: folded. words: in their order."""

    text: str
    line: str
    words: list[str]


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
    return Read(text, line, WORD.findall(line))


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
    return any(word in NEGATIONS or word.endswith("n't") for word in read.words)


def _opposites(one: Read, other: Read) -> bool:
    a, b = frozenset(one.words), frozenset(other.words)
    only_a, only_b = a - b, b - a
    return any((only_a & left and only_b & right) or (only_a & right and only_b & left) for left, right in OPPOSITES)


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
    "numbers": _unlike(_numbers),
    "negations": _unlike(_negations),
    "names": _names,
    "opposites": _opposites,
    "addresses": _unlike(_found(PLACE)),
    "codes": _unlike(_codes),
    "orders": _unlike(_found(ORDERS)),
    "lengths": _lengths,
}
