"""Pipelines that models bring along: written by `littoral build --preprocess`, made by a node, refused where wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import littoral
from command import littoral as cli
from littoral.artifact import Model, Store
from littoral.artifact.preprocess import read_preprocess
from littoral.errors import ArtifactError, SettingError
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import check_site, open_node
from onnx_models import squeeze_excite
from page_pictures import page_pictures

IMAGE = {"agent": "builtin:image", "config": {"width": 32, "height": 32}}
LABELS = ["a", "b", "c", "d", "e"]
SITE = """
[node]
listen = "127.0.0.1:0"

[models.kinds]
path = "kinds.wasm"
"""


def write_site(folder: Path, preprocess: Any, text: str = SITE, labels: list[str] | None = LABELS) -> Path:
    model = littoral.compile(squeeze_excite(32), name="kinds", preprocess=preprocess, labels=labels)
    Store().record(model.digest)
    model.save(folder / "kinds.wasm")
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


def pipelines(
    folder: Path, preprocess: Any, text: str = SITE, labels: list[str] | None = LABELS
) -> dict[str, list[str]]:
    served = check_site(read_site(write_site(folder, preprocess, text, labels)))
    return {name: [f"{step.kind} {step.uses}" for step in pipeline.steps] for name, pipeline in served.items()}


async def test_a_model_brings_its_pipeline(tmp_path: Path) -> None:
    then = [{"step": "softmax"}, {"step": "top_k", "k": 2}]
    site = read_site(write_site(tmp_path, IMAGE | {"then": then}))
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            answer = await node.pipelines["kinds"].pipeline.run(page_pictures()[0].data)
            assert set(node.agents) == {"kinds.preprocess"}
    hits = list(answer.value)
    assert [hit["payload"]["label"] in LABELS for hit in hits] == [True, True]
    assert hits[0]["score"] >= hits[1]["score"]


def test_its_steps_are_those_of_the_manifest(tmp_path: Path) -> None:
    assert pipelines(tmp_path, IMAGE) == {"kinds": ["agent kinds.preprocess", "model kinds"]}
    own = SITE + '[agents.decode]\npath = "builtin:image"\nconfig = { width = 32, height = 32 }\n'
    assert pipelines(tmp_path, {"agent": "decode", "then": [{"step": "normalize"}]}, own) == {
        "kinds": ["agent decode", "model kinds", "step normalize"]
    }
    assert pipelines(tmp_path, {"lower": True}) == pipelines(tmp_path, None) == {}


def test_the_site_file_comes_first(tmp_path: Path) -> None:
    assert pipelines(tmp_path, IMAGE, f"{SITE}pipeline = false\n") == {}
    own = f'{SITE}[pipelines.kinds]\nsteps = [{{ model = "kinds" }}]\n'
    assert pipelines(tmp_path, IMAGE, own) == {"kinds": ["model kinds"]}


def test_without_class_names_there_are_numbers(tmp_path: Path) -> None:
    found = pipelines(tmp_path, IMAGE | {"then": [{"step": "top_k"}]}, labels=None)
    assert found["kinds"][-1] == "step top_k"


@pytest.mark.parametrize(
    ("preprocess", "why"),
    [
        ({"agent": "nobody"}, "`nobody`, must be an agent of this file"),
        ({"agent": "builtin:nobody"}, "built-in agent `nobody` is unknown"),
        ({"agent": 7}, "Expected `str`, got `int`"),
        (IMAGE | {"config": {"width": "wide"}}, "`width`"),
        (IMAGE | {"config": {"width": 31, "height": 32}}, "`kinds.preprocess` gives"),
        (IMAGE | {"take": "nothing"}, "no output `nothing`"),
        (IMAGE | {"then": [{"step": "dance"}]}, "`dance`"),
        (IMAGE | {"then": [{"step": "top_k", "m": 5}]}, "`preprocess.then[0].m` is unknown"),
        (IMAGE | {"then": [{"search": "frames"}]}, "`then` has a step of keys search, needs `step`"),
        ({"agent": "decode", "config": {"width": 1}}, "`config` goes with an agent `builtin:NAME`"),
    ],
)
def test_a_pipeline_that_cannot_be_stops_the_start(tmp_path: Path, preprocess: Any, why: str) -> None:
    with pytest.raises(Exception, match="kinds") as caught:
        pipelines(tmp_path, preprocess)
    assert why in str(caught.value)


def test_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="`pipeline = false` beside its path leaves the model's own pipeline out"):
        pipelines(tmp_path, IMAGE | {"then": [{}]})
    with pytest.raises(ArtifactError, match="needs `step`"):
        read_preprocess(IMAGE | {"then": [{}]})


def test_build_writes_it_and_checks_it_first(tmp_path: Path) -> None:
    onnx.save(squeeze_excite(32), tmp_path / "kinds.onnx")
    (tmp_path / "made.toml").write_text(
        'agent = "builtin:image"\nconfig = { width = 32, height = 32 }\nthen = [{ step = "normalize" }]\n'
    )
    done = cli("build", "kinds.onnx", "--preprocess", "made.toml", folder=tmp_path)
    assert done.code == 0, done.err
    assert "  pipeline builtin:image → kinds → normalize\n" in done.out
    found = read_preprocess(Model.open(tmp_path / "kinds.wasm").manifest.preprocess)
    assert found is not None
    assert (found.agent, found.config, found.then) == (IMAGE["agent"], IMAGE["config"], [{"step": "normalize"}])
    for option, why in [
        ('{"agent": "builtin:image", "config": {"width": 31}}', "`--preprocess`: "),
        ('{"agent": "builtin:image", "config": {"wdth": 31}}', "did you mean `width`?"),
        ('{"agent": "decode", "take": "x"}', "`--preprocess`: `take`: no output `x`, outputs: "),
        ('{"agent": "decode", "then": [{"step": "x"}]}', "`--preprocess`: `then`: no step `x`, there are: normalize"),
        ('{"agent": 7}', "`--preprocess`: `preprocess`: Expected `str`, got `int` - at `$.agent`"),
        ("[", "`--preprocess [`: "),
        ("{", "`--preprocess`: "),
        ("missing.json", "`--preprocess missing.json`: "),
    ]:
        refused = cli("build", "kinds.onnx", "--preprocess", option, folder=tmp_path)
        assert (refused.code, why in refused.err) == (4, True), refused.err


def test_other_words_of_the_field_are_kept(tmp_path: Path) -> None:
    model = littoral.compile(squeeze_excite(32), preprocess={**IMAGE, "resize": "bicubic"})
    assert model.manifest.preprocess == {**IMAGE, "resize": "bicubic"}
    assert np.dtype("float32") == model.manifest.variants[0].inputs[0].dtype
