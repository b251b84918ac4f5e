"""Quantisation after training: what is observed on feeds, what becomes bytes, and with which scales."""

from littoral.compiler.quantize.options import Int8
from littoral.compiler.quantize.pairs import fit_pairs
from littoral.compiler.quantize.quantized import Quantized, quantize

__all__ = ["Int8", "Quantized", "fit_pairs", "quantize"]
