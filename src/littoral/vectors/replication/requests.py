"""What each write of points does with a replica: the one table between messages and methods."""

from littoral.errors import InputError
from littoral.vectors import frames
from littoral.vectors.filters import Filter
from littoral.vectors.replication.replica import DEADLINE_S, Replica
from littoral.vectors.replication.stamps import ANY, At, Stamp

__all__ = ["write_to"]


async def write_to(
    replica: Replica, request: frames.PointWrite, *, deadline_s: float = DEADLINE_S, at: At = ANY
) -> Stamp:
    """As the replica's own methods. `acknowledge` makes no difference: what is acknowledged is on the disk."""
    match request:
        case frames.Upsert(points=points, mode=mode, condition=condition):
            return await replica.upsert_points(points, mode=mode, condition=condition, deadline_s=deadline_s, at=at)
        case frames.UpdateVectors(points=points, condition=condition) if isinstance(points.vectors, list):
            return await replica.update_vectors(
                points.ids, points.vectors, condition=condition, deadline_s=deadline_s, at=at
            )
        case frames.DeleteVectors(names=names, ids=ids, filter=matching):
            return await replica.delete_vectors(names, ids=ids, matching=matching, deadline_s=deadline_s, at=at)
        case frames.Delete(ids=list() as ids, filter=None):
            return await replica.delete(ids, deadline_s=deadline_s, at=at)
        case frames.Delete(ids=None, filter=Filter() as matching):
            return await replica.delete_matching(matching, deadline_s=deadline_s, at=at)
        case frames.ChangePayload(change=change):
            return await replica.change_payload(change, deadline_s=deadline_s, at=at)
    raise InputError(f"{type(request).__name__}: needs exactly one of points, filter, and vectors as a list")
