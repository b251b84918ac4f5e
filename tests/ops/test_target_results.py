"""Models under every target: the same bits, from modules that keep to their target's instructions."""

from typing import Any

import numpy as np
import pytest
import wasmtime

import engine_without_vectors
import littoral
from littoral.compiler.driver import compile_model, planned, written
from littoral.compiler.emit import emit
from littoral.compiler.wasm import TARGETS, Target
from littoral.compiler.wasm.targets import feature
from littoral.errors import InputError
from model_host import ENGINE, run_bare
from onnx_models import NETWORKS
from operator_cases import CASES, Case

HOSTS = {"relaxed": ENGINE, "simd128": ENGINE, "mvp": engine_without_vectors.ENGINE}
BEYOND: dict[Target, set[str]] = {
    "relaxed": set(),
    "simd128": {"relaxed-simd"},
    "mvp": {"relaxed-simd", "simd", "sign-extension", "nontrapping-float-to-int", "bulk-memory"},
}


def bits(outputs: dict[str, Any]) -> dict[str, bytes]:
    """Shape and bytes of each output, every NaN alike."""
    return {
        name: repr(y.shape).encode()
        + (np.where(np.isnan(y), y.dtype.type(np.nan), y) if y.dtype.kind == "f" else y).tobytes()
        for name, y in outputs.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_same_bits(name: str) -> None:
    found = planned(NETWORKS[name](24))
    feeds = {"x": np.random.default_rng(2).normal(size=found.graphs[0].inputs[0].shape).astype("f4")}
    results = []
    for target in TARGETS:
        model = written(found, target=target)
        assert model.manifest.target == target
        results.append(bits(run_bare(model.wasm, feeds, engine=HOSTS[target])))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_operators_give_the_same_bits_without_vectors(case: Case) -> None:
    found = planned(case.model)
    want = bits(run_bare(written(found).wasm, case.feeds))
    assert bits(run_bare(written(found, target="mvp").wasm, case.feeds, engine=HOSTS["mvp"])) == want


@pytest.mark.parametrize("target", TARGETS)
def test_a_module_keeps_to_its_target(target: Target) -> None:
    found = planned(NETWORKS["segmenter"](24))
    module, _ = emit(found.layouts[0], target)
    features = {feature(i.name) for f in module.functions for i in f.instructions()}
    assert features.isdisjoint(BEYOND[target])
    assert ("simd" in features) == (target != "mvp")


def test_without_vectors_a_module_is_still_small() -> None:
    found = planned(NETWORKS["inverted_residual"](32))
    sizes = {target: emit(found.layouts[0], target)[0].code_bytes() for target in TARGETS}
    assert sizes["mvp"] <= 4 * sizes["relaxed"]


def test_an_engine_without_vectors_refuses_the_others() -> None:
    for target in ("relaxed", "simd128"):
        model = compile_model(NETWORKS["residual"](20), target=target)
        with pytest.raises(wasmtime.WasmtimeError, match="support is not enabled"):
            wasmtime.Module(HOSTS["mvp"], model.wasm)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InputError, match="`target` is `avx`, must be relaxed, simd128, mvp"):
        littoral.compile(NETWORKS["residual"](20), target="avx")  # type: ignore[arg-type]


def test_several_threads_are_refused_for_webassembly_1() -> None:
    with pytest.raises(InputError, match="2 threads need WebAssembly's threads, which the target `mvp` is without"):
        littoral.compile(b"", target="mvp", threads=2)
