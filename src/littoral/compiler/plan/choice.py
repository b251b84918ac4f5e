"""The forms that a kernel can take for one problem. No form changes a bit of the result but Winograd's filtering."""

from dataclasses import replace
from typing import Annotated

import msgspec

from littoral.compiler.kernels import Gemm

__all__ = ["RULE", "Choice", "tiled"]

SUMS_MAX = 64  # of a tile: twice what sixteen registers of four lanes hold beside the operands


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is not given is as the compiler's own rules have it.

    tile_rows, panel, unroll, budget_bytes: of `Gemm`. part_bytes: of a right side at once; a larger one is cut in its
    depth. winograd: whether a 3×3 window goes by Winograd's filtering where it can. group, by_columns: of `Depthwise`.
    """

    tile_rows: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4
    panel: Annotated[int, msgspec.Meta(ge=4, le=32, multiple_of=4)] = 8
    unroll: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
    budget_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1 << 20)] = 24576
    part_bytes: Annotated[int, msgspec.Meta(ge=1 << 14, le=1 << 30)] = 1 << 20
    winograd: bool | None = None
    group: Annotated[int, msgspec.Meta(ge=2, le=14)] = 7
    by_columns: bool | None = None

    def __post_init__(self) -> None:
        if self.tile_rows * self.panel > SUMS_MAX:
            raise ValueError(f"tile_rows × panel is {self.tile_rows * self.panel}, at most {SUMS_MAX}")

    def __str__(self) -> str:
        """What differs from the rules, for people."""
        given = msgspec.to_builtins(self)
        return ", ".join(f"{key} {value}" for key, value in given.items()) or "as the rules have it"


RULE = Choice()


def tiled(gemm: Gemm, choice: Choice) -> Gemm:
    """The same product in the chosen form."""
    return replace(
        gemm,
        tile_rows=choice.tile_rows,
        panel=choice.panel,
        unroll=choice.unroll,
        budget_bytes=choice.budget_bytes,
    )
