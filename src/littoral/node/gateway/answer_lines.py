"""Answers as lines of JSON: what people wrote, what a log holds, what was exported (docs/reference/answer-lines.md)."""

import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from littoral.answers.entries import Entry, Kind, Near, Tier, entry_of, payload_of
from littoral.answers.keys import asked_of, shape_of, unkept
from littoral.answers.labels import FIELDS, Labels
from littoral.errors import ArtifactError, InputError, RequestError
from littoral.gateway.remembered import Remembered
from littoral.node.gateway.answers_shown import text_of_answer
from littoral.node.gateway.shown import ImportedTold

__all__ = ["LINES_MAX", "exported", "imported"]

LINES_MAX = 256
VERSION = 3
"""Of an export. 1 had no head and no judgements, 2 not what was learned of all together."""

SCROLLED = 200
NOWHERE = np.zeros(1, np.float32)

_Text = Annotated[str, Meta(min_length=1, max_length=262_144)]


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """embedder: whose similarities they are. observations, authors: as `answers.labels` packs them, in base64."""

    embedder: Annotated[str, Meta(max_length=4096)]
    observations: Annotated[str, Meta(max_length=1024)]
    authors: Annotated[str, Meta(max_length=1024)] = ""


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was learned of all answers together. embedder: as of `Judged`. judge: by whose verdicts. watch: as
    `answers.watch` tells it.
    """

    embedder: Annotated[str, Meta(min_length=1, max_length=4096)]
    judge: Annotated[str, Meta(max_length=512)]
    watch: dict[str, Any]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `question` and `answer`, `request` and `response`, `entry`; or `answers`, the head of an export, perhaps
    with `learned`.

    judged: of `entry`, what was observed of it with one embedder. model, system: of `question`. tier: curated for what
    people wrote, learned for a log, unless it says otherwise. ttl_s: 0: it never expires, which is so for curated ones.
    """

    question: _Text | None = None
    answer: _Text | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    system: _Text | None = None
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    entry: dict[str, Any] | None = None
    judged: Judged | None = None
    answers: Annotated[int, Meta(ge=1)] | None = None
    learned: Learned | None = None
    tags: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=32)] = []
    tier: Literal["learned", "curated"] | None = None
    ttl_s: Annotated[int, Meta(ge=0, le=315_360_000)] | None = None


_decode = msgspec.json.Decoder(Line).decode


async def imported(answers: Remembered, tenant: str, data: bytes, *, now_s: float, author: bytes) -> ImportedTold:
    """Each line that is good is durable. A line that is refused is counted, and the first of them is told. Raises
    InputError for more lines than `LINES_MAX`, ShardError and UnavailableError where nothing can be kept now: what
    came before is, and the batch may be sent again.
    """
    lines = data.split(b"\n")
    if len(lines) > LINES_MAX + 1:
        raise InputError(f"body: more than {LINES_MAX} lines")
    kept, refused = 0, list[tuple[int, str]]()
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _line(text)
            if line.learned is not None:
                _learn(answers, line.learned)
            if line.answers is None:
                entry, labels = _entry(answers, tenant, line, now_s, author), _labels(answers, line)
                if not await answers.store.put(entry, await _vector(answers, entry.question), labels=labels):
                    raise InputError("a curated answer stands in its place, or a purge took it meanwhile")
                kept += 1
        except (RequestError, ArtifactError) as error:
            refused.append((number, error.message))
    at, why = refused[0] if refused else (None, "")
    return ImportedTold(kept, len(refused), at, why)


async def exported(answers: Remembered, tenant: str) -> AsyncIterator[bytes]:
    """A head with the version and what was learned of all together, and every entry with what was observed of it, a
    line each.
    """
    head: dict[str, Any] = {"answers": VERSION}
    if answers.options.embedder_models:
        head["learned"] = Learned(answers.options.embedder_models, answers.options.judge_of, answers.watch.told())
    yield msgspec.json.encode(head) + b"\n"
    offset = None
    for _ in itertools.count():
        nears, offset = await answers.store.scroll(offset=offset, limit=SCROLLED, tenant=tenant)
        lines = [msgspec.json.encode(_exported(answers, near)) for near in nears]
        if lines:
            yield b"\n".join([*lines, b""])
        if offset is None:
            return


def _exported(answers: Remembered, near: Near) -> dict[str, Any]:
    payload = payload_of(near.entry, near.labels)
    packed = {name: payload.pop(name) for name in FIELDS}
    if not len(near.observations) or not answers.options.embedder_models:
        return {"entry": payload}
    return {"entry": payload, "judged": {"embedder": answers.options.embedder_models, **packed}}


