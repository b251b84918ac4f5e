"""Words of a guest, made safe for a message, a log or a terminal: one line, no control characters, not without end."""

__all__ = ["CHARACTERS_MAX", "printable"]

CHARACTERS_MAX = 300


def printable(words: str | bytes, characters_max: int = CHARACTERS_MAX) -> str:
    """UTF-8 where bytes; what cannot be printed becomes a space, what is too long ends in `…`."""
    text = words if isinstance(words, str) else words.decode("utf-8", "replace")
    is_cut = len(text) > characters_max
    shown = "".join(c if c.isprintable() else " " for c in text[:characters_max]).strip()
    return shown + "…" if is_cut else shown
