"""numpy's products of matrices on one thread.

Its library divides even small products among threads that spin while they wait: on a machine with other work, seven
times as slow for quantisation as one thread.
"""

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["one_thread"]

PREFIX, SUFFIX = "scipy_openblas_", "_num_threads64_"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For the whole process, while the block runs. Does nothing where numpy's wheel brings no OpenBLAS of its own."""
    if (library := _library()) is None:
        yield
        return
    before = int(library[f"{PREFIX}get{SUFFIX}"]())
    library[f"{PREFIX}set{SUFFIX}"](1)
    try:
        yield
    finally:
        library[f"{PREFIX}set{SUFFIX}"](before)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The one that numpy has loaded: opened again, it is the same."""
    folder = Path(np.__file__).parent.with_name("numpy.libs")
    for path in sorted(folder.glob("libscipy_openblas64_*.so")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, f"{PREFIX}set{SUFFIX}") and hasattr(library, f"{PREFIX}get{SUFFIX}"):
            return library
    return None
