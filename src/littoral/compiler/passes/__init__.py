"""The passes, in order. Each takes valid IR and leaves valid IR; its name is its handle in `explain` and tests."""

from collections.abc import Callable
from dataclasses import replace

from littoral.compiler.ir.graph import Graph, Rewriter
from littoral.compiler.ir.ops import Branch, Repeat
from littoral.compiler.passes.canonicalize import canonicalize
from littoral.compiler.passes.channels_last import channels_last
from littoral.compiler.passes.decompose import decompose
from littoral.compiler.passes.decompose_softmax import decompose_softmax
from littoral.compiler.passes.fold_affine import fold_affine
from littoral.compiler.passes.fold_pads import fold_pads
from littoral.compiler.passes.fold_transposes import fold_transposes
from littoral.compiler.passes.fuse_attention import fuse_attention
from littoral.compiler.passes.fuse_epilogues import fuse_epilogues
from littoral.compiler.passes.fuse_maps import fuse_maps
from littoral.compiler.passes.fuse_normalization import fuse_normalization
from littoral.compiler.passes.fusion import Note
from littoral.compiler.passes.integer_maps import integer_maps
from littoral.compiler.passes.integer_products import integer_products
from littoral.compiler.passes.integer_tables import integer_tables
from littoral.compiler.passes.move_bytes import move_bytes
from littoral.compiler.passes.move_products import move_products
from littoral.compiler.passes.settle_weights import settle_weights
from littoral.compiler.passes.sink_transposes import sink_transposes

__all__ = ["FUSING", "INTEGER_PASSES", "PASSES", "Pass", "inside_bodies"]

Pass = Callable[[Graph], Graph]

INTEGER_PASSES = ("move-bytes", "integer-products", "integer-maps", "integer-tables")
PASSES: dict[str, Pass] = {
    "settle-weights": settle_weights,
    "canonicalize": canonicalize,
    "fold-pads": fold_pads,
    "fold-affine": fold_affine,
    "decompose": decompose,
    "channels-last": channels_last,
    "sink-transposes": sink_transposes,
    "decompose-softmax": decompose_softmax,
    "simplify": canonicalize,
    "move-products": move_products,
    "fuse-maps": fuse_maps,
    "fuse-normalization": fuse_normalization,
    "fuse-epilogues": fuse_epilogues,
    "fold-transposes": fold_transposes,
    "fuse-attention": fuse_attention,
    "move-bytes": move_bytes,
    "integer-products": integer_products,
    "integer-maps": integer_maps,
    "integer-tables": integer_tables,
}

FUSING: dict[str, Callable[[Graph, Note], Graph]] = {
    "fuse-maps": fuse_maps,
    "fuse-normalization": fuse_normalization,
    "fuse-epilogues": fuse_epilogues,
    "fuse-attention": fuse_attention,
}
"""Passes that tell of what they fuse."""


def inside_bodies(graph: Graph, change: Pass) -> Graph:
    """The graph with `change` applied to every body of control flow."""
    if not any(isinstance(node.op, Repeat | Branch) for node in graph.nodes):
        return graph
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Repeat):
            op = replace(op, body=change(op.body))
        elif isinstance(op, Branch):
            op = replace(op, then=change(op.then), otherwise=change(op.otherwise))
        rewriter.put(node, rewriter.build.add_all(op, *rewriter.inputs(node), label=node.label))
    return rewriter.finish()
