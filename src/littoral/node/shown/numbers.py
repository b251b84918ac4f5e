"""Whole numbers in the query of a request."""

from collections.abc import Mapping

from littoral.errors import InputError

__all__ = ["number"]


def number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Raises InputError for what is no whole number up to `most`."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= most):
        raise InputError(f"parameter `{name}` is `{text[:40]}`, must be 0..{most}")
    return int(text)
