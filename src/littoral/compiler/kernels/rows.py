"""Where the rows of a matrix product's left side lie in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ["Rows", "Run", "runs_of"]


@dataclass(frozen=True)
class Rows:
    """Where the rows of the left side lie: a grid of `lines` × `columns` rows, and the pieces each row consists of.

    Row (y, x) starts at y · line_bytes + x · row_bytes from the source; its K values are the pieces one after the
    other, each (offset in bytes, count of values).
    """

    lines: int
    columns: int
    line_bytes: int
    row_bytes: int
    pieces: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        return self.lines * self.columns

    @property
    def depth(self) -> int:
        return sum(count for _, count in self.pieces)

    def part(self, start: int, end: int) -> "Rows":
        """The rows' values from `start` to `end`."""
        pieces, at = [], 0
        for offset, count in self.pieces:
            first, past = max(start - at, 0), min(end - at, count)
            if first < past:
                pieces.append((offset + 4 * first, past - first))
            at += count
        return replace(self, pieces=tuple(pieces))

    def flat(self) -> "Rows":
        """The same rows on one line, where lines follow each other without a gap."""
        if self.lines > 1 and self.line_bytes == self.columns * self.row_bytes:
            return Rows(1, self.count, 0, self.row_bytes, self.pieces)
        return self


class Run(NamedTuple):
    """`times` pieces of `length` values, the first at `offset`, `step_bytes` apart."""

    offset: int
    length: int
    times: int
    step_bytes: int


def runs_of(pieces: Sequence[tuple[int, int]]) -> list[Run]:
    """The pieces, those of one size and one distance taken together."""
    runs: list[Run] = []
    for offset, length in pieces:
        last = runs[-1] if runs else None
        step = 0 if last is None else offset - last.offset - (last.times - 1) * last.step_bytes
        if last is not None and last.length == length and last.times == 1:
            runs[-1] = last._replace(times=2, step_bytes=step)
        elif last is not None and last.length == length and step == last.step_bytes:
            runs[-1] = last._replace(times=last.times + 1)
        else:
            runs.append(Run(offset, length, 1, 0))
    return runs
