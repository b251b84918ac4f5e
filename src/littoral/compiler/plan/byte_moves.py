"""What only moves bytes: how it becomes steps that move sixteen at once."""

import math

from littoral.compiler.ir.graph import Node
from littoral.compiler.ir.ops import Concat, Transpose
from littoral.compiler.ir.quanta import BYTES
from littoral.compiler.kernels import ByteRuns, Interleave
from littoral.compiler.plan.steps import Part, Step

__all__ = ["lower_byte_concat", "lower_byte_transpose"]

CHANNELS_MAX = 4
PIXELS_MIN = 16


def lower_byte_concat(node: Node, op: Concat) -> list[Step] | None:
    """Every input as runs, each behind the ones before it."""
    (out,) = node.outputs
    if out.dtype not in BYTES:
        return None
    count, out_step = math.prod(out.shape[: op.axis]), math.prod(out.shape[op.axis :])
    steps, at = [], 0
    for x in node.inputs:
        run = math.prod(x.shape[op.axis :])
        if run:
            steps.append(Step(ByteRuns(count, run, out_step), (x, Part(out, at) if at else out)))
        at += run
    return steps


def lower_byte_transpose(node: Node, op: Transpose) -> list[Step] | None:
    """A few planes of channels, one picture after the other, to pixels."""
    (x,), (out,) = node.inputs, node.outputs
    axis, rank = op.perm[-1], x.type.rank
    if x.dtype not in BYTES or op.perm != (*(i for i in range(rank) if i != axis), axis):
        return None
    batch, channels, pixels = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    if not 1 < channels <= CHANNELS_MAX or pixels < PIXELS_MIN:
        return None
    picture = channels * pixels
    kernel = Interleave(pixels, channels)
    return [
        Step(kernel, (Part(x, n * picture) if n else x, Part(out, n * picture) if n else out)) for n in range(batch)
    ]
