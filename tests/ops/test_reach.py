"""No kernel reads or writes outside its operands: each step of a model alone, each operand at the end of memory."""

import numpy as np
import pytest

from attention_models import attention
from integer_models import MODELS
from integer_ways import feeds_for
from littoral.compiler.driver import planned, written
from littoral.compiler.ir.reference import interpret
from littoral.compiler.plan import parallel
from model_host import run_bare
from onnx_models import single
from random_models import random_model
from random_networks import random_network
from random_quantised import random_quantised
from reach import beyond_reach


@pytest.fixture
def everything_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a step is."""
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)


@pytest.mark.parametrize(
    ("heads", "queries", "keys", "size"),
    [(3, 198, 198, 64), (1, 198, 198, 64), (2, 197, 130, 32), (1, 70, 700, 20), (1, 130, 90, 12), (1, 9, 1030, 7)],
)
def test_attention_in_blocks_of_uneven_size(heads: int, queries: int, keys: int, size: int) -> None:
    """What is left after whole blocks may be packed in larger parts than a block is."""
    model, _ = attention(1, heads, queries, keys, size)
    for threads in (1, 3):
        (layout,) = planned(model, threads=threads).layouts
        assert not beyond_reach(layout.program)


@pytest.mark.parametrize("side", [40, 14])
def test_a_depthwise_window_that_reaches_far_to_the_left(side: int) -> None:
    """Further than everything below its input is long."""
    rng = np.random.default_rng(side)
    feeds = {"x": rng.normal(size=(1, 512, side, side)).astype("f4")}
    w = rng.normal(size=(512, 1, 3, 3)).astype("f4")
    source = single("Conv", feeds, {"w": w}, group=512, dilations=[18, 18], pads=[18] * 4)
    found = planned(source)
    assert not beyond_reach(found.layouts[0].program)
    (got,), (want,) = run_bare(written(found).wasm, feeds).values(), interpret(found.graphs[0], feeds).values()
    assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("everything_is_divided")
def test_a_random_model(seed: int) -> None:
    made = random_model(seed)
    for threads in (1, 3):
        (layout,) = planned(made.model.SerializeToString(), threads=threads).layouts
        assert not beyond_reach(layout.program)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("everything_is_divided")
def test_a_random_network_in_integers(seed: int) -> None:
    made = random_network(seed)
    for threads in (1, 3):
        (layout,) = planned(made.model.SerializeToString(), int8=feeds_for(made), threads=threads).layouts
        assert not beyond_reach(layout.program)
        (layout,) = planned(random_quantised(seed).model.SerializeToString(), threads=threads).layouts
        assert not beyond_reach(layout.program)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_integers(name: str) -> None:
    model = MODELS[name]()
    (layout,) = planned(model.source, int8=model.int8).layouts
    assert not beyond_reach(layout.program)
