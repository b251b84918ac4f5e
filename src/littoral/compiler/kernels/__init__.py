"""Kernels: frozen descriptions that write WebAssembly functions. Plain Python: weights are packed elsewhere."""

from littoral.compiler.kernels.along import Extreme, Largest, Running
from littoral.compiler.kernels.depthwise import Depthwise
from littoral.compiler.kernels.gemm import PANEL, Gemm, Rows
from littoral.compiler.kernels.int8_depthwise import IntegerDepthwise
from littoral.compiler.kernels.int8_dot import Form, form_of, is_wide
from littoral.compiler.kernels.int8_finish import Finish
from littoral.compiler.kernels.int8_gemm import Extra, IntegerGemm
from littoral.compiler.kernels.int8_maps import ByteMap, ByteTable
from littoral.compiler.kernels.int8_moves import ByteRuns, Interleave
from littoral.compiler.kernels.int8_rows import RowBytes
from littoral.compiler.kernels.int8_table import PART
from littoral.compiler.kernels.int8_windows import ByteMaximum, ByteSums
from littoral.compiler.kernels.int16_gemm import ShortGemm
from littoral.compiler.kernels.int16_panels import ShortKeys, ShortValues
from littoral.compiler.kernels.int16_rows import ShortRows, ShortShares
from littoral.compiler.kernels.kernel import OVERREAD_BYTES, Cut, Kernel, Piece, Products
from littoral.compiler.kernels.loops import Access, LoopNest
from littoral.compiler.kernels.normalize import NormalizeRows
from littoral.compiler.kernels.pad import Frame
from littoral.compiler.kernels.panels import Panels
from littoral.compiler.kernels.plain import without_vectors
from littoral.compiler.kernels.require import Require
from littoral.compiler.kernels.resample import ResamplePlaces
from littoral.compiler.kernels.softmax import SoftmaxRows
from littoral.compiler.kernels.winograd import PLANES, TILE, FromPlanes, ToPlanes

__all__ = [
    "OVERREAD_BYTES",
    "PANEL",
    "PART",
    "PLANES",
    "TILE",
    "Access",
    "ByteMap",
    "ByteMaximum",
    "ByteRuns",
    "ByteSums",
    "ByteTable",
    "Cut",
    "Depthwise",
    "Extra",
    "Extreme",
    "Finish",
    "Form",
    "Frame",
    "FromPlanes",
    "Gemm",
    "IntegerDepthwise",
    "IntegerGemm",
    "Interleave",
    "Kernel",
    "Largest",
    "LoopNest",
    "NormalizeRows",
    "Panels",
    "Piece",
    "Products",
    "Require",
    "ResamplePlaces",
    "RowBytes",
    "Rows",
    "Running",
    "ShortGemm",
    "ShortKeys",
    "ShortRows",
    "ShortShares",
    "ShortValues",
    "SoftmaxRows",
    "ToPlanes",
    "form_of",
    "is_wide",
    "without_vectors",
]
