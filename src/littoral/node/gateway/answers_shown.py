"""Remembered answers for people: found, explained, judged by hand, purged."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from littoral.answers.asked import Asked
from littoral.answers.entries import Kind, Near
from littoral.answers.keys import asked_of, shape_of
from littoral.answers.observations import Observations
from littoral.errors import InputError, NotFoundError
from littoral.gateway.near_misses import NearMiss
from littoral.gateway.remembered import Remembered
from littoral.node.gateway.shown import (
    ANSWER_CHARACTERS_MAX,
    CurveTold,
    ElsewhereTold,
    EntriesTold,
    EntryTold,
    ExplainBody,
    ExplainTold,
    MissesTold,
    MissTold,
    NearTold,
    PurgeBody,
)
from littoral.node.gateway.telling import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["curve_of", "entries_of", "explained", "judged_by_hand", "misses_of", "purged", "text_of_answer"]

PAGE = 25
SCANNED_MAX, SCANNED_STEP = 2000, 250
MISSES_MAX = 50
SIMILARITIES = [float(value) for value in np.linspace(0.5, 1.0, 101).round(3)]
NEAR_MAX = ELSEWHERE_MAX = 5
ABSENT = "–"


async def entries_of(answers: Remembered, tenant: str, *, text: str, tag: str, cursor: str) -> EntriesTold:
    """In the order of their ids. text: that the question has, whatever its case; questions may lie sealed, so they are
    read one after the other, at most `SCANNED_MAX` of them: `next` says where to go on, also where none was found.
    Raises InputError for a cursor that is none.
    """
    wanted, offset = text.casefold(), _id(cursor, "cursor") if cursor else None
    found: list[EntryTold] = []
    looked = 0
    while looked < SCANNED_MAX:
        step = SCANNED_STEP if wanted else PAGE + 1
        nears, offset = await answers.store.scroll(offset=offset, limit=step, tag=tag or None, tenant=tenant)
        for near in nears:
            if len(found) == PAGE:
                return EntriesTold(found, near.entry.id.hex(), looked)
            looked += 1
            if wanted in near.entry.question.casefold():
                found.append(_entry(answers, near))
        if offset is None:
            break
    return EntriesTold(found, None if offset is None else offset.hex(), looked)


async def curve_of(answers: Remembered, tenant: str, entry: str) -> CurveTold:
    """Raises NotFoundError for an entry that is not there, or another tenant's."""
    near = await _found(answers, tenant, _id(entry, "id"))
    observations = near.observations
    pairs = zip(observations.similarities, observations.are_correct, strict=True)
    curve = answers.watch.curve(observations, SIMILARITIES)
    return CurveTold(
        id=entry,
        question=near.entry.question,
        delta=answers.watch.policy.delta,
        threshold=_threshold(answers, observations),
        points=[(round(float(similarity), 4), int(is_correct)) for similarity, is_correct in pairs],
        curve=[(s, round(risk, 5)) for s, (risk, _, _) in zip(SIMILARITIES, curve, strict=True)],
    )


def misses_of(answers: Remembered) -> MissesTold:
    """What the judge could not tell first, then the newest."""
    return MissesTold([_miss(one) for one in answers.misses.newest(MISSES_MAX)], answers.misses.dropped_count)


async def judged_by_hand(answers: Remembered, miss: str, *, author: bytes, is_correct: bool) -> None:
    """Raises as `Remembered.judged_by_hand`; NotFoundError for a near miss that is judged already, or left."""
    if (found := answers.misses.take(_id(miss, "id"))) is None:
        raise NotFoundError(f"near miss `{miss[:32]}` waits for nobody: it is judged, or its place was taken")
    await answers.judged_by_hand(found, author, is_correct=is_correct)


async def explained(
    answers: Remembered, tenant: str, body: ExplainBody, *, author: bytes, check: "Callable[[str], object]"
) -> ExplainTold:
    """What the request would be told now; nothing is asked, counted or learned. check: of its model. Raises InputError,
    and as `check`.
    """
    request, kind = _request(body)
    asked = asked_of(request, kind, tenant=tenant, author=author, rules=answers.rules)
    check(asked.model)
    exact = None if asked.reach == "nothing" else await answers.store.exact(asked)
    nears: list[NearTold] = []
    elsewhere: list[ElsewhereTold] = []
    is_told = False
    if asked.reach == "semantic" and answers.embed is not None:
        vector, shape = await answers.embed(asked.question), shape_of(request, kind, answers.rules)
        await answers.unplaced.place(asked, answers.embed)
        await answers.unplaced.place_elsewhere(asked, answers.embed)
        near = await answers.store.nearest(asked, vector, NEAR_MAX)
        there = await answers.store.elsewhere(asked, vector, ELSEWHERE_MAX)
        elsewhere = [_elsewhere(one, shape) for one in there if one.similarity >= answers.options.similarity_min]
        nears = [_near(answers, asked, one) for one in near]
        may = [answers.standing(one, asked).may for one in near]
        is_told = bool(nears) and nears[may.index(True) if any(may) else 0].is_served
    outcome = "off" if asked.reach == "nothing" else "hit" if exact is not None else "semantic" if is_told else "miss"
    return ExplainTold(
        outcome=outcome,
        reach=asked.reach,
        reason=asked.reason,
        question=asked.question,
        model=asked.model,
        partition=asked.partition.hex(),
        is_exact=exact is not None,
        delta=answers.watch.policy.delta,
        near=nears,
        elsewhere=elsewhere,
    )


