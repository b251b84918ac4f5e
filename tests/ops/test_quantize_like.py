"""Models of which most layers are those of the version before: these keep their bytes, and the rest stays as exact."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import littoral
from littoral.artifact import Model
from littoral.compiler.driver import compile_model
from littoral.compiler.quantize.fit_files import read_fit
from littoral.compiler.quantize.former import encode_fit
from littoral.errors import InputError, NotFoundError
from littoral.updates.blocks import BlockList
from onnx_models import Network

SIDE, LAYERS, WIDE = 8, 10, 256


def network(seed: int = 0, more: bool = False) -> bytes:
    """Convolutions, one of each channel, then dense layers. more: one layer in the middle that others do not have."""
    made = Network((1, 8, SIDE, SIDE), seed)
    made.conv(32, pads=[1, 1, 1, 1])
    made.node("Relu", made.at)
    made.conv(32, pads=[1, 1, 1, 1], groups=32)
    made.node("Relu", made.at)
    made.node("GlobalAveragePool", made.at)
    made.node("Flatten", made.at)
    for layer in range(LAYERS):
        made.dense(WIDE)
        made.channels = WIDE
        made.node("Relu", made.at)
        if more and layer == LAYERS // 2:
            made.node("Sigmoid", made.at)
    made.dense(10)
    return made.bytes()


def feeds(count: int = 24, scale: float = 1.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [{"x": (scale * rng.standard_normal((1, 8, SIDE, SIDE))).astype(np.float32)} for _ in range(count)]


def changed(source: bytes, at: int, by: float = 0.1, times: float = 1.0) -> bytes:
    """The same with other weights in its tensor number `at` of those with several dimensions."""
    model = onnx.load_from_string(source)
    tensor = [one for one in model.graph.initializer if len(one.dims) > 1][at]
    weights = numpy_helper.to_array(tensor)
    noise = np.random.default_rng(3).standard_normal(weights.shape).astype(np.float32)
    moved = np.float32(times) * (weights + np.float32(by) * weights.std() * noise)
    tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    return bytes(model.SerializeToString())


def quantised(source: bytes, **options: Any) -> Model:
    return compile_model(source, int8=littoral.Int8(feeds(), **options))


def fetched(before: Model, after: Model) -> float:
    """The share of its bytes that whoever has the model before has not."""
    there = set(BlockList.of(before.wasm).blocks)
    return sum(b.length for b in BlockList.of(after.wasm).blocks if b not in there) / len(after.wasm)


def turned(source: bytes, model: Model) -> float:
    """1 − cosine of the outputs to float32's, mean."""
    with littoral.load(compile_model(source)) as exact, littoral.load(model) as whole:
        pairs = [[next(iter(s.run(f).values())).ravel().astype(np.float64) for s in (exact, whole)] for f in feeds(8)]
    return float(np.mean([1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Model, Path]:
    source, fit = network(), tmp_path_factory.mktemp("fits") / "before.fit"
    return source, quantised(source, fit=fit), fit


def about(model: Model) -> dict[str, Any]:
    assert model.manifest.int8 is not None
    return model.manifest.int8


def test_the_same_model_keeps_all(before: tuple[bytes, Model, Path], tmp_path: Path) -> None:
    source, model, fit = before
    again = quantised(source, like=fit, fit=tmp_path / "again.fit")
    assert about(again)["kept"] == LAYERS + 3
    assert about(again)["report"]["cosine"] == about(model)["report"]["cosine"]
    assert {layer["reason"] for layer in about(again)["report"]["layers"]} == {
        "as in the model before, whose weights it has"
    }
    assert read_fit(tmp_path / "again.fit").layers == read_fit(fit).layers
    assert "kept" not in about(model)


@pytest.mark.parametrize("at", [0, 1, 2, LAYERS // 2, LAYERS + 2])
def test_one_layer_that_is_trained_on_is_fitted_anew_alone(
    before: tuple[bytes, Model, Path], tmp_path: Path, at: int
) -> None:
    source, model, fit = before
    other = changed(source, at)
    like, anew = quantised(other, like=fit, fit=tmp_path / "like.fit"), quantised(other)
    were, are = read_fit(fit).layers, read_fit(tmp_path / "like.fit").layers
    assert were.keys() == are.keys()
    assert [i for i, node in enumerate(sorted(are)) if are[node].weights != were[node].weights] == [at]
    assert about(like)["kept"] == LAYERS + 2
    assert fetched(model, like) < 0.2
    assert at > 2 or fetched(model, anew) > 0.5
    assert turned(other, like) <= 1.25 * turned(other, anew) + 1e-3


def test_ranges_that_no_longer_hold_are_found_anew(before: tuple[bytes, Model, Path], tmp_path: Path) -> None:
    source, _, fit = before
    other = changed(source, 4, times=8.0)
    like, anew = quantised(other, like=fit, fit=tmp_path / "like.fit"), quantised(other)
    were, are = ({(at, i): value.scheme for at, i, value in read_fit(f).values} for f in (fit, tmp_path / "like.fit"))
    assert 0 < sum(were[key] != are[key] for key in were) < len(were)
    assert turned(other, like) <= 1.25 * turned(other, anew) + 1e-3


def test_what_loses_more_than_a_fit_of_its_own_is_not_kept(before: tuple[bytes, Model, Path], tmp_path: Path) -> None:
    """The file says that the model before lost nothing, and has weights that are wrong."""
    source, _, fit = before
    false = read_fit(fit)
    false.lost = 0.0
    for layer in false.layers.values():
        layer.weights = layer.weights[::-1]
    (tmp_path / "false.fit").write_bytes(encode_fit(false))
    found, anew = quantised(source, like=tmp_path / "false.fit"), quantised(source)
    assert about(found)["kept"] == 0
    assert turned(source, found) == turned(source, anew)


def test_layers_behind_one_that_was_put_in_are_found_again(before: tuple[bytes, Model, Path]) -> None:
    _, _, fit = before
    other = network(more=True)
    like = quantised(other, like=fit)
    assert about(like)["kept"] > LAYERS // 2
    assert turned(other, like) <= 1.25 * turned(other, quantised(other)) + 1e-3


def test_another_network_and_other_bits_keep_nothing(before: tuple[bytes, Model, Path]) -> None:
    source, _, fit = before
    assert about(quantised(network(seed=1), like=fit))["kept"] == 0
    assert "kept" not in about(quantised(source, like=fit, bits=7))


def test_rows_with_scales_of_their_own_keep_theirs(tmp_path: Path) -> None:
    """Inputs of which few numbers are very large: rows of what products read get scales when the model runs."""
    made = Network((1, 64), 2)
    for _ in range(4):
        made.dense(64)
        made.node("Exp", made.at)
        made.node("LpNormalization", made.at, axis=1, p=1)
    made.dense(8)
    source = made.bytes()
    given = [{"x": np.random.default_rng(i).standard_normal((1, 64)).astype(np.float32)} for i in range(12)]
    model = compile_model(source, int8=littoral.Int8(given, fit=tmp_path / "a.fit"))
    again = compile_model(source, int8=littoral.Int8(given, like=tmp_path / "a.fit"))
    assert about(again)["kept"] == len(read_fit(tmp_path / "a.fit").layers) > 0
    assert about(again).get("by_row") == about(model).get("by_row")
    assert about(again)["report"]["cosine"] == about(model)["report"]["cosine"]


def test_maps_that_become_tables_keep_theirs(tmp_path: Path) -> None:
    """What such a map reads has as many levels as its table, not those of a range that is found for it."""
    made = Network((1, 8, SIDE, SIDE), 4)
    for _ in range(3):
        made.conv(16, pads=[1, 1, 1, 1])
        before = made.at
        made.node("Sigmoid", before)
        made.node("Mul", before, made.at)
    made.node("GlobalAveragePool", made.at)
    source = made.bytes()
    quantised(source, fit=tmp_path / "a.fit")
    like = quantised(source, like=tmp_path / "a.fit", fit=tmp_path / "b.fit")
    one, other = read_fit(tmp_path / "a.fit"), read_fit(tmp_path / "b.fit")
    assert any(value.scheme is not None and value.scheme[4] not in (127, 255) for _, _, value in one.values)
    assert (one.values, one.layers) == (other.values, other.layers)
    assert about(like)["kept"] == len(one.layers)


def test_values_next_to_nothing_are_held(tmp_path: Path) -> None:
    """Numbers so small that their range cannot be parted in float32, and inputs that do not vary."""
    made = Network((1, 8, SIDE, SIDE), 4)
    made.conv(8, pads=[1, 1, 1, 1])
    made.node("Mul", made.at, made.weight(np.float32(1e-36)))
    made.node("Mul", made.at, made.weight(np.float32(1e-5)))
    made.conv(8, pads=[1, 1, 1, 1])
    found = quantised(made.bytes(), ranges="entropy")
    with littoral.load(found) as session:
        assert np.isfinite(next(iter(session.run(feeds(1)[0]).values()))).all()


def test_what_is_no_fit_is_refused(before: tuple[bytes, Model, Path], tmp_path: Path) -> None:
    source, _, fit = before
    with pytest.raises(NotFoundError, match="No such file"):
        quantised(source, like=tmp_path / "none.fit")
    wrong = tmp_path / "wrong.fit"
    data = fit.read_bytes()
    for broken in (b"", b"\x00" * 40, data[:-7], data.replace(b"littoral-fit-1", b"littoral-fit-9")):
        wrong.write_bytes(broken)
        with pytest.raises(InputError, match=r"fit `.*wrong.fit`"):
            quantised(source, like=wrong)
    odd = read_fit(fit)
    next(iter(odd.layers.values())).scale = np.full(3, np.nan, "<f4").tobytes()
    wrong.write_bytes(encode_fit(odd))
    with pytest.raises(InputError, match="no numbers"):
        quantised(source, like=wrong)
    with pytest.raises(InputError, match="can be written"):
        quantised(source, fit=tmp_path / "nowhere" / "a.fit")
