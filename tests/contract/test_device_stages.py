"""`--for device`: which pipelines fit, what is refused and why, what is written; with models made in a moment."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import wasmtime
from onnx import TensorProto, helper, numpy_helper

from command import littoral as cli
from littoral.artifact import custom_section
from littoral.artifact.manifest import MODEL_SECTION
from littoral.bundle.device import plan_device
from littoral.bundle.footprint import bare, sizes, stack_bytes
from littoral.bundle.marking import marked
from littoral.bundle.plan import Options, Plan
from littoral.bundle.recipe import read_recipe
from littoral.compiler.driver import compile_model
from littoral.compiler.wasm import Target
from littoral.errors import ArtifactError, InputError
from littoral.node.site import read_site
from littoral.runtime.operations import executed

SITE = """
[node]
name = "pump"
listen = "127.0.0.1:0"

[models.first]
path = "first.wasm"

[models.second]
path = "second.wasm"

[models.wide]
path = "wide.wasm"

[collections.frames]
vectors = { size = 4, distance = "Cosine" }

[pipelines.watch]
steps = STEPS
"""


def dense(inputs: int, outputs: int, target: Target = "mvp", more: bool = False) -> bytes:
    """float32[1, inputs] to float32[1, outputs]; more: and a second output."""
    weights = np.random.default_rng(inputs).normal(size=(inputs, outputs)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), *([helper.make_node("Neg", ["y"], ["z"])] if more else [])]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, outputs]) for n in ("yz" if more else "y")]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])]
    graph = helper.make_graph(nodes, "dense", given, made, [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return compile_model(model, target=target, name="dense").wasm


def site(folder: Path, steps: str, target: Target = "mvp") -> Path:
    (folder / "first.wasm").write_bytes(dense(6, 5, target, more=True))
    (folder / "second.wasm").write_bytes(dense(5, 4))
    (folder / "wide.wasm").write_bytes(dense(70_000, 2))
    file = folder / "site.toml"
    file.write_text(SITE.replace("STEPS", steps))
    return file


def planned(folder: Path, steps: str, target: Target = "mvp") -> Plan:
    return plan_device(read_recipe(read_site(site(folder, steps, target)), "watch"), Options())


TWO = '[{ model = "first", take = "z" }, { model = "second" }]'


def test_models_one_behind_the_other(tmp_path: Path) -> None:
    """The answer is that of both, and each module is bare."""
    plan = planned(tmp_path, TWO)
    x = np.frombuffer(plan.files["known/input.bin"], np.float32)
    weights = [np.random.default_rng(n).normal(size=(n, n - 1)).astype(np.float32) for n in (6, 5)]
    got = np.frombuffer(plan.files["known/output.bin"], np.float32)
    np.testing.assert_allclose(got, -(x @ weights[0]) @ weights[1], rtol=1e-5)
    assert [stage["model"] for stage in plan.facts["stages"]] == ["first", "second"]
    assert custom_section(plan.files["first.wasm"], MODEL_SECTION) is None
    assert plan.facts["memory_bytes"] == 2 * 65536
    assert plan.facts["operations"] == sum(stage["operations"] for stage in plan.facts["stages"]) > 0
    assert json.loads(plan.files["report.json"]) == plan.facts
    assert plan == planned(tmp_path, TWO)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ('[{ model = "first", take = "y" }, { step = "normalize" }]', "has in step 2 a step that the node computes"),
        ('[{ model = "second" }, { search = "frames" }]', "has in step 2 a search, and a device has no database"),
        ('[{ model = "first" }]', "has model `first` with 1 inputs and 2 outputs"),
        ('[{ model = "second" }, { model = "second" }]', "passes `y` float32[1, 4] of `second` to `x` float32[1, 5]"),
    ],
)
def test_what_a_device_cannot_do_is_refused(tmp_path: Path, steps: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        planned(tmp_path, steps)


def test_a_model_with_vectors_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is compiled for `relaxed`") as caught:
        planned(tmp_path, TWO, target="relaxed")
    assert caught.value.hint == "`littoral build --target mvp`: the results are the same, to the bit"


def test_over_its_memory_nothing_is_written(tmp_path: Path) -> None:
    file = site(tmp_path, '[{ model = "wide" }]')
    out = tmp_path / "out"
    done = cli("bundle", file, "--pipeline", "watch", "--for", "device", "--out", out, "--json")
    assert done.code == 1
    assert not out.exists()
    (memory,) = [found for found in done.json["findings"] if found["what"] == "memory and stack"]
    assert not memory["kept"]


def test_a_folder_is_checked(tmp_path: Path) -> None:
    asked = ("bundle", site(tmp_path, TWO), "--pipeline", "watch", "--for", "device", "--out", tmp_path / "out")
    assert cli(*asked).code == 0
    assert cli(*asked, "--check").code == 0
    (tmp_path / "out" / "c" / "modules.c").write_text("")
    done = cli(*asked, "--check")
    assert (done.code, "differs: c/modules.c" in done.out) == (1, True)


def test_the_parts_of_a_module_add_up() -> None:
    wasm = dense(6, 5)
    assert sum(sizes(bare(wasm)).values()) == len(bare(wasm)) < len(wasm)
    assert bare(bare(wasm)) == bare(wasm)
    assert stack_bytes(wasm) == stack_bytes(bare(wasm)) > 0


def test_instructions_are_counted_as_the_standard_writes_them() -> None:
    (small, _), (large, _) = (executed(dense(inputs, 4), "run", {}) for inputs in (8, 16))
    assert (small, {}) == executed(dense(8, 4), "run", {})
    assert small < large


def test_layers_have_their_own_instructions(tmp_path: Path) -> None:
    steps = '[{ model = "first", take = "y" }, { model = "second" }]'
    plan = plan_device(read_recipe(read_site(site(tmp_path, steps)), "watch"), Options())
    for stage in plan.facts["stages"]:
        counts = [layer["operations"] for layer in stage["layers"]]
        assert all(count > 0 for count in counts)
        assert sum(counts) == stage["operations"]
        assert {layer["function"] for layer in stage["layers"]} <= set(range(len(stage["code_bytes"])))
        assert sum(stage["code_bytes"]) < stage["flash"]["code"]


def test_calls_that_are_not_the_layers_are_not_told_apart() -> None:
    wasm = dense(6, 5)
    assert marked(wasm, [0, 0, 0, 0]) is None
    assert marked(bytes(wasmtime.wat2wasm('(module (import "a" "b" (func)))')), [0]) is None


@pytest.mark.parametrize("entry", ["walk", "memory"])
def test_what_cannot_be_run_cannot_be_counted(entry: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be counted"):
        executed(dense(8, 4), entry, {})
