"""Quantisation keeps numpy to one thread, and gives back what was."""

import numpy as np
import pytest

from littoral.compiler.quantize.one_thread import PREFIX, SUFFIX, _library, one_thread
from needs import need


def test_products_of_matrices_take_one_thread_while_the_block_runs() -> None:
    library = _library()
    need(library is not None, "numpy without an OpenBLAS of its own")
    assert library is not None
    threads = library[f"{PREFIX}get{SUFFIX}"]
    before = threads()
    with one_thread():
        assert threads() == 1
        assert np.ones((300, 300)).dot(np.ones((300, 300)))[0, 0] == 300
    assert threads() == before
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert threads() == before
