"""What a caller says of remembered answers: `cache-control` of its request (RFC 9111, 5.2.1; RFC 5861, 4)."""

from functools import lru_cache
from typing import NamedTuple

__all__ = ["Control", "control_of"]

KNOWN_MAX = 256
CHARACTERS_MAX = 512


class Control(NamedTuple):
    """find: a remembered answer may be told. keep: the answer may be remembered. only_cached: no upstream is asked.

    age_max_s: of a remembered answer. stale_s: how long after its time it may be told where no upstream answers; None:
    as the site file says.
    """

    find: bool = True
    keep: bool = True
    only_cached: bool = False
    age_max_s: float | None = None
    stale_s: float | None = None

    def takes_age(self, age_s: float) -> bool:
        return self.age_max_s is None or age_s <= self.age_max_s


@lru_cache(KNOWN_MAX)
def control_of(text: str) -> Control:
    """What is malformed or unknown counts as absent, as RFC 9111 has it; the stricter of two that contradict counts."""
    words = dict(_words(text[:CHARACTERS_MAX]))
    no_store = "no-store" in words
    age_max_s = _seconds(words.get("max-age"))
    return Control(
        find=not no_store and "no-cache" not in words and age_max_s != 0,
        keep=not no_store,
        only_cached="only-if-cached" in words,
        age_max_s=age_max_s,
        stale_s=_seconds(words.get("stale-if-error")),
    )


def _words(text: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.lower().split(",")]
    return [(name.strip(), value.strip().strip('"')) for name, _, value in parts]


def _seconds(text: str | None) -> float | None:
    return float(text[:10]) if text and text.isascii() and text.isdigit() else None
