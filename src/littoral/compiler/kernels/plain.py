"""Kernels for engines without vectors: of each kernel the form that is made for scalars, where there is one."""

from collections.abc import Callable, Mapping
from typing import Any

from littoral.compiler.kernels.int8_depthwise import IntegerDepthwise
from littoral.compiler.kernels.int8_gemm import IntegerGemm
from littoral.compiler.kernels.kernel import Kernel
from littoral.compiler.kernels.plain_bytes import BYTE_KERNELS, PlainBytes
from littoral.compiler.kernels.plain_depthwise import PlainDepthwise
from littoral.compiler.kernels.plain_gemm import PlainGemm

__all__ = ["without_vectors"]

_PLAIN: Mapping[type[Kernel], Callable[[Any], Kernel]] = {
    IntegerGemm: PlainGemm,
    IntegerDepthwise: PlainDepthwise,
    **dict.fromkeys(BYTE_KERNELS, PlainBytes),
}


def without_vectors(kernel: Kernel) -> Kernel:
    """The form for engines without vectors: parameters, layouts and bits stay, and no more scratch is needed."""
    plain = _PLAIN.get(type(kernel))
    return kernel.without_vectors() if plain is None else plain(kernel)
