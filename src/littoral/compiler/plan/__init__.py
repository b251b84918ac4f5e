"""Which kernel does each node, in which order, and where everything lies in memory."""

from littoral.compiler.plan.arena import Buffer
from littoral.compiler.plan.layout import Layout, lay_out, lay_out_together
from littoral.compiler.plan.parallel import divide
from littoral.compiler.plan.program import Program, program_of
from littoral.compiler.plan.steps import Lowered, Scratch, Step, Weights

__all__ = [
    "Buffer",
    "Layout",
    "Lowered",
    "Program",
    "Scratch",
    "Step",
    "Weights",
    "divide",
    "lay_out",
    "lay_out_together",
    "program_of",
]
