"""Host steps as a bundle's JavaScript does them, beside the node's: the same bits."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littoral.runtime.edges import TensorsType
from littoral.runtime.host.axis import THRESHOLD, TOP_K, normalized, softmax
from littoral.runtime.host.options import Threshold, TopK
from littoral.tensors import TensorSpec, decode_frame, encode_frame
from needs import need

SOURCES = resources.files("littoral.bundle") / "js"
SCRIPT = """
  import {{ readFileSync, writeFileSync }} from "node:fs";
  import {{ frameOf, tensorsOf }} from {frame};
  import {{ STEPS }} from {steps};
  const [, , step, options] = process.argv;
  const made = STEPS[step](tensorsOf(new Uint8Array(readFileSync("given"))), JSON.parse(options));
  writeFileSync("made", Array.isArray(made) ? JSON.stringify(made) : frameOf(made));
"""
Tensors = Mapping[str, Any]


def in_javascript(folder: Path, step: str, given: Tensors, options: Mapping[str, Any] = {}) -> bytes:
    node = shutil.which("node")
    need(node, "Node (Debian: `nodejs`)")
    paths = {name: json.dumps(str(SOURCES / f"{name}.mjs")) for name in ("frame", "steps")}
    (folder / "script.mjs").write_text(SCRIPT.format(**paths))
    (folder / "given").write_bytes(encode_frame(given))
    subprocess.run([str(node), "script.mjs", step, json.dumps(options)], cwd=folder, check=True, timeout=60)
    return (folder / "made").read_bytes()


def check(folder: Path, step: str, given: Tensors, wanted: Tensors, options: Mapping[str, Any] = {}) -> None:
    made = decode_frame(in_javascript(folder, step, given, options))
    assert list(made) == list(wanted)
    for name, array in wanted.items():
        assert (made[name].dtype, made[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(made[name], array, equal_nan=array.dtype.kind == "f"), name


def rows_of_sizes() -> Tensors:
    rng = np.random.default_rng(3)
    sizes = [*range(1, 40), 127, 128, 129, 136, 255, 256, 384, 768, 1000, 1280, 4099]
    arrays = {str(n): (rng.standard_normal((1, n)) * 10.0 ** rng.integers(-18, 18)).astype(np.float32) for n in sizes}
    arrays |= {"rows": rng.standard_normal((5, 3, 300)).astype(np.float32), "double": rng.standard_normal((4, 77))}
    arrays["plain"] = rng.standard_normal(50).astype(np.float32)
    arrays |= {"zero": np.zeros((1, 9), np.float32), "inf": np.float32([[np.inf, 1]]), "nan": np.float32([[np.nan, 1]])}
    return arrays


@pytest.mark.parametrize(("step", "by_node"), [("normalize", normalized), ("softmax", softmax)])
def test_rows_are_scaled_to_the_bit(tmp_path: Path, step: str, by_node: Any) -> None:
    given = {name: rows for name, rows in rows_of_sizes().items() if step != "softmax" or rows.dtype == np.float32}
    with np.errstate(invalid="ignore"):
        wanted = by_node(given)
    check(tmp_path, step, given, wanted)


def test_the_largest_are_the_nodes_with_ties_and_with_what_is_no_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(-4, 5, (6, 40)).astype(np.float32)
    values[1, 3:9], values[2, 5], values[2, 7], values[3, :] = np.nan, np.inf, -np.inf, -0.0
    values[4, :38] = np.nan
    values[4, 38:] = -np.inf
    bound = TOP_K.bind(TopK(k=4), TensorsType((TensorSpec("x", "float32", (6, 40)),)))
    wanted = bound.work({"x": values})
    assert isinstance(wanted, Mapping)
    check(tmp_path, "top_k", {"x": values}, wanted, {"k": 4, "labels": None})


def test_the_largest_have_names(tmp_path: Path) -> None:
    values = np.float32([[0.1, 0.7, 0.2, 0.7]])
    names = ["cat", "dog", "owl", "gull"]
    bound = TOP_K.bind(TopK(k=3), TensorsType((TensorSpec("x", "float32", (1, 4)),)), names)
    made = json.loads(in_javascript(tmp_path, "top_k", {"x": values}, {"k": 3, "labels": names}))
    assert made == bound.work({"x": values})
    assert [hit["payload"]["label"] for hit in made] == ["dog", "gull", "owl"]


@pytest.mark.parametrize("at", [0.1, 0.3, 0.7, 0.0])
def test_what_is_large_enough_is_the_nodes(tmp_path: Path, at: float) -> None:
    values = np.float32([at, 0.5, np.nan, -1, np.nextafter(np.float32(at), np.float32(-1)), np.inf])
    given = {"scores": values, "boxes": np.arange(24, dtype=np.int64).reshape(6, 4)}
    type_of = TensorsType(tuple(TensorSpec(n, a.dtype.name, a.shape) for n, a in given.items()))
    kept = THRESHOLD.bind(Threshold(at=at, by="scores"), type_of).work(given)
    assert isinstance(kept, Mapping)
    check(tmp_path, "threshold", given, kept, {"at": at, "by": "scores"})
    plain = TensorsType((TensorSpec("scores", "float32", (6,)),))
    truth = THRESHOLD.bind(Threshold(at=at), plain).work({"scores": values})
    assert isinstance(truth, Mapping)
    check(tmp_path, "threshold", {"scores": values}, truth, {"at": at, "by": None})
