"""Patterns and words of the site file that keep a cache away: searched in bounded time, whatever the text is.

Python's `re` goes back and tries again. So a pattern may only be written in a way whose work at one place can be
counted beforehand: characters, classes, groups, `|`, `?`, `{m,n}`; no `*`, no `+`, nothing that looks ahead or back or
names a group. The work of all patterns together, times the characters of a text, stays below `STEPS_MAX`: a longer
text is not searched, and therefore not told again.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from unicodedata import category, decimal, normalize

from littoral.errors import SettingError

__all__ = ["STEPS_MAX", "Markers", "folded", "words_of"]

STEPS_MAX = 4_000_000
"""Of the search in one text: some 40 ms on a small processor in the worst case, microseconds in usual ones."""
PATTERNS_MAX = 64
PATTERN_CHARS_MAX = 256
COST_MAX = 4096
REPEATS_MAX = 1024
DEPTH_MAX = 16
CLASSES = frozenset("dDwWsSbBnrt")
WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """As it is compared: compatibility forms made plain, lower case, without characters that do not show, the digits
    of any script as ours.
    """
    if text.isascii():
        return text.lower()
    plain = normalize("NFKC", text).casefold()
    return "".join(_shown(character) for character in plain)


def _shown(character: str) -> str:
    if character.isascii():
        return character
    kind = category(character)
    return "" if kind in ("Cf", "Cs") else str(decimal(character)) if kind == "Nd" else character


def words_of(text: str) -> list[str]:
    return WORD.findall(text)


class Cost(NamedTuple):
    """ways: in which a part can match at one place, at most. steps: of all of them together."""

    ways: int
    steps: int


class Markers:
    """patterns and words as they are searched. Raises SettingError if one is not of the form that is taken."""

    def __init__(self, patterns: Iterable[str], words: Iterable[str]) -> None:
        self._patterns = []
        self._steps = 0
        for number, pattern in enumerate(patterns, 1):
            if number > PATTERNS_MAX:
                raise SettingError(f"`private_markers`: more than {PATTERNS_MAX} patterns")
            self._steps += _Reader(pattern).cost().steps
            self._patterns.append(re.compile(pattern, re.IGNORECASE))
        self._phrases = frozenset(f" {' '.join(words_of(folded(word)))} " for word in words) - {"  "}

    @staticmethod
    @lru_cache(maxsize=64)
    def of(patterns: tuple[str, ...], words: tuple[str, ...]) -> "Markers":
        return Markers(patterns, words)

    @property
    def is_empty(self) -> bool:
        return not self._patterns and not self._phrases

    @property
    def chars_max(self) -> int:
        """Of a text that is searched."""
        return STEPS_MAX // max(self._steps, 1)

    def found(self, text: str, chars_max: int, where: str) -> str:
        """Why a folded text is private, or an empty string. Names the pattern by its number, never what it found."""
        if not self._patterns:
            return ""
        limit = min(chars_max, self.chars_max)
        if len(text) > limit:
            return f"the {where} is longer than the {limit:,} characters that are searched for private markers"
        for number, pattern in enumerate(self._patterns, 1):
            if pattern.search(text):
                return f"private marker {number} of the site file is in the {where}"
        return ""

    def spoken(self, question: str) -> str:
        """Why a folded question is for one person or one moment, or an empty string."""
        if not self._phrases:
            return ""
        line = f" {' '.join(words_of(question))} "
        found = sorted(phrase.strip() for phrase in self._phrases if phrase in line)
        return f"the site file's word `{found[0]}` is in the question" if found else ""


class _Reader:
    """Reads a pattern as `re` does, for what it costs."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > PATTERN_CHARS_MAX or not pattern:
            raise SettingError(
                f"`private_markers`: a pattern has {len(pattern)} characters, must be 1..{PATTERN_CHARS_MAX}"
            )
        self._pattern = pattern
        self._at = 0

    def cost(self) -> Cost:
        cost = self._choice(0)
        if self._at < len(self._pattern):
            raise self._wrong("a `)` without its `(`")
        try:
            re.compile(self._pattern)
        except re.error as error:
            raise self._wrong(str(error)) from error
        return cost

    def _wrong(self, why: str) -> SettingError:
        return SettingError(
            f"`private_markers`: `{self._pattern}` at {self._at}: {why}",
            hint="characters, classes, groups, `|`, `?` and `{m,n}`, such as `[0-9]{4}-[0-9]{4}` or `id: {0,3}[a-z]`",
        )

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _choice(self, depth: int) -> Cost:
        if depth > DEPTH_MAX:
            raise self._wrong(f"groups deeper than {DEPTH_MAX}")
        cost = self._row(depth)
        while self._peek() == "|":
            self._at += 1
            other = self._row(depth)
            cost = Cost(cost.ways + other.ways, cost.steps + other.steps)
        return self._bounded(cost)

    def _row(self, depth: int) -> Cost:
        cost = Cost(1, 1)
        while self._peek() not in ("", "|", ")"):
            part = self._repeated(self._part(depth))
            cost = self._bounded(Cost(cost.ways * part.ways, cost.steps + cost.ways * part.steps))
        return cost

    def _part(self, depth: int) -> Cost:
        character = self._peek()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        if character in "*+?{":
            raise self._wrong(f"`{character}` with nothing that it could repeat; write `\\{character}` for itself")
        self._at += 1
        return Cost(1, 1)

    def _group(self, depth: int) -> Cost:
        self._at += 3 if self._pattern.startswith("(?:", self._at) else 1
        if self._peek() == "?":
            raise self._wrong("groups that look ahead or back, or have a name, are not taken")
        cost = self._choice(depth + 1)
        if self._peek() != ")":
            raise self._wrong("a `(` without its `)`")
        self._at += 1
        return cost

    def _class(self) -> Cost:
        self._at += 2 if self._pattern.startswith("[^", self._at) else 1
        first = self._at
        while (character := self._peek()) and (character != "]" or self._at == first):
            self._at += 2 if character == "\\" else 1
        if not character:
            raise self._wrong("a `[` without its `]`")
        self._at += 1
        return Cost(1, 1)

    def _escape(self) -> Cost:
        character = self._pattern[self._at + 1 : self._at + 2]
        if not character or (character.isalnum() and character not in CLASSES):
            raise self._wrong(f"`\\{character}` is not taken")
        self._at += 2
        return Cost(1, 1)

    def _repeated(self, part: Cost) -> Cost:
        character = self._peek()
        if character not in ("?", "{", "*", "+"):
            return part
        if character in "*+":
            raise self._wrong(f"`{character}` has no end; say how many, as `{{1,64}}`")
        low, high = self._counts()
        if self._peek() in ("?", "+", "*", "{"):
            raise self._wrong(f"`{self._peek()}` behind a repetition is not taken")
        ways = steps = 0
        before = 1
        for count in range(high + 1):
            ways += before if count >= low else 0
            steps += before * part.steps if count < high else 0
            before *= part.ways
            self._bounded(Cost(ways, steps))
        return Cost(ways, max(steps, 1))

    def _counts(self) -> tuple[int, int]:
        if self._peek() == "?":
            self._at += 1
            return 0, 1
        found = re.compile(r"\{([0-9]{1,4})(?:,([0-9]{1,4}))?\}").match(self._pattern, self._at)
        if found is None:
            raise self._wrong("`{` must begin `{m}` or `{m,n}`; write `\\{` for itself")
        self._at = found.end()
        low, high = int(found[1]), int(found[2] or found[1])
        if not low <= high <= REPEATS_MAX:
            raise self._wrong(f"repeats {low} to {high} times, must be 0..{REPEATS_MAX}")
        return low, high

    def _bounded(self, cost: Cost) -> Cost:
        if cost.steps > COST_MAX or cost.ways > COST_MAX:
            raise self._wrong(f"may take more than {COST_MAX:,} steps at one place of a text")
        return cost
