"""Bits that models in integers give, so that whoever changes them sees it: of each way to be quantised."""

from collections.abc import Callable

import numpy as np
import pytest

from integer_models import MODELS
from littoral.artifact import digest
from littoral.compiler.driver import planned, written
from model_host import run_bare


@pytest.mark.parametrize("name", MODELS)
def test_bits(name: str, golden: Callable[[str], None]) -> None:
    """Digest of the outputs, and enough of them to see how far a change reaches; the same without vectors."""
    model = MODELS[name]()
    found = planned(model.source, int8=model.int8)
    outputs = run_bare(written(found).wasm, model.feeds)
    plain = run_bare(written(found, target="mvp").wasm, model.feeds)
    lines = []
    for made, y in outputs.items():
        assert plain[made].tobytes() == y.tobytes()
        some = " ".join(f"{value:.6g}" for value in y.reshape(-1)[:8])
        lines.append(f"{made} {y.dtype}{list(y.shape)} {digest(np.ascontiguousarray(y).tobytes())}\n{some} …\n")
    golden("".join(lines))
