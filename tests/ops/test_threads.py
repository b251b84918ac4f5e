"""Models divided among threads: the same bits as with one, whatever is cut and how."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import parser

import littoral
from attention_models import attention
from littoral.compiler.kernels import Cut, Gemm, Rows
from littoral.compiler.plan import parallel
from littoral.errors import SettingError
from onnx_models import NETWORKS, Network, single
from operator_cases import CASES, Case


@pytest.fixture
def everything_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a step is."""
    monkeypatch.setattr(parallel, "PART_NS_MIN", 1)
    monkeypatch.setattr(parallel, "GAIN_MIN", 0)


class Taken:
    """Cores that others work on."""

    def borrow(self, count: int) -> bool:
        return count < 1

    def give_back(self, count: int) -> None:
        raise AssertionError(count)


def outputs(model: bytes, feeds: Mapping[str, Any], threads: int, runs: int = 1) -> list[dict[str, bytes]]:
    """Of each run; a run by one thread alone, of those that there are, gives the same as the last."""
    with littoral.load(littoral.compile(model, threads=threads)) as session:
        found = [{name: y.tobytes() for name, y in session.run(feeds).items()} for _ in range(runs)]
        session.divide_on(Taken())
        assert {name: y.tobytes() for name, y in session.run(feeds).items()} == found[-1]
        return found


def noise(shape: tuple[int, ...], seed: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("everything_is_divided")
def test_networks_give_the_same_bits(name: str) -> None:
    for size in (16, 38):
        model, feeds = NETWORKS[name](size), {"x": noise((1, 3, size, size))}
        want = outputs(model, feeds, 1)[0]
        for threads in (2, 3, 8):
            assert outputs(model, feeds, threads, runs=5) == [want] * 5


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.usefixtures("everything_is_divided")
def test_operators_give_the_same_bits(case: Case) -> None:
    assert outputs(case.model, case.feeds, 3) == outputs(case.model, case.feeds, 1)


def winograd(size: int = 21) -> bytes:
    net = Network((1, 32, size, size))
    net.conv(40, 3, pads=[1, 1, 1, 1])
    net.node("Relu", net.at)
    return net.bytes()


def test_winograd_gives_the_same_bits() -> None:
    feeds = {"x": noise((1, 32, 21, 21))}
    want = outputs(winograd(), feeds, 1)
    assert outputs(winograd(), feeds, 2) == outputs(winograd(), feeds, 3) == want


@pytest.mark.parametrize("heads", [1, 2, 3, 5])
@pytest.mark.usefixtures("everything_is_divided")
def test_attention_gives_the_same_bits(heads: int) -> None:
    model, feeds = attention(2, heads, 70, 600, 7, (2, 1, 1, 600))
    want = outputs(model, feeds, 1)
    assert outputs(model, feeds, 2) == outputs(model, feeds, 3) == want


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.usefixtures("everything_is_divided")
def test_normalised_rows_give_the_same_bits(rows: int) -> None:
    x, scale, bias = noise((rows, 19)), noise((19,), 4), noise((19,), 5)
    model = single("LayerNormalization", {"x": x}, {"scale": scale, "bias": bias})
    want = outputs(model, {"x": x}, 1)
    assert outputs(model, {"x": x}, 2) == outputs(model, {"x": x}, 3) == want


def test_a_thousand_runs_give_the_same_bits() -> None:
    model, feeds = NETWORKS["inverted_residual"](48), {"x": noise((1, 3, 48, 48))}
    want = outputs(model, feeds, 1)[0]
    assert outputs(model, feeds, 2, runs=1000) == [want] * 1000


def test_the_same_source_gives_the_same_bytes() -> None:
    model = NETWORKS["residual"](32)
    first, second = (littoral.compile(model, threads=2) for _ in range(2))
    assert first.wasm == second.wasm
    assert first.manifest.threads == 2
    assert littoral.compile(model).manifest.threads == 1


@pytest.mark.parametrize("threads", [0, 9, -1])
def test_the_number_of_threads_has_bounds(threads: int) -> None:
    with pytest.raises(SettingError, match=rf"`threads` is {threads}, must be 1\.\.8"):
        littoral.compile(NETWORKS["residual"](), threads=threads)


WIDE = """<ir_version: 9, opset_import: ["": 17]> g (float[batch, 300] x) => (float[batch, 300] y) {
    e = Exp(x)
    y = Softmax <axis = 1> (e) }"""


def test_variants_share_the_threads() -> None:
    model = bytes(parser.parse_model(WIDE).SerializeToString())
    shapes = [{"x": (batch, 300)} for batch in (16, 2, 7)]
    one, two = (littoral.compile(model, variants=shapes, threads=threads) for threads in (1, 2))
    with littoral.load(one) as alone, littoral.load(two) as team:
        feeds = {batch: {"x": noise((batch, 300), batch)} for batch in (16, 2, 7)}
        want = {batch: alone.run(given)["y"].copy() for batch, given in feeds.items()}
        for batch in (7, 2, 16, 2, 16, 16, 7) * 300:
            assert np.array_equal(team.run(feeds[batch])["y"], want[batch])


CONTROL = """<ir_version: 9, opset_import: ["": 17]>
    g (int64 n, float[40, 50] x) => (float[40, 50] y, float[N, 40, 50] z) {
    true = Constant <value = bool {1}> ()
    s, z = Loop(n, true, x) <body = b (int64 i, bool going, float[40, 50] s)
        => (bool still, float[40, 50] t, float[40, 50] row) {
            mean = ReduceMean <axes = [0, 1], keepdims = 0> (s)
            t = Sin(s)
            size = Abs(t)
            row = Sqrt(size)
            limit = Constant <value_float = 0.05> ()
            still = Greater(mean, limit) }>
    total = ReduceSum <keepdims = 0> (s)
    half = Constant <value_float = 900.0> ()
    large = Greater(total, half)
    y = If(large) <then_branch = a () => (float[40, 50] p) { p = Exp(s) },
                   else_branch = c () => (float[40, 50] q) { q = Relu(s) }> }"""


@pytest.mark.usefixtures("everything_is_divided")
def test_loops_and_branches_give_the_same_bits() -> None:
    model = bytes(parser.parse_model(CONTROL).SerializeToString())
    for runs, scale in ((0, 1.0), (1, 1.0), (9, 1.0), (9, 0.01), (3, 0.4)):
        feeds = {"n": np.asarray(runs, np.int64), "x": np.abs(noise((40, 50))) * np.float32(scale)}
        want = outputs(model, feeds, 1)[0]
        for threads in (2, 3):
            assert outputs(model, feeds, threads, runs=20) == [want] * 20


def cuts_of(gemm: Gemm) -> Iterator[tuple[Cut, Callable[[int, int], Any]]]:
    for cut in gemm.cuts():
        yield cut, cut.part


def test_parts_of_a_product_have_whole_tiles_and_together_all_rows() -> None:
    gemm = Gemm(Rows(1, 197, 0, 768, ((0, 192),)), 100, bias=True)
    (rows, by_row), (columns, by_column) = cuts_of(gemm)
    assert (rows.units, columns.units) == (50, 13)
    parts = [by_row(0, 25), by_row(25, 50)]
    assert [p.kernel.rows.count for p in parts] == [100, 97]
    assert parts[1].moves == {"left": 100 * 768, "out": 100 * 400}
    parts = [by_column(0, 6), by_column(6, 13)]
    assert [(p.kernel.width, p.kernel.stride) for p in parts] == [(48, 400), (52, 400)]
    assert parts[1].moves == {"right": 4 * 48 * 192, "bias": 4 * 48, "out": 4 * 48}
