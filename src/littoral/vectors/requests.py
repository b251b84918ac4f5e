"""What each request does with the shard: the one table between messages and methods."""

from collections.abc import Callable, Iterator

from littoral.errors import InputError, ShardError
from littoral.vectors import frames
from littoral.vectors.filters import Filter
from littoral.vectors.frames import Answer, Read, Statistics, Write
from littoral.vectors.shard import Shard

__all__ = ["answer_to", "write_steps"]


def answer_to(request: Read, shard: Shard, measure: Callable[[], Statistics]) -> Answer:
    """Answers a read; raises the shard's errors."""
    call = request.call
    match request:
        case frames.Search():
            return frames.Found(call=call, epoch=shard.epoch, hits=shard.search(request.queries))
        case frames.Retrieve():
            found = shard.retrieve(request.ids, with_payload=request.with_payload, with_vector=request.with_vector)
            return frames.Records(call=call, epoch=shard.epoch, records=found)
        case frames.Scroll():
            found, following = shard.scroll(
                limit=request.limit,
                offset=request.offset,
                matching=request.filter,
                with_payload=request.with_payload,
                with_vector=request.with_vector,
            )
            return frames.Records(call=call, epoch=shard.epoch, records=found, following=following)
        case frames.Count():
            count = shard.count(request.filter, exact=request.exact)
            return frames.Counted(call=call, epoch=shard.epoch, count=count)
        case frames.Info():
            return frames.Informed(call=call, info=shard.info())
        case frames.AskStatistics():
            return frames.Measured(call=call, statistics=measure())
    raise ShardError(f"{type(request).__name__} is no read")


def write_steps(request: Write, shard: Shard) -> Iterator[None]:
    """Carries out a write in steps of a few milliseconds; raises the shard's errors."""
    match request:
        case frames.Upsert():
            yield from shard.upsert_steps(request.points)
        case frames.Delete(ids=list() as ids, filter=None):
            shard.delete(ids)
        case frames.Delete(ids=None, filter=Filter() as matching):
            shard.delete_matching(matching)
        case frames.Delete():
            raise InputError("delete: needs exactly one of points, filter")
        case frames.ChangePayload():
            shard.change_payload(request.change)
        case frames.CreateIndex():
            shard.create_index(request.field, request.schema)
        case frames.DeleteIndex():
            shard.delete_index(request.field)
        case frames.Optimize():
            shard.optimize()
