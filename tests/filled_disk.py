"""A small disk, a shard on it, and somebody who fills the rest; each step in a process of its own, which may be killed.

`python filled_disk.py FOLDER`, in a mount namespace of its own. Says each step that went well.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from littoral.errors import ShardError
from littoral.vectors.disk_reserve import RESERVE, RESERVE_BYTES
from littoral.vectors.packing import packed
from littoral.vectors.queries import SearchQuery
from littoral.vectors.records import CollectionConfig, PointBatch, VectorParams
from littoral.vectors.shard import Shard

SIZE = 256
LEAST_BYTES = 8 << 20
CONFIG = CollectionConfig(VectorParams(SIZE, "Dot"))


def batch(first: int, count: int) -> PointBatch:
    rows = np.random.default_rng(first).standard_normal((count, SIZE)).astype("<f4")
    return PointBatch(list(range(first, first + count)), rows.tobytes())


def opened(disk: Path, *, create: bool = False) -> Shard:
    return Shard.open(disk / "shard", CONFIG, create=create, disk_reserve_bytes=LEAST_BYTES)


def fill(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filled").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            assert not os.statvfs(disk).f_bavail


def is_whole(shard: Shard, count: int) -> bool:
    """It has so many points, and is searched."""
    query = SearchQuery(packed(np.ones(SIZE, "<f4"), (SIZE,), "query"), limit=5)
    return shard.count() == count and len(shard.search([query])[0]) == 5


def make(disk: Path) -> None:
    (disk / "shard").mkdir()
    with opened(disk, create=True) as shard:
        shard.upsert(batch(0, 2000))
    with opened(disk) as shard:  # the first opening fills holes of the store's own
        assert is_whole(shard, 2000)
    assert (disk / "shard" / RESERVE).stat().st_size == RESERVE_BYTES


def flush(disk: Path) -> None:
    shard = opened(disk)
    shard.upsert(batch(2000, 300))
    fill(disk)
    with pytest.raises(ShardError, match="0 MiB free, a write needs 8 MiB"):
        shard.upsert(batch(5000, 1))
    shard.flush()
    assert is_whole(shard, 2300)
    assert not (disk / "shard" / RESERVE).exists()
    os._exit(0)


def open_again(disk: Path) -> None:
    """On the full disk."""
    with opened(disk) as shard:
        assert is_whole(shard, int(os.environ["COUNT"]))
        with pytest.raises(ShardError, match="MiB free, a write needs"):
            shard.upsert(batch(5000, 1))


def crash(disk: Path) -> None:
    """Another time, with writes that only the log has."""
    (disk / "filled").unlink()
    shard = opened(disk)
    assert (disk / "shard" / RESERVE).exists()
    shard.upsert(batch(2300, 300))
    fill(disk)
    os._exit(0)


def keep(disk: Path) -> None:
    (disk / "filled").unlink()
    with opened(disk) as shard:
        shard.upsert(batch(2600, 10))
        assert is_whole(shard, 2610)
    assert (disk / "shard" / RESERVE).stat().st_blocks * 512 == RESERVE_BYTES


STEPS: tuple[tuple[str, Callable[[Path], None], int], ...] = (
    ("made", make, 2000),
    ("flushed", flush, 2300),
    ("opened", open_again, 2300),
    ("crashed", crash, 2600),
    ("opened", open_again, 2600),
    ("kept", keep, 2610),
)
"""What is said, what is done, and the points that there are after it."""


def main(disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", disk], check=True)
    for said, step, count in STEPS:
        command = [sys.executable, "-P", __file__, str(disk), step.__name__]
        subprocess.run(command, check=True, env=os.environ | {"COUNT": str(count)})
        print(said, flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        {step.__name__: step for _, step, _ in STEPS}[sys.argv[2]](Path(sys.argv[1]))