def _learn(answers: Remembered, learned: Learned) -> None:
    """With this very embedder, judge and policy, where nothing was learned yet; another's is of no use here."""
    options = answers.options
    if (learned.embedder, learned.judge) == (options.embedder_models, options.judge_of):
        answers.watch.learn_from(learned.watch)


def _labels(answers: Remembered, line: Line) -> Labels | None:
    """What was observed with this very embedder; of another's nothing is to be learned. Raises ArtifactError."""
    if line.judged is None or line.judged.embedder != answers.options.embedder_models:
        return None
    return Labels.of(msgspec.to_builtins(line.judged))


def _line(text: bytes) -> Line:
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(str(error)) from error
    if found.answers is not None:
        if found.answers > VERSION:
            raise InputError(
                f"an export of version {found.answers}, this node reads up to {VERSION}",
                hint="a newer release has written it: upgrade this node",
            )
        return found
    is_written = found.question is not None and found.answer is not None
    is_one = sum((is_written, found.request is not None, found.entry is not None)) == 1
    if not is_one or (found.request is None) != (found.response is None):
        raise InputError("one of `question` with `answer`, `request` with `response`, and `entry` is needed")
    if found.judged is not None and found.entry is None:
        raise InputError("`judged` belongs to an `entry`")
    if found.learned is not None:
        raise InputError("`learned` belongs to the head, beside `answers`")
    return found


def _entry(answers: Remembered, tenant: str, line: Line, now_s: float, author: bytes) -> Entry:
    if line.entry is not None:
        return _brought(tenant, line, line.entry)
    request, response, of_line = _told(line)
    kind: Kind = "completion" if "prompt" in request and "messages" not in request else "chat"
    asked = asked_of(request, kind, tenant=tenant, author=author, rules=answers.rules)
    if asked.reach == "nothing":
        raise InputError(f"is never told again: {asked.reason}")
    answer = msgspec.json.encode(response)
    if reason := _unfit(response, kind) or unkept(text_of_answer(answer), answers.rules):
        raise InputError(reason)
    prompt_tokens, completion_tokens = _usage(response)
    tier = line.tier or of_line
    ttl_s = line.ttl_s if line.ttl_s is not None else 0 if tier == "curated" else answers.ttl_s
    return Entry(
        tenant=tenant,
        model=asked.model,
        exact=asked.exact,
        partition=asked.partition,
        question=asked.question,
        answer=answer,
        made_at_s=int(now_s),
        expires_at_s=int(now_s) + ttl_s if ttl_s else 0,
        author=author,
        tags=tuple(line.tags),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_micro=answers.cost_micro(asked.model, prompt_tokens, completion_tokens),
        policy_version=answers.rules.policy_version,
        tier=tier,
        kind=kind,
        shape=shape_of(request, kind, answers.rules),
    )


def _told(line: Line) -> tuple[Mapping[str, Any], Mapping[str, Any], Tier]:
    """Request and response; what people wrote counts as a request with these messages and nothing else."""
    if line.request is not None and line.response is not None:
        return line.request, line.response, "learned"
    system = [{"role": "system", "content": line.system}] if line.system else []
    messages = [*system, {"role": "user", "content": line.question}]
    message = {"role": "assistant", "content": line.answer}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    response = {"id": "chatcmpl-curated", "object": "chat.completion", "created": 0, "model": line.model}
    return {"model": line.model, "messages": messages}, response | {"choices": [choice]}, "curated"


def _brought(tenant: str, line: Line, payload: Mapping[str, Any]) -> Entry:
    """Of an export of the same tenant, whose digests hold under its rules. Raises InputError for another's."""
    found = entry_of(payload)
    if found.tenant != tenant:
        raise InputError("an entry of another tenant: its digests hold there only")
    tags = (*found.tags, *(tag for tag in line.tags if tag not in found.tags))
    return msgspec.structs.replace(found, tags=tags, tier=line.tier or found.tier, is_unplaced=False)


def _unfit(response: Mapping[str, Any], kind: Kind) -> str:
    choices = response.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return "`response` must have one choice"
    if choices[0].get("finish_reason") not in ("stop", None):
        return f"the answer did not end by itself: `finish_reason` is `{str(choices[0]['finish_reason'])[:40]}`"
    place = choices[0].get("message") if kind == "chat" else choices[0]
    text = place.get("content" if kind == "chat" else "text") if isinstance(place, dict) else None
    return "" if isinstance(text, str) and text else "`response` must have a text"


def _usage(response: Mapping[str, Any]) -> tuple[int, int]:
    usage = response.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and 0 <= count < 1 << 31 else 0 for count in counts)
    return prompt, completion


async def _vector(answers: Remembered, question: str) -> NDArray[np.float32]:
    """Without an embedder answers are found by their request alone, wherever they lie."""
    return NOWHERE if answers.embed is None else await answers.embed(question)
