"""A model compiled to integers, beside the same in float32, on feeds that it was not calibrated with."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

import littoral
from littoral.artifact import Model, Store
from littoral.compiler.driver import Progress, compile_model, planned, silent, written
from littoral.compiler.quantize.one_thread import one_thread
from littoral.quality.compare import Feed, compare, fitting
from littoral.quality.comparison import Comparison, with_comparison
from littoral.quality.layer_errors import layer_errors

__all__ = ["compiled_and_compared"]


def compiled_and_compared(
    source: Any,
    int8: littoral.Int8,
    held_out: Sequence[Feed],
    *,
    planning: Mapping[str, Any],
    writing: Mapping[str, Any],
    progress: Progress = silent,
) -> tuple[Model, Comparison]:
    """The model in integers, with the comparison in its file; without that section it is what `compile` makes.

    planning, writing: further arguments of `driver.planned` and `driver.written`. Raises as `littoral.compile`, and
    InputError for held-out feeds that do not fit.
    """
    exact = compile_model(source, **planning, **writing)
    found = planned(source, **planning, int8=int8, progress=progress)
    assert found.quantized is not None
    model = written(found, **writing)
    for made in (exact, model):
        Store().record(made.digest)
    comparison = compare(exact, model, held_out, progress=progress)
    with littoral.load(exact) as session:
        fits = [fitting(session, feed) for feed in held_out]
    with one_thread():
        layers, layer_feeds = layer_errors(found.quantized, fits, progress)
    comparison = msgspec.structs.replace(comparison, layers=layers, layer_feeds=layer_feeds)
    model = with_comparison(model, comparison)
    Store().record(model.digest)
    return model, comparison
