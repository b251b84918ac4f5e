"""Vectors that may be anywhere: what cells are fitted to where regions are pinned.

Centres of cells stand in the shard map, which all nodes have, and a mean tells of what it is made of. So those of a
pinned region are means of others, too: of points that are not pinned, and of the file that the site names.
"""

import asyncio
from pathlib import Path

import numpy as np

from littoral.errors import ConflictError
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.layout import sample_in
from littoral.node.federation.moving.sampling import Wanted, sampled
from littoral.node.federation.placing import cells_of
from littoral.node.federation.residency import pinned_to
from littoral.vectors.partition.points import Vectors
from littoral.vectors.records import Payload

__all__ = ["not_of", "unpinned"]


async def unpinned(
    asking: Asking, target: Target, file: Path | None, wanted: Wanted, count: int, *, seed: int, vector: str
) -> Vectors:
    """float32[n, size]: of points in shards that are not pinned, of those what is wanted, and all of the file.

    Raises SettingError for a file that does not fit, ConflictError where there is nothing, and as `sampled`.
    """
    pinned, found = pinned_to(target.spread), []
    free = [shard for shard in target.spread.shards if shard not in pinned]
    if free:
        found.append(
            await sampled(asking, target, free, count, seed=seed, wanted=wanted, needs_points=False, vector=vector)
        )
    if file is not None:
        found.append(await asyncio.to_thread(sample_in, file, cells_of(target.config, vector).size))
    if not sum(map(len, found)):
        raise ConflictError(
            f"collection `{target.name}`: cells of pinned regions are fitted to what is not pinned, and there is none",
            hint="`spread.sample` of the site file names vectors that may be on every node",
        )
    return np.concatenate(found)


def not_of(key: str | None, pinned: frozenset[str]) -> Wanted:
    """key: of the payload, which names a point's region; None = points do not tell theirs."""

    def is_free(payload: Payload | None) -> bool:
        return key is None or (payload or {}).get(key) not in pinned

    return is_free
