"""Steps divided among threads: each thread does a part of each step, and all meet where one needs what another made.

A step is divided along the loops around its kernel, or along one of the kernel's own cuts, whichever leaves the least
to the thread that has most. Steps too short to be worth a meeting stay with thread 0. Sums are never divided, so the
bits are those of one thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod

from littoral.compiler.kernels import Piece
from littoral.compiler.plan.program import Program
from littoral.compiler.plan.steps import Argument, Part, Repeated, Ring, Scratch, Step, Zeros

__all__ = ["divide"]

PART_NS_MIN = 1500  # a meeting takes about as long, and what a thread reads may lie in the other's cache
GAIN_MIN = 1.15

Share = list[Step | None]  # what a thread has to do of each step


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
    """Steps inside a ring are divided by its runs, or by those of the rings inside it, whichever leaves the least to
    the thread that has most. A thread does all of its share, in scratch of its own.
    """
    ring = steps[0].within[0][0] if steps[0].within else None
    if ring is None or any(not step.within or step.within[0][0] is not ring for step in steps):
        return list(steps)
    threads = min(threads, sum(map(_time_ns, steps)) // PART_NS_MIN)
    ways = [way for way in (_by_runs(steps, ring, threads), _by_inner_runs(steps, ring, threads)) if way]
    if not ways:
        return list(steps)
    shares = min(ways, key=lambda way: max(_share_ns(share) for share in way))
    return [replace(step, parts=parts) for step, *parts in zip(steps, *shares, strict=True)]


def _share_ns(share: Share) -> int:
    return sum(_time_ns(step) for step in share if step is not None)


def _by_runs(steps: Sequence[Step], ring: Ring, threads: int) -> list[Share]:
    """A share for each thread: some runs of the ring that all steps are in."""
    shares: list[Share] = []
    for start, stop in _spans(ring.times, threads):
        own, scratch = {ring: Ring(stop - start)}, dict[Scratch, Scratch]()
        shares.append([_in_rings(step, own, {ring: start}, scratch) for step in steps])
    return shares


def _by_inner_runs(steps: Sequence[Step], ring: Ring, threads: int) -> list[Share]:
    """A share for each thread: some runs of the innermost rings, taken one after the other; what is in none of them
    all threads do, each for itself.
    """
    outer = min(len(step.within) for step in steps)
    inner = list(dict.fromkeys(step.within[outer][0] for step in steps if len(step.within) > outer))
    firsts = dict(zip(inner, accumulate((r.times for r in inner), initial=0), strict=False))
    shares: list[Share] = []
    for start, stop in _spans(sum(r.times for r in inner), threads):
        spans = {r: (max(start - at, 0), min(stop - at, r.times)) for r, at in firsts.items()}
        own = {r: Ring(b - a) for r, (a, b) in spans.items()} | {ring: Ring(ring.times)}
        begins, scratch = {r: a for r, (a, _) in spans.items()}, dict[Scratch, Scratch]()
        is_mine = [len(step.within) == outer or own[step.within[outer][0]].times > 0 for step in steps]
        pairs = zip(steps, is_mine, strict=True)
        shares.append([_in_rings(step, own, begins, scratch) if mine else None for step, mine in pairs])
    return shares


def _in_rings(
    step: Step, own: Mapping[Ring, Ring], begins: Mapping[Ring, int], scratch: dict[Scratch, Scratch]
) -> Step:
    """The step in rings of a thread's own, which begin at other runs."""
    arguments = step.arguments
    for ring, moves_bytes in step.within:
        begin = begins.get(ring, 0)
        arguments = tuple(_at(a, begin * move) for a, move in zip(arguments, moves_bytes, strict=True))
    within = tuple((own.get(ring, ring), moves_bytes) for ring, moves_bytes in step.within)
    return replace(step, within=within, arguments=tuple(_apart(a, scratch) for a in arguments))


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
            if part is not None and (own := _scratch_of(part)) is not None:
                sizes[own, thread] = max(sizes.get((own, thread), 0), part.kernel.scratch_bytes)
    apart = {key: Scratch(size) for key, size in sizes.items()}
    return [replace(step, parts=tuple(_with(part, i, apart) for i, part in enumerate(step.parts))) for step in steps]


def _scratch_of(step: Step) -> Argument | None:
    found = dict(zip(step.kernel.params, step.arguments, strict=True))
    return found.get("scratch")


def _with(part: Step | None, thread: int, apart: Mapping[tuple[Argument, int], Scratch]) -> Step | None:
    if part is None or (own := _scratch_of(part)) is None:
        return part
    return replace(part, arguments=tuple(apart[own, thread] if a is own else a for a in part.arguments))
