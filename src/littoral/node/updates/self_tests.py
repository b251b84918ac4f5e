"""Vectors that are shipped with a model: inputs, and the outputs that it must give, within a tolerance."""

import itertools
from collections.abc import Mapping

import numpy as np

from littoral.errors import InputError, LittoralError
from littoral.runtime.instance import Session
from littoral.tensors import Array, read_frame

__all__ = ["self_test"]

IN, OUT = "in.", "out."
RTOL, ATOL = 1e-3, 1e-4
CASES_MAX = 64


def self_test(session: Session, data: bytes) -> str:
    """What is wrong, or ''. data: safetensors with `in.NAME` and `out.NAME`; `rtol`, `atol` in its metadata.

    More cases than one are `in.NAME.2`, `out.NAME.2` and so on. Raises InputError for what is no such file.
    """
    frame = read_frame(data)
    tolerances = _tolerance(frame.metadata, "rtol", RTOL), _tolerance(frame.metadata, "atol", ATOL)
    names = [spec.name for spec in session.inputs]
    for case in itertools.islice(itertools.count(1), CASES_MAX):
        suffix = "" if case == 1 else f".{case}"
        feeds = {name: frame.tensors[key] for name in names if (key := f"{IN}{name}{suffix}") in frame.tensors}
        if not feeds:
            return "" if case > 1 else "it has no inputs of this model"
        wanted = {
            spec.name: frame.tensors[key]
            for spec in session.outputs
            if (key := f"{OUT}{spec.name}{suffix}") in frame.tensors
        }
        if problem := _case(session, feeds, wanted, tolerances):
            return f"case {case}: {problem}"
    return ""


def _case(
    session: Session, feeds: Mapping[str, Array], wanted: Mapping[str, Array], tolerances: tuple[float, float]
) -> str:
    try:
        given = session.run(feeds)
    except LittoralError as error:
        return error.message
    if not wanted:
        return "it has no outputs of this model"
    for name, expected in wanted.items():
        found = given[name]
        if found.shape != expected.shape:
            return f"output `{name}` has shape {list(found.shape)}, expected {list(expected.shape)}"
        if not np.allclose(found, expected, rtol=tolerances[0], atol=tolerances[1]):
            worst = float(np.max(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64))))
            return f"output `{name}` is off by {worst:.3g}"
    return ""


def _tolerance(metadata: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(metadata.get(name, default))
    except ValueError:
        raise InputError(f"self-test: `{name}` is `{metadata[name][:40]}`, must be a number") from None
