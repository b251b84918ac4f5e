"""What passes that fuse tell of it, for those who ask why two layers are not one."""

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Fusion", "Note", "silent"]


class Fusion(NamedTuple):
    """A node and the one before it, by label; what is fused goes by the label of `node`.

    refused: why they stay two; None where they became one.
    """

    node: str
    before: str
    refused: str | None = None

    def __str__(self) -> str:
        both = f"`{self.before}` and `{self.node}`"
        return f"{both} are one" if self.refused is None else f"{both} stay two: {self.refused}"


Note = Callable[[Fusion], None]


def silent(_fusion: Fusion) -> None:
    """Nobody asks."""
