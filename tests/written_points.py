"""What was acknowledged while things were being killed, held against the store itself."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from littoral.vectors import layout
from littoral.vectors.collection import as_array
from littoral.vectors.queries import RESULT_COUNT_MAX
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


def pages(ids: Iterable[int]) -> list[list[int]]:
    """As many as may be asked for at once."""
    given = sorted(ids)
    return [given[i : i + RESULT_COUNT_MAX] for i in range(0, len(given), RESULT_COUNT_MAX)]


def check(folder: Path, config: CollectionConfig, wanted: Written, gone: set[int]) -> None:
    """Opens the store of a collection itself, when every process has ended."""
    file = layout.read_collection_file(folder)
    with Shard.open(folder / file.shards[0], config, wait_s=5) as shard:
        records = [r for page in pages(wanted) for r in shard.retrieve(page, with_vector=True)]
        assert [r for page in pages(gone) for r in shard.retrieve(page)] == []
        assert shard.count() >= len(wanted)
    found = {r.id: (as_array(r.vector or b"").tolist(), r.payload) for r in records}
    assert found == wanted
