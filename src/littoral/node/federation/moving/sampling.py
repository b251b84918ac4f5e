"""Vectors of a collection as they are, to fit cells to: a fair sample, taken from the shards that hold them."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from littoral.errors import InputError, UnavailableError
from littoral.node.federation.asking import Asking, Target
from littoral.node.federation.placing import cells_of
from littoral.vectors import frames
from littoral.vectors.partition.points import Vectors
from littoral.vectors.records import Payload, PointId, Record, vectors_by_id

__all__ = ["Wanted", "payloads_of", "points_of", "sampled"]

PAGE_COUNT = 4096
ASK_COUNT = 256
IDS_MAX = 4_000_000
PAGE_S = 30.0

Wanted = Callable[[Payload | None], bool]
"""Of a point, by its payload."""


async def sampled(
    asking: Asking,
    target: Target,
    shards: Sequence[int],
    count: int,
    *,
    seed: int,
    wanted: Wanted | None = None,
    needs_points: bool = True,
    vector: str | None = None,
) -> Vectors:
    """float32[n, size]: of `count` points of these shards, or of all if they are fewer; of those, what is wanted. The
    vectors that cells are of; points without one are left out.

    Raises UnavailableError where a shard does not answer, InputError where there are no points, or no such vectors.
    """
    vector = target.spread.vector if vector is None else vector
    size = cells_of(target.config, vector).size
    random = Random(seed)  # noqa: S311
    rows: list[bytes] = []
    ids_by_shard = [await _ids(asking, target, shard) for shard in shards]
    total = sum(map(len, ids_by_shard))
    for shard, ids in zip(shards, ids_by_shard, strict=True):
        chosen = random.sample(ids, min(len(ids), -(-count * len(ids) // max(1, total))))
        for at in range(0, len(chosen), ASK_COUNT):
            asked = frames.Retrieve(
                call=0, ids=chosen[at : at + ASK_COUNT], with_payload=wanted is not None, with_vector=[vector]
            )
            records = await _records(asking, target, shard, asked)
            kept = [record for record in records if wanted is None or wanted(record.payload)]
            rows += [one for one in vectors_by_id(kept, vector).values() if isinstance(one, bytes)]
    if needs_points and not rows:
        raise InputError(f"collection `{target.name}`: there are no points to fit cells to")
    return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), size)


async def points_of(
    asking: Asking, target: Target, shards: Sequence[int], count: int, *, seed: int
) -> list[tuple[int, PointId]]:
    """Shard and id of `count` points of these shards, or of all if they are fewer. Raises UnavailableError as above."""
    found = [(shard, point) for shard in shards for point in await _ids(asking, target, shard)]
    chosen = sorted(Random(seed).sample(range(len(found)), min(count, len(found))))  # noqa: S311
    return [found[at] for at in chosen]


async def payloads_of(asking: Asking, target: Target, shards: Sequence[int], count: int, *, seed: int) -> list[Payload]:
    """Of as many points as `points_of` finds."""
    found = await points_of(asking, target, shards, count, seed=seed)
    payloads: list[Payload] = []
    for shard in shards:
        ids = [point for of, point in found if of == shard]
        for at in range(0, len(ids), ASK_COUNT):
            asked = frames.Retrieve(call=0, ids=ids[at : at + ASK_COUNT], with_payload=True)
            payloads += [record.payload or {} for record in await _records(asking, target, shard, asked)]
    return payloads


async def _ids(asking: Asking, target: Target, shard: int) -> list[PointId]:
    ids: list[PointId] = []
    offset: PointId | None = None
    while len(ids) < IDS_MAX:
        page = frames.Scroll(call=0, limit=PAGE_COUNT, offset=offset, with_payload=False)
        gathered = await _gathered(asking, target, shard, page)
        ids += [record.id for record in gathered.records]
        if (offset := gathered.following) is None:
            break
    return ids


async def _records(asking: Asking, target: Target, shard: int, wanted: frames.Retrieve) -> list[Record]:
    return (await _gathered(asking, target, shard, wanted)).records


async def _gathered(asking: Asking, target: Target, shard: int, request: frames.Read) -> frames.Records:
    gathered = await asking.read(target, request, PAGE_S, shards=[shard])
    found = [answer for answer in gathered.answers if isinstance(answer, frames.Records)]
    if not found:
        raise UnavailableError(f"collection `{target.name}`: shard {shard} has no answer", hint="try again")
    return found[0]
