"""A shard whose chosen fields lie sealed: requests are translated on the way in, answers on the way out.

Everything that asks a collection comes through here, so no protocol knows of it; what comes out of a snapshot, a log or
a file of the store has not, and is sealed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from littoral.errors import LittoralError, NotFoundError, ShardError
from littoral.vectors import frames
from littoral.vectors.checks import checked_ids
from littoral.vectors.client import ShardClient
from littoral.vectors.encrypted.conditions import check_order, field_schema, filter_over, query_over, selector_over
from littoral.vectors.encrypted.fields import Renewal, SealedFields
from littoral.vectors.filters import Condition, Filter, as_condition
from littoral.vectors.queries import PayloadChange, PayloadSelector
from littoral.vectors.records import Hit, PointId, Record
from littoral.vectors.told_hits import told

__all__ = ["Renewed", "SealedShard"]

PAGE = 256
REST_S_MAX = 1.0


class Renewed(msgspec.Struct):
    """points: that were looked at; values: written anew; lost: points with some that no key opens, left as they are."""

    points: int = 0
    values: int = 0
    lost: int = 0


class Asked(Protocol):
    """What a sealed shard lies over: the client of a host, or shards on several nodes."""

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """As `ShardClient.ask`."""
        ...


class SealedShard:
    """In the place of what answers for the collection of these fields."""

    def __init__(self, client: Asked, fields: SealedFields) -> None:
        self.fields = fields
        self.renewed: Renewed | None = None
        """What `renew` did when it last came to its end."""
        self._client = client

    @property
    def life(self) -> str:
        """As the client's; empty if it has no one shard."""
        return self._client.life if isinstance(self._client, ShardClient) else ""

    async def ask(self, request: frames.Request, deadline_s: float) -> frames.Answer:
        """As the client's. Raises InputError for what cannot be done with a sealed field, TrustError for a value whose
        key is not there.
        """
        if isinstance(request, frames.ChangePayload):
            return await self._change(request, deadline_s)
        if isinstance(request, frames.Search) and request.as_json:
            plain = msgspec.structs.replace(request, as_json=False)
            found = await self._ask(plain, frames.Found, deadline_s)
            hits = [told(one, _same) for one in found.hits]
            return frames.Told(call=found.call, epoch=found.epoch, hits=hits)
        translate = _REQUESTS.get(type(request))
        stored = request if translate is None else translate(self.fields, request)
        return self._opened(await self._client.ask(stored, deadline_s))

    async def renew(self, deadline_s: float, done: Renewed | None = None) -> Renewed:
        """Everything lies as it is to lie after it, sealed by the key that seals now or plain; durable. Others may
        write meanwhile: between two pages it rests for as long as the last one took. done: counts while it goes on.
        """
        offset, loop = None, asyncio.get_running_loop()
        done = Renewed() if done is None else done
        while True:
            began_s = loop.time()
            selected = PayloadSelector(include=self.fields.stored_names())
            asked = frames.Scroll(call=0, limit=PAGE, offset=offset, with_payload=selected)
            page = await self._client.ask(asked, deadline_s)
            if not isinstance(page, frames.Records):
                raise _unexpected(page)
            renewals = [one for record in page.records for one in self._renewals(record, done)]
            for number, one in enumerate(renewals, 1):
                change = _renewing(one)
                level: Any = "durable" if number == len(renewals) else "applied"
                await self._client.ask(frames.ChangePayload(call=0, change=change, acknowledge=level), deadline_s)
            done.points += len(page.records)
            done.values += len(renewals)
            if (offset := page.following) is None:
                self.renewed = done
                return done
            await asyncio.sleep(min(REST_S_MAX, loop.time() - began_s))

    def _renewals(self, record: Record, done: Renewed) -> list[Renewal]:
        found: list[Renewal] = []
        try:
            found.extend(self.fields.renewals(record.id, record.payload or {}))
        except LittoralError:
            done.lost += 1
        return found

    async def _change(self, request: frames.ChangePayload, deadline_s: float) -> frames.Answer:
        change = _change_over(self.fields, request.change)
        if change.payload is None or change.key is not None:
            return await self._client.ask(msgspec.structs.replace(request, change=change), deadline_s)
        if not self.fields.needs_id(change.payload):
            plain = msgspec.structs.replace(change, payload=self.fields.sealed(0, change.payload))
            return await self._client.ask(msgspec.structs.replace(request, change=plain), deadline_s)
        ids = await self._ids(change, deadline_s)
        return await self._change_each(request, change, ids, deadline_s)

    async def _change_each(
        self, request: frames.ChangePayload, change: PayloadChange, ids: list[PointId], deadline_s: float
    ) -> frames.Answer:
        """What is sealed is another for each point. A condition is looked at again where the point is changed."""
        answer: frames.Answer | None = None
        for number, point_id in enumerate(ids, 1):
            payload = self.fields.sealed(point_id, change.payload or {})
            of_one = _of_one(change, point_id, payload)
            level: Any = request.acknowledge if number == len(ids) else "applied"
            answer = await self._client.ask(frames.ChangePayload(call=0, change=of_one, acknowledge=level), deadline_s)
        if answer is not None:
            return answer
        informed = await self._client.ask(frames.Info(call=0), deadline_s)
        if not isinstance(informed, frames.Informed):
            raise _unexpected(informed)
        return frames.Written(call=informed.call, epoch=informed.info.epoch, changed=False)

    async def _ids(self, change: PayloadChange, deadline_s: float) -> list[PointId]:
        """Of the points that are meant. Raises NotFoundError if one of them is not there: then nothing is changed."""
        if change.filter is not None:
            return await self._matching(change.filter, deadline_s)
        ids = list(dict.fromkeys(checked_ids(change.ids or [])))
        if len(ids) > 1:
            found = await self._ask(frames.Retrieve(call=0, ids=ids, with_payload=False), frames.Records, deadline_s)
            here = {record.id for record in found.records}
            if missing := [one for one in ids if one not in here]:
                raise NotFoundError(
                    f"no point has the id `{missing[0]}` ({len(missing)} of {len(ids)} ids are missing)"
                )
        return ids

    async def _matching(self, matching: Filter, deadline_s: float) -> list[PointId]:
        found: list[PointId] = []
        offset: PointId | None = None
        while True:
            asked = frames.Scroll(call=0, limit=PAGE, offset=offset, filter=matching, with_payload=False)
            page = await self._client.ask(asked, deadline_s)
            if not isinstance(page, frames.Records):
                raise _unexpected(page)
            found += [record.id for record in page.records]
            if (offset := page.following) is None:
                return found

    async def _ask(self, request: frames.Request, wanted: type[Any], deadline_s: float) -> Any:
        answer = await self.ask(request, deadline_s)
        if not isinstance(answer, wanted):
            raise _unexpected(answer)
        return answer

    def _opened(self, answer: frames.Answer) -> frames.Answer:
        for one in _points_of(answer):
            if one.payload is not None:
                self.fields.opened(one.id, one.payload)
        return answer


