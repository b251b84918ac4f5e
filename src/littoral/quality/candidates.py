"""The forms of a kernel that are worth timing for a problem, those with less code first."""

import msgspec

from littoral.compiler.plan.choice import Choice
from littoral.compiler.plan.problem import Problem

__all__ = ["GAIN_MIN", "STAGES", "Stage", "gain_min"]

GAIN_MIN = 1.03
WINOGRAD_GAIN_MIN = 1.1  # its weights take four times the room
PARTS_GAIN_MIN = 1.06  # each part is a function of its own
WINOGRAD_BYTES_MAX = 4 << 20  # of weights, where it would be taken against the rules
_TILES = ((4, 8, 4), (2, 16, 4), (2, 16, 8), (3, 12, 2))
_GROUPS = ((6, True), (5, True), (7, True), (4, True), (6, False), (5, False))
_BUDGETS = (12 << 10, 40 << 10)
_PARTS = (1 << 18, 1 << 19, 1 << 21)
_PART_FACTOR = 1.5  # a right side is cut in parts of at least that much


def gain_min(old: Choice, new: Choice) -> float:
    """How many times as fast a form must be to take the place of another."""
    if old.winograd != new.winograd:
        return WINOGRAD_GAIN_MIN
    return GAIN_MIN if old.part_bytes == new.part_bytes else PARTS_GAIN_MIN


class Stage(msgspec.Struct, frozen=True):
    """A step of the search. name: for people; tiles or the rest: what is varied, beginning with the best so far."""

    name: str
    is_first: bool

    def candidates(self, problem: Problem, best: Choice) -> list[Choice]:
        if problem.kind == "depthwise":
            return _groups(problem, best) if self.is_first else []
        return _tiles(best) if self.is_first else [*_methods(problem, best), *_blocks(problem, best)]


STAGES = (Stage("tiles", is_first=True), Stage("blocks", is_first=False))


def _groups(problem: Problem, best: Choice) -> list[Choice]:
    groups = [_with(best, group=group, by_columns=by_columns) for group, by_columns in _GROUPS]
    return [g for g in groups if g.group <= max(problem.line, 4)]


def _tiles(best: Choice) -> list[Choice]:
    return [_with(best, tile_rows=rows, panel=panel, unroll=unroll) for rows, panel, unroll in _TILES]


def _methods(problem: Problem, best: Choice) -> list[Choice]:
    """A direct convolution, and Winograd's filtering; one of the two is in force already."""
    if problem.kind != "window 3x3":
        return []
    planes_bytes = 16 * problem.depth * problem.width
    return [_with(best, winograd=w) for w in (False, True) if not w or planes_bytes <= WINOGRAD_BYTES_MAX]


def _blocks(problem: Problem, best: Choice) -> list[Choice]:
    found = [_with(best, budget_bytes=size) for size in _BUDGETS]
    if problem.kind != "batched":
        right_bytes = 4 * problem.depth * problem.width
        found += [_with(best, part_bytes=size) for size in _PARTS if right_bytes > _PART_FACTOR * size]
    return found


def _with(choice: Choice, **changes: object) -> Choice:
    return msgspec.structs.replace(choice, **changes)
