"""Importers, one file per family of operators; importing this package registers them."""

from littoral.compiler.onnx.operators import (
    contraction,
    elementwise,
    movement,
    normalization,
    reduction,
    resize,
    selection,
)

__all__ = ["contraction", "elementwise", "movement", "normalization", "reduction", "resize", "selection"]
