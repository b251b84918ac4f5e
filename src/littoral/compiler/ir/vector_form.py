"""Which expressions can be computed on four float32 at once."""

from littoral.compiler.ir.expr import Apply, Expr, Load, Position, walk
from littoral.compiler.ir.formulas import FORMULAS

__all__ = ["BITWISE", "COMPARISONS", "has_vector_form", "is_long"]

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
BITWISE = ("and", "or", "xor")
_ARITHMETIC = ("add", "sub", "mul", "div", "min", "max", "neg", "abs", "sqrt", "floor", "ceil", "trunc", "round")


def has_vector_form(expr: Expr) -> bool:
    """Whether the expression can be computed on four float32 at once."""
    for node in walk(expr):
        if isinstance(node, Position | Load) or node.dtype not in ("float32", "bool"):
            return False
        if isinstance(node, Apply):
            floats = all(a.dtype == "float32" for a in node.args)
            arithmetic = node.op in (*_ARITHMETIC, *FORMULAS, *COMPARISONS) and floats
            if not (arithmetic or node.op == "select" or (node.op in BITWISE and node.dtype == "bool")):
                return False
        if node.dtype == "bool" and not isinstance(node, Apply):
            return False
    return expr.dtype == "float32"


def is_long(expr: Expr) -> bool:
    """Whether it has a formula in it, so that several at once outgrow the registers."""
    return any(isinstance(node, Apply) and node.op in FORMULAS for node in walk(expr))
