"""Random models divided among threads, however short their steps are: the bits of one thread, run after run."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import littoral
from attention_models import attention
from integer_models import MODELS
from littoral.compiler.plan import parallel
from model_maker import arrays_for
from random_models import random_model
from three_ways import RUNTIME_ERRORS, agree, oracle


@pytest.fixture(autouse=True)
def everything_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_random_model(seed: int) -> None:
    made = random_model(seed)
    try:
        oracle(made)
    except RUNTIME_ERRORS:
        return  # what ONNX Runtime refuses is no model
    data = made.model.SerializeToString()
    feeds = [made.feeds, arrays_for(made.model.graph.input, seed + 1)]
    with littoral.load(littoral.compile(data)) as alone:
        wanted = [alone.run(f) for f in feeds]
    for threads in (2, 3):
        with littoral.load(littoral.compile(data, threads=threads)) as team:
            for _ in range(3):
                for given, want in zip(feeds, wanted, strict=True):
                    agree(f"{threads} threads", team.run(given), want, 0.0)


def test_many_teams_at_once_do_not_meet_each_other() -> None:
    """More threads than cores, each team on inputs of its own, all started together."""
    model, feeds = attention(1, 1, 40, 90, 8, (1, 1, 1, 90))
    sources = [(model, feeds, None)] + [
        (m.source, m.feeds, m.int8) for m in (MODELS[n]() for n in ("encoder", "of uint8"))
    ]
    start = threading.Barrier(2 * len(sources))
    wrong: list[str] = []

    def work(source: bytes, given: Mapping[str, Any], int8: Any, threads: int) -> None:
        variants = [{name: np.asarray(a * np.float32(scale)) for name, a in given.items()} for scale in (1, 0.5, -1)]
        with littoral.load(littoral.compile(source, int8=int8)) as alone:
            wanted = [alone.run(f) for f in variants]
        with littoral.load(littoral.compile(source, int8=int8, threads=threads)) as team:
            start.wait(60)
            for i in range(150):
                got = team.run(variants[i % 3])
                wrong.extend(n for n, y in got.items() if not np.array_equal(y, wanted[i % 3][n], equal_nan=True))

    teams = [threading.Thread(target=work, args=(*s, threads)) for s in sources for threads in (2, 4)]
    for team in teams:
        team.start()
    for team in teams:
        team.join(120)
    assert not start.broken
    assert wrong == []
    assert not any(team.is_alive() for team in teams)
