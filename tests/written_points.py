"""What was acknowledged while things were being killed, held against the store itself."""

import random
from pathlib import Path
from typing import Any

from littoral.vectors import layout
from littoral.vectors.collection import as_array
from littoral.vectors.records import CollectionConfig
from littoral.vectors.shard import Shard

Written = dict[int, tuple[list[float], dict[str, Any]]]
"""Vector and payload by id."""


def batch(rng: random.Random, ids: list[int], size: int) -> tuple[list[list[float]], list[dict[str, Any]]]:
    """Vectors and payloads. Eighths: float32 holds them exactly."""
    return (
        [[rng.randrange(-999, 999) / 8 for _ in range(size)] for _ in ids],
        [{"id": i, "note": "x" * rng.randrange(50)} for i in ids],
    )


def check(folder: Path, config: CollectionConfig, wanted: Written, gone: set[int]) -> None:
    """Opens the store of a collection itself, when every process has ended."""
    file = layout.read_collection_file(folder)
    with Shard.open(folder / file.shards[0], config, wait_s=5) as shard:
        records = shard.retrieve(sorted(wanted), with_vector=True)
        assert shard.retrieve(sorted(gone)) == []
        assert shard.count() >= len(wanted)
    found = {r.id: (as_array(r.vector or b"").tolist(), r.payload) for r in records}
    assert found == wanted
