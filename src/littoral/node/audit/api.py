"""`/api/audit`: the log as C2SP tiles over HTTP, entries and proofs, and how it stands. For administrators."""

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from littoral.errors import InputError, NotFoundError
from littoral.node.node import Node
from littoral.web import Answer, Handler, Protocol, Request, Route, json_answer

if TYPE_CHECKING:  # a node that keeps no log has no `cryptography`
    from littoral.audit.log import TreeLog
    from littoral.node.audit.trail import Trail

__all__ = ["audit_protocol"]

AUDIT = "/api/audit"
TILE = f"{AUDIT}/tile/{{level}}/{{number}}"
ENTRIES_MAX = 256
GROUPS = ("{a}", "{a}/{b}", "{a}/{b}/{c}", "{a}/{b}/{c}/{d}", "{a}/{b}/{c}/{d}/{e}")
TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
DIGITS_MAX = 18


def audit_protocol(node: Node) -> Protocol:
    """Every answer but the first is of the last checkpoint, or of what it speaks of."""

    async def state(_: Request) -> Answer:
        return json_answer({"audit": False} if node.audit is None else await _state(node.audit))

    async def checkpoint(_: Request) -> Answer:
        return Answer(str(_trail(node).recorder.log.note).encode(), media_type=TEXT)

    async def witnessed(_: Request) -> Answer:
        found = await _trail(node).recorder.reading(lambda log: log.witnessed)
        if found is None:
            raise NotFoundError("no witness has cosigned this log yet")
        return Answer(str(found).encode(), media_type=TEXT)

    async def key(_: Request) -> Answer:
        return Answer(f"{_trail(node).recorder.log.verifier}\n".encode(), media_type=TEXT)

    async def tile(request: Request) -> Answer:
        from littoral.audit.tiles import parse_tile

        found = parse_tile("/".join(request.names.values()))
        return Answer(await _trail(node).recorder.reading(lambda log: log.tile(found)), media_type=BYTES)

    async def entries(request: Request) -> Answer:
        return json_answer(await _trail(node).recorder.reading(lambda log: _entries(log, request)))

    async def proof(request: Request) -> Answer:
        index = _number(request.names["index"], "entry")
        return json_answer(await _trail(node).recorder.reading(lambda log: _proof(log, index)))

    async def consistency(request: Request) -> Answer:
        old_size = _number(request.query.get("from", "0"), "from")
        return json_answer(await _trail(node).recorder.reading(lambda log: _consistency(log, old_size)))

    plain: dict[str, Handler] = {
        "": state,
        "/checkpoint": checkpoint,
        "/witnessed": witnessed,
        "/key": key,
        "/entries": entries,
        "/proof/{index}": proof,
        "/consistency": consistency,
    }
    routes = [Route("GET", f"{AUDIT}{path}", handler) for path, handler in plain.items()]
    routes += [Route("GET", f"{AUDIT}/tile/{{level}}/{groups}", tile, label=TILE) for groups in GROUPS]
    return Protocol((), routes)


def _trail(node: Node) -> "Trail":
    if node.audit is None:
        raise NotFoundError("this node keeps no audit log", hint="the table `audit` of its site file makes one")
    return node.audit


async def _state(trail: "Trail") -> dict[str, Any]:
    recorder = trail.recorder
    told: dict[str, Any] = {
        "audit": True,
        "failure": recorder.failure,
        "size": recorder.size,
        "waiting": recorder.waiting_count,
        "dropped": dict(recorder.dropped),
        "skipped": trail.skipped,
        "pruned": recorder.pruned,
    }
    if recorder.failure:
        return told
    return told | await recorder.reading(_log_state)


def _log_state(log: "TreeLog") -> dict[str, Any]:
    from littoral.audit.checkpoint import parse_checkpoint

    seen = log.witnessed
    witnesses = [] if seen is None else [one.name for one in seen.signatures if one.name != log.verifier.name]
    return {
        "origin": log.checkpoint.origin,
        "root": log.checkpoint.root.hex(),
        "key": str(log.verifier),
        "witnessed_size": 0 if seen is None else parse_checkpoint(seen, "witnessed").size,
        "witnesses": witnesses,
    }


def _entries(log: "TreeLog", request: Request) -> dict[str, Any]:
    """From the newest back, or from `from` on."""
    query = request.query
    count = min(_number(query.get("count", "50"), "count"), ENTRIES_MAX)
    first = _number(query["from"], "from") if "from" in query else max(0, log.size - count)
    found: list[dict[str, Any]] = []
    for index in range(first, min(first + count, log.size)):
        try:
            entry = log.entry(index)
        except NotFoundError:
            found.append({"index": index, "entry": None})
            continue
        found.append({"index": index, "entry": msgspec.Raw(entry)})
    return {"size": log.size, "entries": found}


def _proof(log: "TreeLog", index: int) -> dict[str, Any]:
    from littoral.audit.checkpoint import parse_checkpoint
    from littoral.audit.log import CHECKPOINT
    from littoral.audit.note import parse_note

    found = log.inclusion(index)
    checkpoint = parse_checkpoint(parse_note(found.note.encode(), CHECKPOINT), CHECKPOINT)
    return {
        "index": index,
        "size": checkpoint.size,
        "entry": msgspec.Raw(found.entry),
        "proof": [base64.b64encode(one).decode() for one in found.proof],
        "checkpoint": found.note,
    }


def _consistency(log: "TreeLog", old_size: int) -> dict[str, Any]:
    from littoral.audit.checkpoint import parse_checkpoint
    from littoral.audit.log import CHECKPOINT

    proof, note = log.consistency(old_size)
    return {
        "from": old_size,
        "to": parse_checkpoint(note, CHECKPOINT).size,
        "proof": [base64.b64encode(one).decode() for one in proof],
        "checkpoint": str(note),
    }


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX):
        raise InputError(f"`{what}` is `{text[:40]}`, must be a whole number")
    return int(text)
