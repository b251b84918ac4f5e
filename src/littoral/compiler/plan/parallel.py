"""Steps divided among threads: each thread does a part of each step, and all meet where one needs what another made.

A step is divided along the loops around its kernel, or along one of the kernel's own cuts, whichever leaves the least
to the thread that has most. Steps too short to be worth a meeting stay with thread 0. Sums are never divided, so the
bits are those of one thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

from littoral.compiler.kernels import Piece
from littoral.compiler.plan.program import Program
from littoral.compiler.plan.steps import Argument, Part, Repeated, Ring, Scratch, Step, Zeros

__all__ = ["divide"]

PART_NS_MIN = 1500  # a meeting takes about as long, and what a thread reads may lie in the other's cache
GAIN_MIN = 1.15


def divide(program: Program, threads: int) -> None:
    """Gives the program's steps their parts."""
    for call in program.calls():
        steps = call.lowered.steps
        if any(step.within for step in steps):
            call.lowered.steps = _ring_divided(steps, threads)
        else:
            call.lowered.steps = _with_scratch_apart([_divided(step, threads) for step in steps])


def _divided(step: Step, threads: int) -> Step:
    whole_ns = _time_ns(step)
    threads = min(threads, whole_ns // PART_NS_MIN)
    if threads < 2:
        return step
    ways = [parts for parts in _ways(step, threads) if parts]
    best = min(ways, key=_longest_ns, default=())
    if not best or whole_ns < GAIN_MIN * _longest_ns(best):
        return step
    return replace(step, parts=tuple(best))


def _ring_divided(steps: Sequence[Step], threads: int) -> list[Step]:
    """Steps inside a ring are divided by its runs: a thread does its runs of all of them, in scratch of its own."""
    ring = steps[0].within[0][0] if steps[0].within else None
    if ring is None or any(not step.within or step.within[0][0] is not ring for step in steps):
        return list(steps)
    spans = _spans(ring.times, min(threads, sum(map(_time_ns, steps)) // PART_NS_MIN))
    parts: list[list[Step]] = [[] for _ in steps]
    for start, stop in spans:
        own, scratch = Ring(stop - start), dict[Scratch, Scratch]()
        for step, found in zip(steps, parts, strict=True):
            found.append(_some_runs(step, own, start, scratch))
    return [replace(step, parts=tuple(found)) for step, found in zip(steps, parts, strict=True)]


def _some_runs(step: Step, ring: Ring, start: int, scratch: dict[Scratch, Scratch]) -> Step:
    (_, moves_bytes), *inner = step.within
    moved = (_at(a, start * move) for a, move in zip(step.arguments, moves_bytes, strict=True))
    arguments = tuple(_apart(a, scratch) for a in moved)
    return replace(step, within=((ring, moves_bytes), *inner), arguments=arguments)


def _apart(argument: Argument, scratch: dict[Scratch, Scratch]) -> Argument:
    """The same place in scratch of a thread's own."""
    if isinstance(argument, Part):
        of = argument.of
        return Part(scratch.setdefault(of, Scratch(of.bytes)), argument.offset) if isinstance(of, Scratch) else argument
    return scratch.setdefault(argument, Scratch(argument.bytes)) if isinstance(argument, Scratch) else argument


def _longest_ns(parts: Sequence[Step]) -> int:
    return max(_time_ns(part) for part in parts)


def _time_ns(step: Step) -> int:
    repeats, rings = prod(r.times for r in step.repeats), prod(ring.times for ring, _ in step.within)
    return step.kernel.time_ns * repeats * rings


def _ways(step: Step, threads: int) -> Iterator[list[Step]]:
    for i, repeat in enumerate(step.repeats):
        yield [_some_repeats(step, i, start, stop) for start, stop in _spans(repeat.times, threads)]
    for cut in step.kernel.cuts():
        yield [_moved(step, cut.part(start, stop)) for start, stop in _spans(cut.units, threads)]


def _spans(units: int, threads: int) -> list[tuple[int, int]]:
    """Even ones, or none where there is nothing to divide."""
    count = min(units, threads)
    return [(units * i // count, units * (i + 1) // count) for i in range(count)] if count > 1 else []


def _some_repeats(step: Step, index: int, start: int, stop: int) -> Step:
    moves_bytes = step.repeats[index].moves_bytes
    fewer = Repeated(stop - start, moves_bytes)
    return replace(
        step,
        repeats=(*step.repeats[:index], fewer, *step.repeats[index + 1 :]),
        arguments=tuple(_at(a, start * move) for a, move in zip(step.arguments, moves_bytes, strict=True)),
    )


def _moved(step: Step, piece: Piece) -> Step:
    moves: Mapping[str, int] = piece.moves
    arguments = zip(step.kernel.params, step.arguments, strict=True)
    return replace(step, kernel=piece.kernel, arguments=tuple(_at(a, moves.get(name, 0)) for name, a in arguments))


def _at(argument: Argument, offset: int) -> Argument:
    if not offset:
        return argument
    if isinstance(argument, Part):
        return Part(argument.of, argument.offset + offset)
    assert not isinstance(argument, Zeros), "zeros have no places"
    return Part(argument, offset)


def _with_scratch_apart(steps: Sequence[Step]) -> list[Step]:
    """Every thread with a kernel's `scratch` of its own, as large as its largest part of the node needs."""
    sizes: dict[tuple[Argument, int], int] = {}
    for step in steps:
        for thread, part in enumerate(step.parts):
            if (own := _scratch_of(part)) is not None:
                sizes[own, thread] = max(sizes.get((own, thread), 0), part.kernel.scratch_bytes)
    apart = {key: Scratch(size) for key, size in sizes.items()}
    return [replace(step, parts=tuple(_with(part, i, apart) for i, part in enumerate(step.parts))) for step in steps]


def _scratch_of(step: Step) -> Argument | None:
    found = dict(zip(step.kernel.params, step.arguments, strict=True))
    return found.get("scratch")


def _with(part: Step, thread: int, apart: Mapping[tuple[Argument, int], Scratch]) -> Step:
    own = _scratch_of(part)
    if own is None:
        return part
    return replace(part, arguments=tuple(apart[own, thread] if a is own else a for a in part.arguments))