async def purged(answers: Remembered, tenant: str, body: PurgeBody) -> int:
    """How many are gone; their near misses go too. Raises InputError where nothing is said."""
    given = body.id or body.tags or body.model or body.policy_version
    if body.everything == bool(given):
        raise InputError("`everything` stands alone, else `id`, `tags`, `model` or `policy_version` says what goes")
    count = await answers.store.purge(
        id=None if body.id is None else bytes.fromhex(body.id),
        tags=body.tags,
        model=body.model,
        policy_version=body.policy_version,
        tenant=tenant,
    )
    await answers.forget_purged(None if body.id is None else bytes.fromhex(body.id), body.model, is_all=body.everything)
    return count


def text_of_answer(body: bytes) -> str:
    """Of the first choice of an OpenAI answer; the body itself where it has none."""
    try:
        choice = msgspec.json.decode(body)["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (msgspec.DecodeError, LookupError, TypeError):
        text = None
    return text if isinstance(text, str) else body.decode(errors="replace")


def _id(text: str, name: str) -> bytes:
    try:
        found = bytes.fromhex(text) if len(text) == 32 else b""
    except ValueError:
        found = b""
    if len(found) != 16:
        raise InputError(f"`{name}` is `{text[:40]}`, must be 32 hexadecimal digits")
    return found


async def _found(answers: Remembered, tenant: str, entry: bytes) -> Near:
    near = await answers.store.entry(entry)
    if near is None or near.entry.tenant != tenant:
        raise NotFoundError(f"no answer `{entry.hex()}` is remembered")
    return near


def _threshold(answers: Remembered, observations: Observations) -> float | None:
    """From where on all more similar questions are told."""
    told = [is_told for _, _, is_told in answers.watch.curve(observations, SIMILARITIES)]
    count = next((number for number, is_told in enumerate(reversed(told)) if not is_told), len(told))
    return SIMILARITIES[-count] if count else None


def _entry(answers: Remembered, near: Near) -> EntryTold:
    entry, observations = near.entry, near.observations
    return EntryTold(
        id=entry.id.hex(),
        question=entry.question,
        answer=text_of_answer(entry.answer)[:ANSWER_CHARACTERS_MAX],
        model=entry.model,
        kind=entry.kind,
        tier=entry.tier,
        tags=list(entry.tags),
        made_at=entry.made_at_s,
        expires_at=entry.expires_at_s or None,
        policy_version=entry.policy_version,
        tokens=entry.prompt_tokens + entry.completion_tokens,
        money=entry.cost_micro / MICRO,
        observed=len(observations),
        wrong=int((~observations.are_correct).sum()),
        threshold=_threshold(answers, observations) if answers.embed is not None else None,
    )


def _miss(one: NearMiss) -> MissTold:
    return MissTold(
        id=one.id.hex(),
        entry=one.entry.hex(),
        model=one.model,
        at=one.at_s,
        similarity=one.similarity,
        question=one.question,
        cached_question=one.cached_question,
        fresh_answer=one.fresh[:ANSWER_CHARACTERS_MAX],
        cached_answer=one.cached[:ANSWER_CHARACTERS_MAX],
        judged=one.judged,
    )


def _request(body: ExplainBody) -> "tuple[Mapping[str, Any], Kind]":
    request: Mapping[str, Any]
    if (body.question is None) == (body.request is None):
        raise InputError("one of `question` and `request` is needed")
    if body.request is not None:
        request = body.request if body.model is None else {**body.request, "model": body.model}
    else:
        message = {"role": "user", "content": body.question}
        request = {"model": body.model or "", "messages": [message]}
    return request, "completion" if "prompt" in request and "messages" not in request else "chat"


def _elsewhere(near: Near, here: "Mapping[str, str]") -> ElsewhereTold:
    there = near.entry.shape
    names = [*here, *(name for name in there if name not in here)] if there else []
    return ElsewhereTold(
        id=near.entry.id.hex(),
        question=near.entry.question,
        similarity=near.similarity,
        partition=near.entry.partition.hex(),
        differs=[
            (name, there.get(name, ABSENT), here.get(name, ABSENT))
            for name in names
            if there.get(name, ABSENT) != here.get(name, ABSENT)
        ],
    )


def _why_not(answers: Remembered, observations: Observations) -> str:
    if answers.watch.state == "alarm":
        return "alarm: only the same requests are told again"
    return "as learned, it may be wrong here too often" if len(observations) else "nothing was judged beside it yet"


def _near(answers: Remembered, asked: Asked, near: Near) -> NearTold:
    found = answers.standing(near, asked)
    ((_, bound, is_told),) = answers.watch.curve(found.observations, [near.similarity])
    is_served = found.may and is_told
    why = "as near as it has to be" if is_served else _why_not(answers, found.observations)
    return NearTold(
        id=near.entry.id.hex(),
        question=near.entry.question,
        tier=near.entry.tier,
        similarity=near.similarity,
        threshold=_threshold(answers, found.observations),
        bound=bound,
        is_served=is_served,
        reason=found.reason or why,
        observed=len(found.observations),
    )
