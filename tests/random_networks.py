"""Random networks on pictures from a seed: of the steps of `random_models`, those that such networks take."""

from collections.abc import Callable

from model_maker import Made, Maker
from random_models import (
    binary,
    clip,
    concat,
    conv,
    cut,
    fresh_picture,
    gather,
    gemm,
    grown,
    layer_norm,
    matmul,
    pad,
    pool,
    reduce,
    reshape,
    resize,
    softmax,
    swish,
    turn,
    unary,
)

__all__ = ["random_network"]

PICTURES: dict[Callable[[Maker], None], int] = {
    conv: 16,
    unary: 5,
    clip: 5,
    swish: 3,
    binary: 5,
    pool: 4,
    concat: 3,
    resize: 2,
    reduce: 2,
    gemm: 2,
    matmul: 3,
    reshape: 2,
    turn: 1,
    cut: 1,
    pad: 1,
    gather: 1,
    softmax: 1,
    layer_norm: 1,
}


def random_network(seed: int, nodes: int = 12) -> Made:
    """As `random_model`, of what networks on pictures consist of."""
    m = Maker(seed)
    fresh_picture(m)
    return grown(m, nodes, PICTURES)
