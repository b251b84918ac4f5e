"""Points by their ids: read from the shards that may have them, and where they are."""

from collections.abc import Callable, Iterable, Sequence

from littoral.errors import NotFoundError, UnavailableError
from littoral.node.federation.asking import Asking, Gathered, Target
from littoral.node.federation.merging import merge
from littoral.node.federation.patience import Patience
from littoral.node.federation.placing import placing_of
from littoral.vectors import frames
from littoral.vectors.checks import checked_ids
from littoral.vectors.records import PointId

__all__ = ["located", "lost", "need_all", "retrieve"]


async def retrieve(
    asking: Asking, target: Target, request: frames.Retrieve, deadline_s: float, patience: Patience | None = None
) -> frames.Records:
    """In the order of the ids. Refused only where a point that was not found may be on a shard that is missing."""
    ids = list(dict.fromkeys(request.ids))
    gathered = await _asked(asking, target, request, ids, deadline_s, patience=patience)
    records = {}
    epoch = 0
    if gathered.answers:
        merged = merge(request, gathered.answers, target.config)
        assert isinstance(merged, frames.Records)
        records, epoch = {record.id: record for record in merged.records}, merged.epoch
    _check_whole(target, gathered, ids, records)
    return frames.Records(call=0, epoch=epoch, records=[records[one] for one in ids if one in records])


async def located(
    asking: Asking,
    target: Target,
    ids: Sequence[PointId],
    deadline_s: float,
    *,
    shards: Iterable[int] | None = None,
    patience: Patience | None = None,
) -> dict[PointId, list[int]]:
    """The shards that have each of those points that are there. shards: to look in; None = in all that may have one."""
    wanted = frames.Retrieve(call=0, ids=checked_ids(ids), with_payload=False)
    gathered = await _asked(
        asking, target, wanted, wanted.ids, deadline_s, shards=shards, apart=True, patience=patience
    )
    found: dict[PointId, list[int]] = {}
    for (shard, *_), answer in gathered.told:
        if isinstance(answer, frames.Records):
            for record in answer.records:
                found.setdefault(record.id, []).append(shard)
    _check_whole(target, gathered, wanted.ids, found)
    return found


def need_all(ids: Sequence[PointId], found: Iterable[PointId]) -> None:
    """Raises NotFoundError if one of the points is not there: shards could only say it after others had written."""
    if unknown := [point_id for point_id in checked_ids(ids) if point_id not in set(found)]:
        raise NotFoundError(f"no point has the id `{unknown[0]}` ({len(unknown)} of {len(ids)} ids are missing)")


async def _asked(
    asking: Asking,
    target: Target,
    request: frames.Retrieve,
    ids: Sequence[PointId],
    deadline_s: float,
    *,
    shards: Iterable[int] | None = None,
    apart: bool = False,
    patience: Patience | None = None,
) -> Gathered:
    placing = placing_of(target.spread, target.config)
    if shards is None and placing.is_by_id:
        shards = sorted(set(placing.of_ids(ids)))
    return await asking.read(target, request, deadline_s, shards=shards, apart=apart, patience=patience)


def _check_whole(target: Target, gathered: Gathered, ids: Sequence[PointId], found: Iterable[PointId]) -> None:
    placing = placing_of(target.spread, target.config)
    known = set(found)
    unseen = [point_id for point_id in ids if point_id not in known]
    if gathered.lost and _may_be_lost(unseen, gathered.lost, placing.of_ids if placing.is_by_id else None):
        raise lost(target, gathered)


def _may_be_lost(
    ids: Sequence[PointId], shards: Sequence[int], of_ids: Callable[[Sequence[PointId]], list[int]] | None
) -> bool:
    return bool(ids) and (of_ids is None or not set(shards).isdisjoint(of_ids(ids)))


def lost(target: Target, gathered: Gathered) -> UnavailableError:
    """Says which shards nobody answered for."""
    nodes = ", ".join(f"`{node}`" for node in gathered.missing)
    shards = ", ".join(map(str, gathered.lost))
    return UnavailableError(
        f"collection `{target.name}`: shards {shards} have no answer, nodes {nodes} hold them",
        hint="try again when one of these nodes is back",
    )
