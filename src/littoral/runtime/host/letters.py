"""`ctc`: the likeliest letter of each column, repetitions and blanks left out, as text recognisers are read."""

from collections.abc import Mapping, Sequence

import numpy as np

from littoral.errors import InputError, SettingError
from littoral.runtime.edges import HITS, EdgeType, TensorsType
from littoral.runtime.host.kinds import FLOATS, Bound, Kind
from littoral.runtime.host.options import Ctc
from littoral.tensors import Array, TensorSpec

__all__ = ["CTC", "read"]

BLANK = 0


def _takes(_options: Ctc) -> TensorsType:
    return TensorsType((TensorSpec("scores", "float32", (1, -1, -1)),))


def _bind(options: Ctc, given: EdgeType, labels: Sequence[str] | None = None) -> Bound:
    ports = given.ports if isinstance(given, TensorsType) else ()
    shape = list(ports[0].shape) if len(ports) == 1 and ports[0].dtype in FLOATS else []
    if len(shape) not in (2, 3) or any(size not in (1, -1) for size in shape[:-2]):
        raise SettingError(f"takes {_takes(options)}, with a leading 1 or without")
    if labels is None or shape[-1] not in (-1, len(labels)):
        raise SettingError(f"takes a last dimension of {len(labels or ())}, as many as there are `labels`")
    return Bound(HITS, lambda tensors: read(tensors, labels))


def read(tensors: Mapping[str, Array], labels: Sequence[str]) -> list[object]:
    """One hit: its payload is `{"text"}`, its score the mean of the letters' scores (0 without a letter).

    tensors: one [columns, letters], the first letter blank. Raises InputError for another number of letters.
    """
    (array,) = tensors.values()
    scores = array.reshape(-1, array.shape[-1])
    if scores.shape[1] != len(labels):
        raise InputError(f"step `ctc`: {scores.shape[1]} letters, expected {len(labels)}")
    best = scores.argmax(axis=1)
    is_new = (best != BLANK) & (np.diff(best, prepend=BLANK) != 0)
    text = "".join(labels[index] for index in best[is_new])
    sure = scores.max(axis=1, initial=0)[is_new]
    return [{"id": 0, "score": float(sure.mean()) if len(sure) else 0.0, "payload": {"text": text}}]


CTC = Kind(_takes, _bind)
