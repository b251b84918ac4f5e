"""Zero padding before a convolution or an average becomes the window's own padding."""

from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Node, Rewriter, Value
from littoral.compiler.ir.maps import scalar_constant
from littoral.compiler.ir.ops import Conv, Pad, Pool, Window

__all__ = ["fold_pads"]


def fold_pads(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        inputs = rewriter.inputs(node)
        op = _with_pads(node, inputs[0]) if inputs else None
        if op is None:
            rewriter.copy(node)
        else:
            assert inputs[0].producer is not None
            source = inputs[0].producer.inputs[0]
            rewriter.put(node, [rewriter.build.add(op, source, *inputs[1:], label=node.label)])
    return rewriter.finish()


def _with_pads(node: Node, x: Value) -> Conv | Pool | None:
    """The node's operation with the pads of the Pad that makes x, or None where that is not the same."""
    if x.producer is None or not isinstance(pad := x.producer.op, Pad) or pad.mode != "constant":
        return None
    zero = scalar_constant(x.producer.inputs[1])
    if zero is None or zero.value != 0 or pad.pads[0] != (0, 0):
        return None
    op = node.op
    if not isinstance(op, Conv | Pool):
        return None
    channel, spatial = (pad.pads[-1], pad.pads[1:-1]) if op.last else (pad.pads[1], pad.pads[2:])
    if channel != (0, 0):
        return None
    if isinstance(op, Conv):
        return replace(op, window=_widened(op.window, spatial))
    unpadded = all(p == (0, 0) for p in op.window.pads)
    if op.combine == "mean" and unpadded and not op.ceil:
        return replace(op, window=_widened(op.window, spatial), counts_pads=True)
    return None


def _widened(window: Window, pads: tuple[tuple[int, int], ...]) -> Window:
    return replace(window, pads=tuple((a + c, b + d) for (a, b), (c, d) in zip(window.pads, pads, strict=True)))
