"""The code in `docs/guides/text-embeddings.md` runs as it stands."""

from pathlib import Path

import numpy as np
import pytest

from fenced import code_blocks
from sentence_folders import CONFIG, write_folder
from tracked import ROOT


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG | {"vocab_size": 30522, "max_position_embeddings": 128}
    write_folder(tmp_path / "all-MiniLM-L6-v2", config=config)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/guides/text-embeddings.md").read_text()
    (code,) = [block for language, block in code_blocks(page) if language == "python"]
    names: dict[str, object] = {}
    exec(code, names)
    assert np.linalg.norm(np.asarray(names["a"])) == pytest.approx(1)
