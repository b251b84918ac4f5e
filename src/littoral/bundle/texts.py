"""Texts beside the code of a bundle: configurations, guides, examples, filled in from files of this package."""

from importlib import resources
from string import Template

__all__ = ["COMPATIBILITY_DATE", "bindings_text", "filled"]

COMPATIBILITY_DATE = "2026-01-01"  # of the workers platform: what its functions mean


def filled(name: str, **values: object) -> bytes:
    """A file of `texts/` with its `$name`s replaced. Raises KeyError for one that has no value."""
    text = (resources.files("littoral.bundle") / "texts" / name).read_text(encoding="utf-8")
    return Template(text).substitute(values, date=COMPATIBILITY_DATE).encode()


def bindings_text(side_max: int) -> str:
    """The table of bindings. side_max: pixels on a side, unless a binding says another."""
    return filled("bindings.md", side_max=side_max).decode().rstrip("\n")
