"""Attention, head by head and a block of queries at a time: scores lie in scratch memory and never all at once."""

import math
from typing import NamedTuple

from littoral.compiler.ir.expr import Expr
from littoral.compiler.ir.graph import Node, Value
from littoral.compiler.ir.ops import Attention
from littoral.compiler.ir.types import contiguous
from littoral.compiler.kernels import Access, Gemm, Kernel, LoopNest, Panels, Rows, ShortGemm, SoftmaxRows
from littoral.compiler.plan.products import FLOAT_BYTES, repeats, sides
from littoral.compiler.plan.steps import Argument, Part, Repeated, Ring, Scratch, Step

__all__ = ["AttentionPlan", "Moved", "further", "lower_attention"]

SCORES_BYTES = 1 << 16  # of one block of queries: what stays in the second-level cache beside keys and values
QUERIES_MIN = 16
DEPTH_MAX = 384  # of one product with values: four packed rows of it fill the first-level cache

Moves = tuple[int, ...]


class Moved(NamedTuple):
    """An argument, its bytes from one head to the next by loop, and from one query to the next."""

    argument: Argument
    heads: Moves
    query: int = 0


def lower_attention(node: Node, op: Attention) -> list[Step]:
    return AttentionPlan(node, op).steps()


class AttentionPlan:
    """The sides of an attention, and the loops around its steps: heads outside, blocks of queries inside."""

    def __init__(self, node: Node, op: Attention) -> None:
        q, k, v, *rest = node.inputs
        (out,) = node.outputs
        self.op = op
        self.q, self.k, self.v = sides(q, op.left), sides(k, op.right), sides(v, op.value)
        self.out = sides(out, tuple(op.result.index(i) for i in range(len(op.result))))
        self.queries, self.depth = self.q.shape[-2:]
        self.keys, self.width = self.v.shape[-2:]
        batch = self.out.shape[:-2]
        self.masks = [_spread(value, (*batch, self.queries, self.keys)) for value in rest]
        strides = [s.batch_strides(batch) for s in (self.q, self.k, self.v)]
        strides += [self.out.strides_bytes[:-2], *(mask[:-2] for mask in self.masks)]
        loops = repeats(batch, strides) or (Repeated(1, (0,) * len(strides)),)
        heads = [tuple(loop.moves_bytes[i] for loop in loops) for i in range(len(strides))]
        self.rings = tuple(Ring(loop.times) for loop in loops)
        self.still = (0,) * len(loops)
        self.moved = [
            Moved(value, moves, side.strides_bytes[-2])
            for value, moves, side in zip((q, k, v, out), heads, (self.q, self.k, self.v, self.out), strict=False)
        ]
        self.moved += [
            Moved(value, moves, mask[-2]) for value, moves, mask in zip(rest, heads[4:], self.masks, strict=True)
        ]
        self.block = self._block()

    def _block(self) -> int:
        """Queries at a time: as many as keep their scores near, evenly spread, whole tiles."""
        most = max(QUERIES_MIN, SCORES_BYTES // (FLOAT_BYTES * self.keys))
        blocks = -(-self.queries // most)
        if self.rings[0].times % 2 and self.queries >= 2 * QUERIES_MIN:
            blocks += blocks % 2  # for two threads to have as many each, where they cannot have as many heads
        even = -(-self.queries // blocks)
        return min(-(-even // 4) * 4, self.queries)

    def _parts(self) -> list[tuple[int, int]]:
        """The keys, cut where a product with the values would be too deep."""
        count = -(-self.keys // DEPTH_MAX)
        ends = [self.keys * (i + 1) // count for i in range(count)]
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def steps(self) -> list[Step]:
        keys = Panels(self.depth, self.keys, *self.k.strides_bytes[-2:])
        self.key_panels = Moved(Scratch(keys.out_bytes), self.still)
        made = [self.step(keys, self.moved[1], self.key_panels)]
        self.value_panels: list[Moved] = []
        down, along = self.v.strides_bytes[-2:]
        panels = [Panels(end - start, self.width, down, along) for start, end in self._parts()]
        room = Scratch(sum(p.out_bytes for p in panels))
        at = 0
        for kernel, (start, _) in zip(panels, self._parts(), strict=True):
            target = Moved(Part(room, at), self.still)
            made.append(self.step(kernel, further(self.moved[2], start * down), target))
            self.value_panels.append(target)
            at += kernel.out_bytes
        self.scores = Moved(Scratch(FLOAT_BYTES * self.block * self.keys), self.still)
        blocks, rest = divmod(self.queries, self.block)
        gemms = [*self._gemms(self.block), *self._gemms(rest or self.block)]  # fewer rows may be packed more at a time
        self.packed = Moved(Scratch(max(gemm.scratch_bytes for gemm in gemms)), self.still)
        made += self._rows(self.block, 0, Ring(blocks))
        if rest:
            made += self._rows(rest, blocks * self.block, Ring(1))
        return made

    def _gemms(self, count: int) -> list[Gemm]:
        """The product with the keys, then those with the values."""
        scores = Gemm(Rows(1, count, 0, self.moved[0].query, ((0, self.depth),)), self.keys)
        rows, out_bytes = Rows(1, count, 0, FLOAT_BYTES * self.keys, ((0, self.keys),)), self.moved[3].query
        return [
            scores,
            *(
                Gemm(rows.part(start, end), self.width, out_bytes=out_bytes, accumulate=start > 0)
                for start, end in self._parts()
            ),
        ]

    def _rows(self, count: int, first: int, ring: Ring) -> list[Step]:
        """Everything for `count` queries from `first` on, as many such blocks as the ring has."""
        queries, _, _, out, *masks = (further(m, first * m.query) for m in self.moved)
        scores, packed, gemms = self.scores, self.packed, self._gemms(count)
        steps = [self.step(gemms[0], queries, self.key_panels, scores, packed, ring=ring, count=count)]
        if self.op.score is not None:
            kernel = self.map(self.op.score, count)
            steps.append(self.step(kernel, scores, *masks, scores, ring=ring, count=count))
        steps.append(self.step(SoftmaxRows(count, self.keys), scores, scores, ring=ring, count=count))
        if self.op.share is not None:
            whole = Access("float32", 0, contiguous((count, self.keys)))
            kernel = LoopNest((count, self.keys), whole, (whole,), self.op.share)
            steps.append(self.step(kernel, scores, scores, ring=ring, count=count))
        for gemm, panels in zip(gemms[1:], self.value_panels, strict=True):
            steps.append(self.step(gemm, scores, panels, out, packed, ring=ring, count=count))
        return steps

    def map(self, expr: Expr, count: int) -> LoopNest:
        whole = Access("float32", 0, contiguous((count, self.keys)))
        inputs = [whole]
        for moved, strides in zip(self.moved[4:], self.masks, strict=True):
            value = moved.argument
            assert isinstance(value, Value)
            size = value.type.bytes // value.type.elements
            inputs.append(Access(value.dtype, 0, (strides[-2] // size, strides[-1] // size)))
        return LoopNest((count, self.keys), whole, tuple(inputs), expr)

    def step(self, kernel: Kernel, *moved: Moved, ring: Ring | None = None, count: int = 0) -> Step:
        within = [(r, tuple(m.heads[i] for m in moved)) for i, r in enumerate(self.rings)]
        times = math.prod(r.times for r in self.rings)
        if ring is not None:
            within.append((ring, tuple(count * m.query for m in moved)))
            times *= ring.times
        return Step(kernel, tuple(m.argument for m in moved), _macs(kernel) * times, within=tuple(within))


def _macs(kernel: Kernel) -> int:
    match kernel:
        case Gemm():
            return kernel.rows.count * kernel.rows.depth * kernel.width
        case ShortGemm():
            return kernel.rows * kernel.depth * kernel.width
    return 0


def further(moved: Moved, offset: int) -> Moved:
    """The same, starting some bytes later."""
    if not offset:
        return moved
    argument = moved.argument
    assert isinstance(argument, Value)
    return moved._replace(argument=Part(argument, offset))


def _spread(value: Value, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Bytes from one index of each axis of `shape` to the next, 0 where the value repeats."""
    size = value.type.bytes // value.type.elements
    own = [size * s if d > 1 else 0 for d, s in zip(value.shape, contiguous(value.shape), strict=True)]
    return (*(0,) * (len(shape) - len(own)), *own)
