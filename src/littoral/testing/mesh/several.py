"""Points with two vectors, of which some lack the one that cells are of, as clients of a simulated site know them.

What a client writes is one row of bytes: the picture's numbers, where there are any, then the text's.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from littoral.node.site_tables import VectorTable
from littoral.vectors.records import PointVectors

__all__ = ["IMAGE", "SIZES", "TABLES", "TEXT", "row_of", "told_of", "using_of", "vectors_of"]

IMAGE, TEXT = "image", "text"
SIZES: Mapping[str, int] = {IMAGE: 4, TEXT: 3}
TABLES = {name: VectorTable(size=size, distance="Euclid") for name, size in SIZES.items()}
LACKING = 5
"""Of so many points one has no picture."""

FLOAT_BYTES = 4
TEXT_BYTES = SIZES[TEXT] * FLOAT_BYTES


def row_of(image: bytes, rows: np.random.Generator) -> bytes:
    """What is written of a point near to that picture."""
    text = rows.standard_normal(SIZES[TEXT]).astype("<f4").tobytes()
    return text if not rows.integers(LACKING) else image + text


def vectors_of(told: bytes) -> dict[str, bytes]:
    """As the collection has them."""
    image, text = told[:-TEXT_BYTES], told[-TEXT_BYTES:]
    return {IMAGE: image, TEXT: text} if image else {TEXT: text}


def told_of(vectors: PointVectors) -> bytes:
    """What was written so."""
    assert isinstance(vectors, dict)
    found = (vectors.get(name) for name in SIZES)
    return b"".join(one for one in found if isinstance(one, bytes))


def using_of(query: npt.NDArray[np.float32]) -> str:
    """The vector that somebody looks for."""
    return next(name for name, size in SIZES.items() if size == len(query))
