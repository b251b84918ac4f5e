"""Which kernel does each node, and where everything lies in memory."""

from littoral.compiler.plan.layout import Layout, lay_out
from littoral.compiler.plan.lowering import lower
from littoral.compiler.plan.steps import Lowered, Step, Weights

__all__ = ["Layout", "Lowered", "Step", "Weights", "lay_out", "lower"]
