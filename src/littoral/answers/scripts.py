"""Texts that show something else than they hold: invisible characters, letters of two alphabets in one word.

An embedder drops or does not know such characters, so two texts may look alike to it and ask for different things, or
look alike to people and not to it. They are answered again to the same text only.
"""

import re
from unicodedata import category, name, normalize

__all__ = ["alphabet", "hides"]

JOINERS = frozenset("\u200c\u200d")
"""Between letters of scripts that need them, and in pictures made of several."""
ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
WORD = re.compile(r"[^\W\d_]+")
MARKS_MAX = 4
"""Combining marks on one letter: Vietnamese and Hebrew need three."""


def alphabet(letter: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN; empty where it has none."""
    return name(letter, "").partition(" ")[0]


def hides(text: str) -> str:
    """Why what a text holds is not what it shows, or an empty string. Looks at each character once."""
    if text.isascii():
        return "" if text.isprintable() or not _controls(text) else "characters in the question that do not show"
    marks = 0
    for before, character, after in zip("\0" + text, text, text[1:] + "\0", strict=False):
        kind = category(character)
        if kind in ("Cs", "Cn", "Co") or (kind == "Cc" and character not in "\t\n\r"):
            return "characters in the question that do not show"
        if kind == "Cf" and not (character in JOINERS and not before.isascii() and not after.isascii()):
            return "characters in the question that do not show"
        marks = marks + 1 if kind == "Mn" else 0
        if marks > MARKS_MAX:
            return "more marks on a letter of the question than any script has"
    for word in WORD.findall(text):
        if word.isascii():
            continue
        if len({alphabet(letter) for letter in word} & ALIKE) > 1:
            return "letters of two alphabets in one word of the question"
        if normalize("NFKC", word) != word and any(letter.isascii() for letter in normalize("NFKC", word)):
            return "letters of the question that only look like others"
    return ""


def _controls(text: str) -> bool:
    return any((character < " " and character not in "\t\n\r") or character == "\x7f" for character in text)
