"""About how long a product takes, one run on one thread: to weigh what a choice gains, not to be believed."""

from littoral.compiler.ir.graph import Node
from littoral.compiler.quantize.patches import is_depthwise

__all__ = ["cost_ms"]

# Products a second, in 10⁹, as measured on x86 (2 operations each).
DENSE = {8: 59.0, 7: 61.0, 32: 26.0}
DEPTHWISE = {8: 20.0, 7: 20.0, 32: 19.0}


def cost_ms(node: Node, bits: int, is_wide: bool = False) -> float:
    """bits: of a weight, 32 for float32. is_wide: bytes of 8 bits, which take 2.4 times the instructions."""
    weights, made = node.inputs[1], node.outputs[0]
    per_output = weights.type.elements // max(made.shape[-1], 1)
    macs = made.type.elements * per_output
    rate = (DEPTHWISE if is_depthwise(node) else DENSE)[bits] / (2.4 if is_wide else 1)
    return macs / rate / 1e6
