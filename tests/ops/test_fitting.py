"""Shapes that no variant has: padded and split where items are proven or declared not to meet, else refused."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import numpy_helper, parser

import littoral
from littoral.artifact import Axis, Manifest
from littoral.compiler.driver import compile_model, planned
from littoral.errors import ArtifactError, InputError, ShapeError
from littoral.runtime.fitting import RUNS_MAX, Fitting
from sentence_folders import write_folder

RNG = np.random.default_rng(11)
HEAD = '<ir_version: 9, opset_import: ["": 18]>'
CONV = """g (float[batch, 3, 12, 12] x, float[8, 3, 3, 3] w, float[8] b, float[8, 5] v) => (float[batch, 5] y) {
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(c)  p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
    s = GlobalAveragePool(p)  f = Flatten(s)  y = MatMul(f, v) }"""
ATTENTION = """g (float[batch, 6, 8] x, float[8, 8] w, float[1, 6, 8] places)
    => (float[batch, 6, 8] y, float[rows, 8] flat)
    <int64[4] heads = {0, 6, 2, 4}, int64[3] joined = {0, 6, 8}, int64[2] rows_of = {-1, 8}, int64[1] last = {-1}> {
    n = Add(x, places)  q = MatMul(n, w)  h = Reshape(q, heads)
    a = Transpose<perm = [0, 2, 1, 3]>(h)  b = Transpose<perm = [0, 2, 3, 1]>(h)
    s = MatMul(a, b)  p = Softmax<axis = -1>(s)  o = MatMul(p, a)  t = Transpose<perm = [0, 2, 1, 3]>(o)
    j = Reshape(t, joined)  m = ReduceMean(j, last)  y = Sub(j, m)  flat = Reshape(y, rows_of) }"""
WORDS = """g (int64[batch, tokens] ids, float[20, 4] table) => (float[batch, 4] y) <int64[1] along = {1}> {
    e = Gather(table, ids)  y = ReduceSum<keepdims = 0>(e, along) }"""
APART = {"conv": (CONV, (3, 12, 12)), "attention": (ATTENTION, (6, 8))}
MIXED = {
    "mean over the batch": "m = ReduceMean(x, zero)  y = Sub(x, m)",
    "softmax along the batch": "y = Softmax<axis = 0>(x)",
    "running sums": "y = CumSum(x, first)",
    "products of all pairs": "t = Transpose(x)  p = MatMul(x, t)  y = MatMul(p, x)",
    "divided by the size": "s = Shape<end = 1>(x)  f = Cast<to = 1>(s)  y = Div(x, f)",
    "the first of all": "f = Gather(x, first)  y = Sub(x, f)",
    "in reverse": "y = Slice(x, minus, far, zero, minus)",
    "rows into columns": "r = Reshape(x, turned)  t = Transpose(r)  y = Reshape(t, back)",
}


def model(text: str) -> bytes:
    """Parameters behind the first input get weights."""
    parsed = parser.parse_model(f"{HEAD} {text}")
    for value in list(parsed.graph.input)[1:]:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        weights = np.random.default_rng(1).normal(0, 0.5, dims).astype(np.float32)
        parsed.graph.initializer.append(numpy_helper.from_array(weights, value.name))
        parsed.graph.input.remove(value)
    return bytes(parsed.SerializeToString())


def mixing(body: str) -> bytes:
    constants = "int64[1] zero = {0}, int64 first = {0}, int64[1] minus = {-1}, int64[1] far = {-100}"
    shapes = "int64[2] turned = {4, -1}, int64[2] back = {-1, 4}"
    return model(f"g (float[batch, 4] x) => (float[n, 4] y) <{constants}, {shapes}> {{ {body} }}")


def batches(rest: tuple[int, ...], *sizes: int, name: str = "x") -> list[dict[str, Any]]:
    return [{name: (size, *rest)} for size in sizes]


@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("sizes", [(1, 4), (3,), (2, 8)])
def test_any_batch_gives_what_its_items_give_alone(name: str, sizes: tuple[int, ...]) -> None:
    text, rest = APART[name]
    alone = compile_model(model(text), shapes={"x": (1, *rest)})
    with littoral.load(alone) as one, littoral.load(compile_model(model(text), variants=batches(rest, *sizes))) as many:
        for batch in (1, 2, 3, 5, 7, 9):
            x = RNG.normal(size=(batch, *rest)).astype(np.float32)
            found, wanted = many.run({"x": x}), [one.run({"x": item[None]}) for item in x]
            for key, array in found.items():
                assert np.allclose(array, np.concatenate([w[key] for w in wanted]), rtol=0, atol=2e-6)
                assert array.flags.owndata or array.base is not None
        assert many.statistics().runs == 6


@pytest.mark.parametrize("how", MIXED)
def test_items_that_meet_are_neither_padded_nor_split(how: str) -> None:
    source = mixing(MIXED[how])
    found = planned(source, variants=batches((4,), 2, 4))
    assert found.axes == {}
    assert found.refused["batch"]
    with littoral.load(compile_model(source, variants=batches((4,), 2, 4))) as session:
        assert session.run({"x": np.ones((4, 4), np.float32)})["y"].shape == (4, 4)
        with pytest.raises(InputError, match=r"shape \[3, 4\], expected \[2, 4\] or \[4, 4\]"):
            session.run({"x": np.ones((3, 4), np.float32)})


def test_the_reason_names_the_node() -> None:
    refused = planned(mixing(MIXED["softmax along the batch"]), variants=batches((4,), 2, 4)).refused
    assert "along the items" in refused["batch"]


def test_a_declared_rule_pads_what_is_not_proven() -> None:
    variants = [{"ids": (batch, tokens)} for batch in (1, 4) for tokens in (4, 8)]
    rules = {"tokens": {"pad": {"ids": 19}}}
    table = np.random.default_rng(1).normal(0, 0.5, (20, 4)).astype(np.float32)
    built = compile_model(model(WORDS), variants=variants, axes=rules)
    assert built.manifest.axes["tokens"] == Axis({"ids": 1}, {}, {"ids": 19})
    assert built.manifest.axes["batch"] == Axis({"ids": 0}, {"y": 0}, "repeat", split=True)
    with littoral.load(built) as session:
        ids = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 14, 15]])
        y = session.run({"ids": ids})["y"]
        assert np.allclose(y, table[ids].sum(1) + table[19], atol=1e-6)
        with pytest.raises(InputError, match="tokens: 1 to 8, padded to 4, 8") as refused:
            session.run({"ids": np.zeros((1, 9), np.int64)})
        assert "batch: any size from 1, by runs of 1, 4" in str(refused.value)
        with pytest.raises(InputError):
            session.run({"ids": np.zeros((0, 4), np.int64)})


def test_an_output_with_the_declared_dimension_is_cut() -> None:
    text = "g (float[n] x) => (float[n] y) { y = Neg(x) }"
    with littoral.load(compile_model(model(text), variants=batches((), 4, 16), axes={"n": {"pad": 7}})) as session:
        assert np.array_equal(session.run({"x": np.arange(5, dtype=np.float32)})["y"], -np.arange(5))


def test_a_rule_can_forbid_what_would_be_proven() -> None:
    built = compile_model(model(CONV), variants=batches((3, 12, 12), 1, 4), axes={"batch": {}})
    with littoral.load(built) as session, pytest.raises(InputError, match="batch: 1, 4"):
        session.run({"x": np.zeros((3, 3, 12, 12), np.float32)})


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"depth": {"pad": 0}}, "no dimension of the inputs is called `depth`"),
        ({"batch": {"fill": 0}}, "unknown key `fill`, can be: pad, split, trim"),
        ({"batch": {"pad": "mirror"}}, "`pad` is `'mirror'`"),
        ({"batch": {"pad": {"y": 0}}}, "a value for each of x"),
        ({"batch": {"pad": 0, "trim": {"y": 1}}}, "output `y` has not the sizes"),
        ({"batch": {"split": True, "trim": {}}}, "output `y` cannot be split"),
    ],
)
def test_rules_that_say_nothing_are_refused(axes: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        compile_model(model(CONV), variants=batches((3, 12, 12), 1, 4), axes=axes)


def test_sentences_are_padded_exactly(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "encoder")
    variants = [{"input_ids": shape} for shape in ((1, 8), (4, 8), (1, 16))]
    with littoral.load(compile_model(folder, variants=variants)) as session:
        for batch, tokens in ((1, 5), (1, 11), (3, 6), (6, 8), (2, 12)):
            ids = RNG.integers(1, 50, (batch, tokens))
            mask = (np.arange(tokens) < RNG.integers(1, tokens + 1, (batch, 1))).astype(np.int64)
            feeds = {"input_ids": ids, "attention_mask": mask}
            with littoral.load(compile_model(folder, shapes={"input_ids": ids.shape})) as exact:
                assert np.allclose(session.run(feeds)["embedding"], exact.run(feeds)["embedding"], rtol=0, atol=1e-6)


def spans(sizes: tuple[int, ...], count: int, axis: Axis | None = None) -> list[tuple[int, int]]:
    manifest = compile_model(model(APART["conv"][0]), variants=batches((3, 12, 12), *sizes)).manifest
    if axis is not None:
        manifest = msgspec.structs.replace(manifest, axes={"batch": axis})
    runs = Fitting(manifest).runs(((count, 3, 12, 12),))
    return [] if runs is None else [(run.spans["batch"].taken, run.spans["batch"].size) for run in runs]


def test_the_smallest_variant_that_holds_the_rest_runs_unless_more_than_half_would_be_empty() -> None:
    assert spans((1, 4, 16), 13) == [(13, 16)]
    assert spans((1, 4, 16), 5) == [(4, 4), (1, 1)]
    assert spans((1, 4, 16), 35) == [(16, 16), (16, 16), (3, 4)]
    assert spans((8,), 1) == [(1, 8)]
    assert spans((8,), 8 * RUNS_MAX) == [(8, 8)] * RUNS_MAX
    assert spans((8,), 8 * RUNS_MAX + 1) == []


def test_without_padding_runs_are_full() -> None:
    only_split = Axis({"x": 0}, {"y": 0}, None, split=True)
    assert spans((2, 8), 12, only_split) == [(8, 8), (2, 2), (2, 2)]
    assert spans((2, 8), 5, only_split) == []
    only_padded = Axis({"x": 0}, {"y": 0}, "repeat")
    assert spans((2, 8), 5, only_padded) == [(5, 8)]
    assert spans((2, 8), 9, only_padded) == []


@pytest.mark.parametrize(
    "axis",
    [
        Axis({}, {}),
        Axis({"z": 0}, {}),
        Axis({"x": 4}, {}),
        Axis({"x": 1}, {}),
        Axis({"x": 0}, {"y": 1}),
        Axis({"x": 0}, {}, {"y": 0}),
    ],
)
def test_a_manifest_that_lies_about_its_axes_is_refused(axis: Axis) -> None:
    manifest = compile_model(model(APART["conv"][0]), variants=batches((3, 12, 12), 2, 3)).manifest
    with pytest.raises(ArtifactError, match=r"axes\.batch"):
        Manifest.decode(msgspec.structs.replace(manifest, axes={"batch": axis}).encode())
