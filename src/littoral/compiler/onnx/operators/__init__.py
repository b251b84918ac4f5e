"""Importers, one file per family of operators; importing this package registers them."""

from littoral.compiler.onnx.operators import (
    contraction,
    control,
    elementwise,
    movement,
    normalization,
    recurrent,
    reduction,
    resize,
    selection,
)

__all__ = [
    "contraction",
    "control",
    "elementwise",
    "movement",
    "normalization",
    "recurrent",
    "reduction",
    "resize",
    "selection",
]
