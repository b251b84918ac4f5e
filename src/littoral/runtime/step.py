"""What a pipeline is made of: a `Step` is configured, a `Stage` is a step bound to what it is given.

Other parts bring steps of their own (a search, say): anything with `name`, `takes` and `bind` is one.
"""

from typing import Any, Protocol

import msgspec

from littoral.runtime.edges import EdgeType, Value

__all__ = ["How", "Stage", "Step"]


class How(msgspec.Struct, kw_only=True):
    """How an answer was made. stages: milliseconds by step, in order. search: what a search step says of itself.
    placement: of each step that might have run on another node.
    """

    node: str = ""
    stages: dict[str, float] = {}
    cache: str | None = None
    search: dict[str, Any] | None = None
    placement: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class Stage(Protocol):
    """A step that knows what it will be given. `gives` is the type of what comes out."""

    @property
    def gives(self) -> EdgeType: ...

    async def run(self, value: Value, how: How, /) -> Value:
        """The value of the next edge. Raises RequestError for a value it does not take, NodeError where it fails."""


class Step(Protocol):
    """`name` is its key in `How.stages` and in messages; `takes` is what it wants, as the type of a first input."""

    @property
    def name(self) -> str: ...

    @property
    def takes(self) -> EdgeType: ...

    def bind(self, given: EdgeType) -> Stage:
        """The stage for values of type `given`. Raises SettingError `takes …` where they do not fit."""
