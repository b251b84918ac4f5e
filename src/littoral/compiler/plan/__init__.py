"""Which kernel does each node, in which order, and where everything lies in memory."""

from littoral.compiler.plan.arena import Buffer
from littoral.compiler.plan.layout import Layout, lay_out, lay_out_together
from littoral.compiler.plan.parallel import divide
from littoral.compiler.plan.program import Program, program_of
from littoral.compiler.plan.steps import Lowered, Scratch, Step, Weights
from littoral.compiler.plan.text import layout_text, lowering_text
from littoral.compiler.plan.tuning import RULES, Tuning, TuningSource, open_tuning

__all__ = [
    "RULES",
    "Buffer",
    "Layout",
    "Lowered",
    "Program",
    "Scratch",
    "Step",
    "Tuning",
    "TuningSource",
    "Weights",
    "divide",
    "lay_out",
    "lay_out_together",
    "layout_text",
    "lowering_text",
    "open_tuning",
    "program_of",
]
