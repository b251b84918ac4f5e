"""What was copied or unpacked without its log takes writes to the points that it has, as the original would."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import InputError
from littoral.vectors.queries import PayloadChange
from littoral.vectors.rebuild import Rebuild
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.snapshots import unpack_store
from littoral.vectors.tuning import HnswTuning, OptimizerTuning
from waiting import until

SIZE = 4
WRITES = 40
POINTS = 300
CONFIG = CollectionConfig(
    VectorParams(SIZE, "Dot"),
    hnsw=HnswTuning(m=8, ef_construct=32, full_scan_threshold=1),
    optimizers=OptimizerTuning(indexing_threshold=1, default_segment_number=1),
)


def write(shard: Shard, round_number: int) -> None:
    numbers = np.full((3, SIZE), round_number, "<f4")
    shard.upsert(PointBatch([1, 2, 3], numbers.tobytes(), [{"n": round_number}] * 3))


def numbers(shard: Shard) -> list[object]:
    return [record.payload["n"] for record in shard.retrieve([1, 2, 3])]


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Shard]:
    (tmp_path / "shard").mkdir()
    with Shard.open(tmp_path / "shard", CONFIG, create=True) as opened:
        rows = np.random.default_rng(1).standard_normal((POINTS, SIZE)).astype("<f4")
        opened.upsert(PointBatch(list(range(POINTS)), rows.tobytes(), [{"n": -1}] * POINTS))
        for number in range(WRITES):
            write(opened, number)
        yield opened


def take_all_writes(shard: Shard) -> None:
    """Each kind of write to points that are there."""
    write(shard, 100)
    assert numbers(shard) == [100, 100, 100]
    shard.change_payload(PayloadChange("merge", ids=[2], payload={"n": 101}))
    assert numbers(shard) == [100, 101, 100]
    shard.delete([3])
    assert len(shard.retrieve([1, 2, 3])) == 2
    shard.add_vector("more", VectorParams(SIZE, "Dot"))
    shard.configure(shard.config)
    shard.drop_vector("more")
    shard.configure(shard.config)
    assert numbers(shard) == [100, 101]


def test_after_a_graph_was_built(shard: Shard) -> None:
    rebuild = Rebuild(shard)
    for _ in rebuild.begin_steps():
        pass
    until(lambda: rebuild.has_ended)
    for _ in rebuild.finish_steps():
        pass
    assert shard.info().indexed_vectors_count > 0
    take_all_writes(shard)


def test_after_a_snapshot_was_recovered(shard: Shard, tmp_path: Path) -> None:
    (tmp_path / "collection.json").write_text("{}")
    for _ in shard.pack_steps(tmp_path / "snapshot.tar"):
        pass
    unpack_store(tmp_path / "snapshot.tar", tmp_path / "other" / "edge", reserve_bytes=0)
    for _ in range(2):
        with Shard.open(tmp_path / "other", shard.config) as recovered:
            assert numbers(recovered) == [WRITES - 1] * 3
    with Shard.open(tmp_path / "other", shard.config) as recovered:
        take_all_writes(recovered)
    with Shard.open(tmp_path / "other", recovered.config) as recovered:
        assert numbers(recovered) == [100, 101]


def test_a_configuration_that_the_store_refuses_leaves_it_open(shard: Shard) -> None:
    other = CollectionConfig(VectorParams(SIZE + 1, "Dot"))
    with pytest.raises(InputError, match="configure: "):
        shard.configure(other)
    assert shard.config == CONFIG
    assert numbers(shard) == [WRITES - 1] * 3
