"""`littoral run` and `littoral bench`."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from onnx import parser

import littoral
from command import littoral as cli
from onnx_models import single, squeeze_excite
from sentence_folders import write_folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.wasm"
    littoral.compile(squeeze_excite(16), name="small").save(path)
    return path


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    path = tmp_path / "adder.onnx"
    path.write_bytes(single("Add", {"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)}))
    return path


def test_a_model_runs_on_arrays_from_files(adder: Path, tmp_path: Path) -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 0.5, np.float32)
    np.save(tmp_path / "a.npy", a)
    np.savez(tmp_path / "rest.npz", b=b)
    done = cli("run", adder, "-i", f"a={tmp_path / 'a.npy'}", "-i", tmp_path / "rest.npz", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.out.startswith("y0  float32[2, 3]  0.5 … 5.5, mean 3\ntrusted engine, loaded in ")
    with np.load(tmp_path / "out" / "outputs.npz") as saved:
        assert np.array_equal(saved["y0"], a + b)


def test_the_report_of_a_run_is_a_contract(model: Path) -> None:
    report = cli("run", model, "--random", "--json").json
    assert report.keys() == {"name", "engine", "threads", "load_ms", "run_ms", "outputs", "saved"}
    (output,) = report["outputs"].values()
    assert output.keys() == {"dtype", "shape", "min", "mean", "max", "not_finite"}
    assert (report["name"], report["engine"], output["shape"]) == ("small", "trusted", [1, 5])
    assert cli("run", model, "--random", "--json").json["outputs"] == report["outputs"]
    assert cli("run", model, "--random", "--seed", 1, "--json").json["outputs"] != report["outputs"]


def test_a_benchmark_tells_what_it_measured(model: Path) -> None:
    report = cli("bench", model, "-n", 5, "--layers", "--json").json
    assert report["iterations"] == 5
    assert 0 < report["min_ms"] <= report["p50_ms"] <= report["p95_ms"]
    assert report["gflops"] == pytest.approx(2 * report["macs"] / report["p50_ms"] / 1e6)
    assert sum(layer["share"] for layer in report["layers"]) == pytest.approx(1)
    assert report["load_ms"] > 0
    table = cli("bench", model, "-n", 5, "--layers")
    assert table.code == 0
    assert "5 calls, one thread, trusted engine" in table.out
    assert len(table.out.splitlines()) == 5 + len(report["layers"])


def test_a_compiled_model_is_not_timed_by_layer_and_says_so(model: Path) -> None:
    report = cli("bench", model, "-n", 2, "--layers", "--json").json
    assert report["layers_note"].startswith("a compiled model runs as a whole")
    assert {row["time_ms"] for row in report["layers"]} == {None}
    assert report["layers_note"] in cli("bench", model, "-n", 2, "--layers").out


def test_an_onnx_model_is_timed_layer_by_layer(tmp_path: Path) -> None:
    source = tmp_path / "small.onnx"
    source.write_bytes(squeeze_excite(16))
    report = cli("bench", source, "-n", 5, "--layers", "--svg", tmp_path / "small.svg", "--json").json
    assert report["layers_note"] is None
    assert min(report["limit_gflops"], report["layers_whole_ms"]) > 0
    assert report["layers_ms"] == pytest.approx(sum(row["time_ms"] for row in report["layers"]))
    for share in ("share", "time_share"):
        assert sum(row[share] for row in report["layers"]) == pytest.approx(1)
    assert {row["tile"] for row in report["layers"] if row["kernel"] == "depthwise"} == {"1×7×4"}
    chart = ET.parse(tmp_path / "small.svg").getroot()
    assert sum(1 for group in chart.iter("{http://www.w3.org/2000/svg}g")) == len(report["layers"])
    table = cli("bench", source, "-n", 5, "--layers")
    assert table.code == 0, table.err
    assert len(table.out.splitlines()) == 6 + len(report["layers"])


def test_layers_in_integers_are_held_against_products_of_bytes(tmp_path: Path) -> None:
    source, feeds = tmp_path / "small.onnx", tmp_path / "feeds.npz"
    source.write_bytes(squeeze_excite(16))
    np.savez(feeds, x=np.random.default_rng(0).normal(size=(4, 1, 3, 16, 16)).astype("f4"))
    asked = ("bench", source, "-n", 3, "--layers", "--int8", feeds)
    report = cli(*asked, "--json").json
    assert min(report["limits_gops"].values()) > 0
    for row in report["layers"]:
        limit = report["limits_gops"].get(row["products"], report["limit_gflops"])
        assert row["gflops"] is None or row["limit_share"] == pytest.approx(row["gflops"] / limit)
    assert {row["products"] for row in report["layers"] if row["macs"]} >= {"pairs"}
    assert ", pairs " in cli(*asked).out


def test_an_onnx_model_is_compiled_first(adder: Path) -> None:
    assert cli("bench", adder, "-n", 2, "--json").json["macs"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "MODEL"], 4, "needs either `--input` or `--random`"),
        (["run", "MODEL", "--random", "-i", "x.npy"], 4, "needs either `--input` or `--random`"),
        (["run", "MODEL", "-i", "missing.npy"], 4, "`missing.npy`: No such file or directory"),
        (["run", "MODEL", "-i", "MODEL"], 4, "no .npy or .npz file of plain arrays"),
        (["run", "MODEL", "-i", "y=wrong.npy"], 4, "input `x` is missing"),
        (["run", "MODEL", "-i", "wrong.npy"], 4, "shape [2], expected [1, 3, 16, 16]"),
        (["run", "ADDER", "-i", "wrong.npy"], 4, "name the input, one of a, b: NAME=FILE"),
        (["run", "MODEL", "--random", "--shape", "x=1"], 4, "`--shape` has no meaning for a compiled model"),
        (["run", "MODEL", "--random", "-o", "wrong.npy"], 5, "`wrong.npy/outputs.npz`: "),
        (["run", "missing.wasm", "--random"], 4, "model `missing.wasm`: No such file or directory"),
        (["run", "wrong.npy", "--random"], 3, ""),
        (["bench", "wrong.npy"], 3, ""),
        (["bench", "MODEL", "-n", "0"], 2, "--iterations"),
        (["bench", "MODEL", "-n", "1", "--svg", "a.svg"], 4, "`--svg a.svg`: a compiled model runs as a whole"),
        (["bench", "ADDER", "-n", "1", "--svg", "no/a.svg"], 5, "`no/a.svg`: No such file or directory"),
        (["bench"], 2, "Usage: littoral bench"),
        (["brench"], 2, "brench"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], code: int, message: str, model: Path, adder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros(2, np.float32))
    names = {"MODEL": model.name, "ADDER": adder.name}
    done = cli(*(names.get(a, a) for a in arguments), folder=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_model_is_built_for_several_threads(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(squeeze_excite(32))
    assert cli("build", path, "--threads", 2, "--json").json["threads"] == 2
    team, alone = (cli("run", source, "--random", "--json").json for source in (path.with_suffix(".wasm"), path))
    assert (team["engine"], team["threads"], alone["threads"]) == ("threaded", 2, 1)
    assert team["outputs"] == alone["outputs"]
    assert "5 calls, 2 threads, threaded engine" in cli("bench", path, "--threads", 2, "-n", 5).out
    done = cli("run", path.with_suffix(".wasm"), "--random", "--threads", 2)
    assert (done.code, "has no meaning for a compiled model" in done.err) == (4, True)


def test_a_sentence_encoder_is_built_from_its_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tiny-v1.5")
    report = cli("build", folder, "--variant", "input_ids=1,4", "--variant", "input_ids=1,8", "--json").json
    assert report["path"] == str(tmp_path / "tiny-v1.5.wasm")
    assert report["inputs"] == ["`input_ids` int64[1, ?]", "`attention_mask` int64[1, ?]"]
    assert report["variants"] == [{"tokens": 4}, {"tokens": 8}]
    assert cli("run", folder, "--random", "--json").json["name"] == "tiny-v1.5"
    assert "encoder.layer.1.output.dense" in cli("explain", folder).out


def test_a_folder_that_is_no_sentence_encoder_says_so(tmp_path: Path) -> None:
    done = cli("build", tmp_path)
    assert done.code != 0
    assert "config.json" in done.err
    assert "sentence-transformers folder" in done.err


def test_what_a_variant_may_be_padded_with_is_told(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    text = '<ir_version: 9, opset_import: ["": 18]> g (float[batch, n] x) => (float[batch, n] y) { y = Softmax(x) }'
    path.write_bytes(parser.parse_model(text).SerializeToString())
    shapes = ("--variant", "x=1,8", "--variant", "x=4,16")
    done = cli("build", path, *shapes, "--pad", "n.x=-1000", "--json")
    assert done.json["axes"] == {"batch": {"pad": "repeat", "split": True}, "n": {"pad": {"x": -1000}, "split": False}}
    assert "batch   padded with repeat or split" in cli("build", path, *shapes).out
    np.save(tmp_path / "x.npy", np.ones((3, 5), np.float32))
    cli("build", path, *shapes, "--pad", "n=-1000")
    ran = cli("run", path.with_suffix(".wasm"), "-i", tmp_path / "x.npy", "--json").json["outputs"]["y"]
    assert (ran["shape"], ran["min"]) == ([3, 5], pytest.approx(0.2))
    assert cli("build", path, "--pad", "n=x").code == 4


def test_a_model_is_built_in_integers(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(squeeze_excite(16))
    (shape,) = [v.shape for v in littoral.compile(source).manifest.variants[0].inputs]
    feeds = np.random.default_rng(0).normal(size=(4, *shape)).astype("f4")
    np.savez(tmp_path / "feeds.npz", x=feeds)
    (tmp_path / "folder").mkdir()
    for i, feed in enumerate(feeds):
        np.save(tmp_path / "folder" / f"{i}.npy", feed)
    for given, name in (("feeds.npz", "a.wasm"), ("folder", "b.wasm")):
        done = cli("build", source, "--int8", tmp_path / given, "--int8-bits", "7", "-o", tmp_path / name)
        assert done.code == 0, done.err
    assert (tmp_path / "a.wasm").read_bytes() == (tmp_path / "b.wasm").read_bytes()
    fits = ("--like", tmp_path / "a.fit", "--fit", tmp_path / "b.fit")
    kept = ("build", source, "--int8", tmp_path / "folder", "--int8-bits", "7", "-o", tmp_path / "b.wasm")
    assert cli(*kept, "--fit", tmp_path / "a.fit").code == 0
    assert (tmp_path / "a.wasm").read_bytes() == (tmp_path / "b.wasm").read_bytes()
    assert cli(*kept, *fits).code == 0
    assert littoral.Model.open(tmp_path / "b.wasm").manifest.int8["kept"] > 0  # type: ignore[index]
    assert (tmp_path / "b.fit").exists()
    (tmp_path / "a.fit").write_bytes(b"no fit")
    done = cli(*kept, *fits)
    assert (done.code, "not a fit that `littoral build` has written" in done.err.replace("\n", " ")) == (4, True)
    assert cli("build", source, "--fit", tmp_path / "c.fit").code == 4
    (tmp_path / "feeds.npz").write_bytes(b"no archive")
    for given, said in (("feeds.npz", "no .npz or .npy file"), ("nowhere", "No such file"), ("empty", "0 files")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        done = cli("build", source, "--int8", tmp_path / given)
        assert done.code != 0
        assert said in done.err.replace("\n", " ")
