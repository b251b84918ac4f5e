"""Smaller vectors that are to be in memory are read ahead of the store, which would take them page by page."""

from pathlib import Path

import numpy as np
import pytest

from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.store_folder import pinned_files
from littoral.vectors.tuning import OptimizerTuning, Product, Quantization, Scalar

SIZE, COUNT = 64, 1000
PINNED = Quantization(scalar=Scalar(type="int8", memory="pinned"))
ALWAYS = Quantization(product=Product("x4", always_ram=True))
COLD = Quantization(scalar=Scalar(type="int8", memory="cold"))


@pytest.mark.parametrize(
    ("common", "named", "expected"),
    [
        (PINNED, {}, {"vector_storage"}),
        (PINNED, {"a": COLD, "b": None}, {"vector_storage", "vector_storage-b"}),
        (COLD, {"a": ALWAYS}, {"vector_storage-a"}),
        (None, {"a[1]": PINNED}, {"vector_storage-a[1]"}),
    ],
)
def test_they_are_found_in_every_segment(
    tmp_path: Path, common: Quantization | None, named: dict[str, Quantization | None], expected: set[str]
) -> None:
    config = CollectionConfig(
        VectorParams(SIZE, "Cosine"),
        {name: VectorParams(SIZE, "Cosine", quantization_config=made) for name, made in named.items()},
        quantization=common,
        optimizers=OptimizerTuning(indexing_threshold=1, default_segment_number=1),
    )
    vectors = np.random.default_rng(1).standard_normal((COUNT, SIZE)).astype("<f4")
    points = [dict.fromkeys(("", *named), vector.tobytes()) for vector in vectors]
    with Shard.open(tmp_path, config, create=True) as shard:
        shard.upsert(PointBatch(list(range(COUNT)), points))
        shard.optimize()
        found = pinned_files(shard.store_folder, config)
    assert {file.parent.name for file in found} == expected
    assert all(file.stat().st_size >= COUNT * SIZE // 4 for file in found)