def _renewing(one: Renewal) -> PayloadChange:
    if one.keys:
        return PayloadChange("remove", filter=one.matching, keys=list(one.keys))
    return PayloadChange("merge", filter=one.matching, payload=one.payload)


def _points_of(answer: frames.Answer) -> Iterable[Hit | Record]:
    match answer:
        case frames.Found():
            return [hit for hits in answer.hits for hit in hits]
        case frames.Grouped():
            return [hit for group in answer.groups for hit in group.hits]
        case frames.Records():
            return answer.records
    return ()


def _unexpected(answer: frames.Answer) -> ShardError:
    return ShardError(f"host answered {type(answer).__name__}")


def _same(point_id: PointId) -> PointId:
    return point_id


def _of_one(change: PayloadChange, point_id: PointId, payload: dict[str, Any]) -> PayloadChange:
    if change.filter is None:
        return msgspec.structs.replace(change, ids=[point_id], payload=payload)
    same = Filter(must=[as_condition(change.filter), Condition(has_id=[point_id])])
    return msgspec.structs.replace(change, filter=same, payload=payload)


def _change_over(fields: SealedFields, change: PayloadChange) -> PayloadChange:
    """With its filter and its keys for the store; its payload is not sealed yet."""
    if change.key is not None and (field := fields.of_path(change.key)) is not None:
        raise fields.refused(field, "change within it")
    if change.payload is not None and change.key is None:
        fields.check_keys(change.payload)
    keys = None if change.keys is None else fields.all_keys(change.keys, "change")
    return msgspec.structs.replace(change, filter=filter_over(fields, change.filter), keys=keys)


