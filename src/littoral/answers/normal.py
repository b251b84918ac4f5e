"""The text of an answer, and its normal form: what is the same but for how it is written."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from littoral.answers.markers import folded

__all__ = ["json_value", "normal", "text_of", "verdict_of"]

FENCE = re.compile(r"```[a-z0-9]{0,20}\n?")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
WORD = re.compile(r"(?<!\w)[-−][0-9]+(?:[.,][0-9]+)*|[0-9]+(?:[.,][0-9]+)*|[^\W\d_]+|[^\w\s]")
PUNCTUATION = frozenset(".,;:!?\"'`*_#()[]{}…“”‘’«»–—-")
YES, NO = (
    frozenset(["yes", "ja", "oui", "sí", "sì", "sim", "true"]),
    frozenset(["no", "nein", "non", "nee", "não", "false"]),
)
DIGITS_MAX = 300


def text_of(answer: bytes) -> str | None:
    """Of the body of an answer that was not streamed. None where it is not one whole text: several choices, calls of
    tools, a refusal, cut by a limit or a filter, or no answer at all.
    """
    try:
        body = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return None
    choices = body.get("choices") if isinstance(body, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        return None
    choice = choices[0]
    if choice.get("finish_reason") not in ("stop", None):
        return None
    message = choice.get("message")
    if isinstance(message, Mapping):
        is_more = any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))
        text = None if is_more else message.get("content")
    else:
        text = choice.get("text")
    return text if isinstance(text, str) and text.strip() else None


def json_value(text: str) -> Any:
    """What a text says as JSON, also where it stands in a fence; None where it is no object or list."""
    try:
        value = msgspec.json.decode(FENCE.sub("", text).strip())
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def normal(text: str) -> str:
    """Lower case, one space between words, no punctuation, numbers as numbers."""
    return " ".join(_plain(word) for word in WORD.findall(folded(text)) if word not in PUNCTUATION)


def verdict_of(text: str) -> str:
    """`yes` or `no` where an answer begins with one, else an empty string."""
    first = normal(text[:40]).partition(" ")[0]
    return "yes" if first in YES else "no" if first in NO else ""


def _plain(word: str) -> str:
    sign = "-" if word[0] in "-−" and len(word) > 1 else ""
    word = word[len(sign) :]
    if len(word) > DIGITS_MAX or not NUMBER.fullmatch(word):
        return sign + word
    whole, _, rest = word.replace(",", "").partition(".")
    rest = rest.rstrip("0")
    return f"{sign}{whole.lstrip('0') or '0'}{'.' if rest else ''}{rest}"
