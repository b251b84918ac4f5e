"""Long lists in parts."""

from littoral.errors import InputError

__all__ = ["COUNT_MAX", "DIGITS_MAX", "whole_number"]

COUNT_MAX = 1000
DIGITS_MAX = 15


def whole_number(text: str | None, default: int, what: str) -> int:
    """Raises InputError."""
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX):
        raise InputError(f"`{what}` is `{text[:40]}`, must be a whole number")
    return int(text)
