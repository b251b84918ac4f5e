"""Importers, one file per family of operators; importing this package registers them."""

from littoral.compiler.onnx.operators import (
    attention,
    contraction,
    control,
    elementwise,
    integer,
    losses,
    movement,
    normalization,
    recurrent,
    reduction,
    resize,
    selection,
)

__all__ = [
    "attention",
    "contraction",
    "control",
    "elementwise",
    "integer",
    "losses",
    "movement",
    "normalization",
    "recurrent",
    "reduction",
    "resize",
    "selection",
]
