"""What each request does with the shard: the one table between messages and methods."""

from collections.abc import Callable, Iterator
from pathlib import Path

from littoral.errors import InputError, ShardError
from littoral.vectors import frames
from littoral.vectors.filters import Filter
from littoral.vectors.frames import Answer, Read, Statistics, Write
from littoral.vectors.records import VectorParams
from littoral.vectors.shard import Shard
from littoral.vectors.tuning import SparseParams

__all__ = ["answer_to", "write_steps"]


def answer_to(request: Read, shard: Shard, measure: Callable[[], Statistics]) -> Answer:
    """Answers a read; raises the shard's errors."""
    call = request.call
    match request:
        case frames.Search(as_json=True):
            return frames.Told(call=call, epoch=shard.epoch, hits=shard.searches.told(request.queries))
        case frames.Search():
            return frames.Found(call=call, epoch=shard.epoch, hits=shard.search(request.queries))
        case frames.Group():
            groups = shard.searches.group(request.query, request.by, size=request.size)
            return frames.Grouped(call=call, epoch=shard.epoch, groups=groups)
        case frames.Facet():
            values = shard.searches.facet(
                request.key, limit=request.limit, exact=request.exact, matching=request.filter
            )
            return frames.Faceted(call=call, epoch=shard.epoch, values=values)
        case frames.Pairs():
            pairs = shard.searches.pairs(
                sample=request.sample, limit=request.limit, using=request.using, matching=request.filter
            )
            return frames.Paired(call=call, epoch=shard.epoch, pairs=pairs)
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
                order=request.order,
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
            yield from shard.upsert_steps(request.points, mode=request.mode, condition=request.condition)
        case frames.UpdateVectors():
            yield from shard.vector_steps(request.points, condition=request.condition)
        case frames.Pack():
            yield from shard.pack_steps(Path(request.target))
        case frames.Delete() | frames.DeleteVectors() | frames.ChangePayload():
            _change_points(request, shard)
        case _:
            _change_shard(request, shard)


def _change_points(request: frames.Delete | frames.DeleteVectors | frames.ChangePayload, shard: Shard) -> None:
    match request:
        case frames.Delete(ids=list() as ids, filter=None):
            shard.delete(ids)
        case frames.Delete(ids=None, filter=Filter() as matching):
            shard.delete_matching(matching)
        case frames.Delete():
            raise InputError("delete: needs exactly one of points, filter")
        case frames.DeleteVectors():
            shard.delete_vectors(request.ids, request.filter, request.names)
        case frames.ChangePayload():
            shard.change_payload(request.change)


def _change_shard(request: Write, shard: Shard) -> None:
    match request:
        case frames.CreateIndex():
            shard.create_index(request.field, request.schema)
        case frames.DeleteIndex():
            shard.delete_index(request.field)
        case frames.AddVector():
            shard.add_vector(request.name, _one_of(request.dense, request.sparse))
        case frames.DropVector():
            shard.drop_vector(request.name)
        case frames.Configure():
            shard.configure(request.config)
        case frames.Optimize():
            shard.optimize()


def _one_of(dense: VectorParams | None, sparse: SparseParams | None) -> VectorParams | SparseParams:
    if (dense is None) == (sparse is None):
        raise InputError("vector: needs exactly one of dense, sparse")
    return dense or sparse or SparseParams()
