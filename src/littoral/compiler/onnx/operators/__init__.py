"""Importers, one file per family of operators; importing this package registers them."""

from littoral.compiler.onnx.operators import (
    attention,
    contraction,
    control,
    dropout,
    elementwise,
    integer,
    linear_attention,
    losses,
    movement,
    normalization,
    recurrent,
    reduction,
    resize,
    sampling,
    selection,
)

__all__ = [
    "attention",
    "contraction",
    "control",
    "dropout",
    "elementwise",
    "integer",
    "linear_attention",
    "losses",
    "movement",
    "normalization",
    "recurrent",
    "reduction",
    "resize",
    "sampling",
    "selection",
]
