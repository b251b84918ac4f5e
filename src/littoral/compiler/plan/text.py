"""The plan as text: which kernels a node became, and where everything lies."""

from littoral.compiler.ir.graph import Value
from littoral.compiler.plan.layout import Layout
from littoral.compiler.plan.steps import Lowered

__all__ = ["layout_text", "lowering_text"]


def lowering_text(found: Lowered) -> str:
    """One line: the node, and its kernels in order with their tiles."""
    if found.alias_of is not None:
        return f"`{found.label}` ({found.kind}): the same memory"
    kernels = [" ".join(filter(None, (step.kernel.kind, step.kernel.tiling))) for step in found.steps]
    return f"`{found.label}` ({found.kind}): {', then '.join(kernels) or 'nothing to do'}"


def layout_text(layout: Layout) -> str:
    """Memory, then every buffer of the arena by address: bytes, and the items of the program that it lives for."""
    lines = [
        f"pages {layout.pages}",
        f"constants {layout.constants_at} {len(layout.constants)}",
        f"arena {layout.arena_at} {layout.arena_bytes}",
    ]
    for buffer in sorted(layout.buffers, key=lambda b: (layout.addresses[b.key], b.first)):
        name = buffer.key.name if isinstance(buffer.key, Value) else "scratch"
        lines.append(f"{layout.addresses[buffer.key]} {buffer.bytes} {buffer.first}..{buffer.last} {name}")
    return "\n".join(lines) + "\n"
