"""What a target makes of a recipe: files, and what is known of them before they run anywhere.

A plan is a pure function of recipe and options: the same ones give the same bytes.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from littoral.bundle.recipe import Recipe

__all__ = ["Finding", "Options", "Plan", "Target", "gzip_bytes"]


class Options(NamedTuple):
    """side_max: most pixels a picture may have on a side, none = as the target has it.

    size_bytes_max: own bound of the packed size, if any. sample: the input whose answer a bundle is held against,
    none = one that is part of the package.
    """

    start: Literal["lazy", "eager"] = "lazy"
    side_max: int | None = None
    size_bytes_max: int | None = None
    sample: bytes | None = None


class Finding(NamedTuple):
    """One figure beside a limit. is_bound: over it `--check` fails, else it is only told."""

    what: str
    value: int
    most: int
    unit: str
    is_bound: bool = True

    @property
    def is_kept(self) -> bool:
        return self.value <= self.most


class Plan(NamedTuple):
    """files: by path in the folder, `/` between its parts. facts: for the report, as JSON."""

    files: Mapping[str, bytes]
    findings: Sequence[Finding]
    facts: Mapping[str, Any] = {}


class Target(NamedTuple):
    """Somewhere a pipeline can run. about: for `--help`."""

    about: str
    plan: Callable[[Recipe, Options], Plan]


def gzip_bytes(data: bytes) -> int:
    """Length when packed, as platforms count it."""
    return len(gzip.compress(data, 9, mtime=0))
