"""Importers, one file per family of operators; importing this package registers them."""

from littoral.compiler.onnx.operators import contraction, elementwise, movement, reduction, resize

__all__ = ["contraction", "elementwise", "movement", "reduction", "resize"]
