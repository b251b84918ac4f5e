"""The best classes of an output as text, in place of its numbers: `value:index` or `value:index:label`."""

from collections.abc import Sequence

import numpy as np

from littoral.errors import InputError
from littoral.node.oip.datatypes import Values

__all__ = ["classified"]


def classified(
    values: Values, count: int, labels: Sequence[str] | None, label: str
) -> tuple[list[bytes], Sequence[int]]:
    """Of each row (the last axis), the largest first, ties by index. Raises InputError for what has no rows."""
    if isinstance(values, list) or not values.ndim or values.dtype.kind not in "iuf" or not values.shape[-1]:
        raise InputError(f"{label}: `classification` takes numbers in rows")
    rows = values.reshape(-1, values.shape[-1])
    best = np.argsort(-rows.astype(np.float64), axis=-1, kind="stable")[:, :count]
    texts = [_text(rows[i, at], int(at), labels) for i, found in enumerate(best) for at in found]
    return texts, (*values.shape[:-1], best.shape[-1])


def _text(value: object, index: int, labels: Sequence[str] | None) -> bytes:
    name = f":{labels[index]}" if labels is not None and index < len(labels) else ""
    return f"{value:f}:{index}{name}".encode()