def _upsert(fields: SealedFields, request: frames.Upsert) -> frames.Upsert:
    batch, payloads = request.points, request.points.payloads
    if payloads is not None and len(payloads) == len(batch.ids):
        ids = checked_ids(batch.ids)
        pairs = zip(ids, payloads, strict=True)
        sealed = [None if payload is None else fields.sealed(point_id, payload) for point_id, payload in pairs]
        batch = msgspec.structs.replace(batch, ids=ids, payloads=sealed)
    return msgspec.structs.replace(request, points=batch, condition=filter_over(fields, request.condition))


def _update_vectors(fields: SealedFields, request: frames.UpdateVectors) -> frames.UpdateVectors:
    return msgspec.structs.replace(request, condition=filter_over(fields, request.condition))


def _filtered(fields: SealedFields, request: Any) -> Any:
    return msgspec.structs.replace(request, filter=filter_over(fields, request.filter))


def _create_index(fields: SealedFields, request: frames.CreateIndex) -> frames.CreateIndex:
    return msgspec.structs.replace(request, schema=field_schema(fields, request.field, request.schema))


def _delete_index(fields: SealedFields, request: frames.DeleteIndex) -> frames.DeleteIndex:
    fields.of_path(request.field)
    return request


def _search(fields: SealedFields, request: frames.Search) -> frames.Search:
    return msgspec.structs.replace(request, queries=[query_over(fields, query) for query in request.queries])


def _group(fields: SealedFields, request: frames.Group) -> frames.Group:
    if (field := fields.of_path(request.by)) is not None:
        raise fields.refused(field, "groups")
    return msgspec.structs.replace(request, query=query_over(fields, request.query))


def _facet(fields: SealedFields, request: frames.Facet) -> frames.Facet:
    if (field := fields.of_path(request.key)) is not None:
        raise fields.refused(field, "facets")
    filtered: frames.Facet = _filtered(fields, request)
    return filtered


def _retrieve(fields: SealedFields, request: frames.Retrieve) -> frames.Retrieve:
    return msgspec.structs.replace(request, with_payload=selector_over(fields, request.with_payload))


def _scroll(fields: SealedFields, request: frames.Scroll) -> frames.Scroll:
    check_order(fields, request.order)
    selector = selector_over(fields, request.with_payload)
    return msgspec.structs.replace(request, filter=filter_over(fields, request.filter), with_payload=selector)


_REQUESTS: Mapping[type[frames.Request], Callable[[SealedFields, Any], frames.Request]] = {
    frames.Upsert: _upsert,
    frames.UpdateVectors: _update_vectors,
    frames.DeleteVectors: _filtered,
    frames.Delete: _filtered,
    frames.CreateIndex: _create_index,
    frames.DeleteIndex: _delete_index,
    frames.Search: _search,
    frames.Group: _group,
    frames.Facet: _facet,
    frames.Pairs: _filtered,
    frames.Retrieve: _retrieve,
    frames.Scroll: _scroll,
    frames.Count: _filtered,
}
