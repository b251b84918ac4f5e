"""`littoral build --int8 --compare`, `littoral compare`, and what `littoral explain` shows of it."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from onnx import parser

import littoral
from command import littoral as cli
from littoral.artifact import Model, custom_section
from littoral.artifact.sections import with_custom_section
from littoral.errors import ArtifactError, InputError, TooLargeError
from littoral.quality.compare import compare, held_out
from littoral.quality.comparison import SECTION, Agreement, Comparison, Side, bare, comparison_of, with_comparison
from onnx_models import single, squeeze_excite
from pictures import jpeg, natural, png

SIZE = 16
FEEDS = 10
SITE = """
[agents.decode]
path = "builtin:image"
config = { width = 16, height = 16 }

[models.any]
path = "any.wasm"

[pipelines.embed]
steps = [{ agent = "decode" }, { model = "any" }]

[pipelines.other]
steps = [{ agent = "decode" }, { step = "normalize" }, { model = "any" }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, feeds for it, and pictures with a site file whose pipeline makes feeds of them."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "small.onnx").write_bytes(squeeze_excite(SIZE))
    feeds = np.random.default_rng(0).normal(size=(FEEDS, 3, SIZE, SIZE)).astype("f4")
    np.savez(folder / "feeds.npz", x=feeds)
    np.savez(folder / "more.npz", x=feeds[:3] * np.float32(0.9))
    (folder / "site.toml").write_text(SITE)
    (folder / "pictures").mkdir()
    for i in range(6):
        write = png if i % 2 else jpeg
        (folder / "pictures" / f"{i}").write_bytes(write(natural(40, 30, seed=i)))
    return folder


def build(folder: Path, *options: object) -> Any:
    done = cli("build", folder / "small.onnx", "--json", *options)
    assert done.code == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def compared(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = build(folder, "--int8", folder / "feeds.npz", "--compare", "-o", folder / "compared.wasm")
    return report


def test_the_report_tells_agreement_sizes_times_and_layers(compared: dict[str, Any]) -> None:
    found = compared["comparison"]
    assert found.keys() == {"format", "feeds", "exact", "other", "outputs", "layers", "layer_feeds"}
    assert (found["feeds"], found["layer_feeds"]) == (FEEDS // 5, 2)
    (output,) = found["outputs"]
    assert 0.98 < output["cosine_min"] <= output["cosine"] <= 1
    assert 0 < output["error"] < output["magnitude"] / 4
    assert output["top_1"] in (0, 0.5, 1)
    exact, other = found["exact"], found["other"]
    assert other["weights_bytes"] < exact["weights_bytes"]
    assert other["memory_bytes"] <= exact["memory_bytes"]
    assert min(exact["run_ms"], other["run_ms"]) > 0
    layers = found["layers"]
    assert {row["bits"] for row in layers} == {8}
    assert all(0 < row["error"] < 0.2 for row in layers)
    assert layers[0]["kind"] == "conv"


def test_without_the_section_the_file_is_what_any_build_gives(folder: Path, compared: dict[str, Any]) -> None:
    """Of the feeds that were not held out."""
    model = Model.open(folder / "compared.wasm")
    feeds = np.load(folder / "feeds.npz")["x"]
    kept, apart = held_out([{"x": x} for x in feeds])
    assert len(kept) == 8
    assert [np.array_equal(feed["x"], feeds[i]) for feed, i in zip(apart, (4, 9), strict=True)] == [True, True]
    plain = littoral.compile(folder / "small.onnx", int8=kept)
    assert bare(model) == plain
    assert bare(plain) == plain
    assert compared["comparison"]["other"]["sha256"] == plain.digest
    assert compared["sha256"] == model.digest != plain.digest
    with littoral.load(model) as session, littoral.load(plain) as same:
        feed = {"x": feeds[:1]}
        for mine, theirs in zip(session.run(feed).values(), same.run(feed).values(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_explain_shows_it_as_a_plot(folder: Path, compared: dict[str, Any]) -> None:
    chart = folder / "small.svg"
    done = cli("explain", folder / "compared.wasm", "--svg", chart)
    assert done.code == 0, done.err
    assert "cosine" in done.out
    assert "█" in done.out
    bars = [line for line in done.out.splitlines() if "8 bits" in line and "%" in line]
    decided = [line for line in done.out.splitlines() if "saves" in line]
    assert len(decided) == len(bars)
    assert [line.split()[-1] for line in bars] == [row["name"] for row in compared["comparison"]["layers"]]
    root = ET.parse(chart).getroot()
    assert len(root.findall(".//{*}g")) == len(bars)
    assert "prefers-color-scheme: dark" in chart.read_text()
    assert cli("explain", folder / "compared.wasm", "--comparison", "--json").json == compared["comparison"]
    only = cli("explain", folder / "compared.wasm", "--comparison")
    assert done.out.endswith(only.out)


def test_feeds_to_compare_on_may_be_others(folder: Path) -> None:
    report = build(folder, "--int8", folder / "feeds.npz", "--held-out", folder / "more.npz", "-o", folder / "o.wasm")
    assert report["comparison"]["feeds"] == 3
    assert Model.open(folder / "o.wasm").manifest.int8["feeds"] == FEEDS  # type: ignore[index]


def test_two_models_are_compared(folder: Path, compared: dict[str, Any]) -> None:
    build(folder, "-o", folder / "exact.wasm")
    feeds = ("--feeds", folder / "feeds.npz")
    found = cli("compare", folder / "exact.wasm", folder / "compared.wasm", *feeds, "--json").json
    assert (found["feeds"], found["layers"]) == (FEEDS, [])
    assert found["exact"]["sha256"] == compared["comparison"]["exact"]["sha256"]
    told = cli("compare", folder / "exact.wasm", folder / "exact.wasm", *feeds).out
    assert "  cosine 1.0000, least 1.0000  same largest element 100.0%  largest error 0 of" in told


def test_pictures_become_feeds_by_the_agents_of_a_pipeline(folder: Path) -> None:
    options = ("--int8", folder / "pictures", "--compare")
    report = build(folder, *options, "--through", f"{folder / 'site.toml'}:embed", "-o", folder / "p.wasm")
    assert report["comparison"]["feeds"] == 1
    for pipeline, said, code in (
        ("none", "no pipeline `none`; it has embed, other", 4),
        ("other", "begin with agents, then a model", 4),
    ):
        done = cli("build", folder / "small.onnx", *options, "--through", f"{folder / 'site.toml'}:{pipeline}")
        assert said in done.err
        assert done.code == code
    (folder / "broken").mkdir()
    (folder / "broken" / "no.jpg").write_bytes(b"no picture")
    done = cli(
        "build", folder / "small.onnx", "--int8", folder / "broken", "--through", f"{folder / 'site.toml'}:embed"
    )
    assert done.code == 4
    assert "no.jpg" in done.err


def test_what_cannot_be_compared_is_refused(folder: Path, tmp_path: Path) -> None:
    plain = cli("build", folder / "small.onnx", "--compare", "-o", tmp_path / "x.wasm")
    assert (plain.code, "go with `--int8`" in plain.err) == (4, True)
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 3, SIZE, SIZE), "f4"))
    few = cli("build", folder / "small.onnx", "--int8", tmp_path / "few.npz", "--compare", "-o", tmp_path / "x.wasm")
    assert (few.code, "too few to hold some out" in few.err) == (4, True)
    littoral.compile(single("Neg", {"x": np.zeros((2, 3), np.float32)})).save(tmp_path / "neg.wasm")
    silent = cli("explain", tmp_path / "neg.wasm", "--comparison")
    assert (silent.code, "holds no comparison" in silent.err) == (4, True)
    model = Model.open(tmp_path / "neg.wasm")
    few = cli("build", folder / "small.onnx", "--int8", folder / "feeds.npz", "--int8-bits", "5", "-o", tmp_path / "x")
    assert (few.code, "must be one of 8, 7, auto" in few.err) == (4, True)
    with pytest.raises(InputError, match="different inputs"):
        compare(model, littoral.compile(folder / "small.onnx"), [{"x": np.zeros((2, 3), "f4")}])
    with pytest.raises(InputError, match="no feeds"):
        compare(model, model, [])


def test_outputs_that_are_not_finite_are_left_out() -> None:
    """Of a square root and its absolute value: the same where both are finite."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x) => (float[1, 4] y) {{ y = {} (x) }}'
    a, b = (littoral.compile(parser.parse_model(text.format(kind)).SerializeToString()) for kind in ("Sqrt", "Abs"))
    found = compare(a, b, [{"": np.array([-1, 1, 1, 0], "f4")}, {"x": np.array([[0, 1, 0, 4]], "f4")}])
    (output,) = found.outputs
    assert (output.not_finite, output.error, output.magnitude) == (1, 2, 2)
    assert output.cosine_min == round(9 / np.sqrt(5 * 17), 6)


def test_a_file_may_say_anything() -> None:
    model = littoral.compile(single("Neg", {"x": np.zeros((2, 3), np.float32)}))
    assert comparison_of(model) is None
    for payload in (b"", b"{}", b"[" * 100_000, b'{"format":1', b"\xff", b" " * (1 << 19)):
        with pytest.raises(ArtifactError, match=SECTION):
            comparison_of(Model(with_custom_section(model.wasm, SECTION, payload)))
    side = Side("a", "0", 1, 1, 1, 1.0)
    output = Agreement("y", 1.0, 1.0, None, 0.0, 1.0)
    found = Comparison(feeds=1, exact=side, other=side, outputs=(output,))
    twice = with_comparison(with_comparison(model, found), found)
    assert comparison_of(twice) == found
    assert custom_section(twice.wasm, SECTION) is not None
    with pytest.raises(TooLargeError):
        with_comparison(model, Comparison(feeds=1, exact=side, other=side, outputs=(output,) * 10_000))
