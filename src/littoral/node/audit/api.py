"""`/api/audit`: the log as C2SP tiles over HTTP, entries and proofs, and how it stands. For administrators."""

import asyncio
import base64
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from littoral.errors import ConflictError, InputError, NotFoundError, NotOfferedError
from littoral.node.audit.epochs import LOG
from littoral.node.node import Node
from littoral.web import Answer, Handler, Protocol, Request, Route, json_answer

if TYPE_CHECKING:  # a node that keeps no log has no `cryptography`
    from littoral.audit.log import TreeLog
    from littoral.node.audit.trail import Trail

__all__ = ["audit_protocol"]

AUDIT = "/api/audit"
TILE = f"{AUDIT}/tile/{{level}}/{{number}}"
ENTRIES_MAX = 256
SECONDS_END = 1e12
LOOKED_MAX = 1 << 16
"""Entries that one request with a filter looks at: some hundredths of a second."""

VERIFIED_MAX = 2_000_000
FAULTS_TOLD_MAX = 50
TEXT_CHARACTERS_MAX = 300
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

    async def verified(_: Request) -> Answer:
        trail = _trail(node)
        if is_verifying.locked():
            raise ConflictError("the log is being verified", hint="wait for it to end")
        async with is_verifying:
            return json_answer(await _verified(trail, node.data / LOG))

    is_verifying = asyncio.Lock()
    plain: dict[str, Handler] = {
        "": state,
        "/checkpoint": checkpoint,
        "/witnessed": witnessed,
        "/key": key,
        "/entries": entries,
        "/verified": verified,
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
    from littoral.audit.note import TIME_BYTES

    seen = log.witnessed
    by = [] if seen is None else [one for one in seen.signatures if one.name != log.verifier.name]
    return {
        "origin": log.checkpoint.origin,
        "root": log.checkpoint.root.hex(),
        "key": str(log.verifier),
        "witnessed_size": 0 if seen is None else parse_checkpoint(seen, "witnessed").size,
        "witnesses": [one.name for one in by],
        "witnessed_at_s": [int.from_bytes(one.blob[:TIME_BYTES], "big") for one in by],
    }


def _entries(log: "TreeLog", request: Request) -> dict[str, Any]:
    """From `from` on; or those that fit, from `before` or the newest back."""
    query = request.query
    count = max(1, min(_number(query.get("count", "50"), "count"), ENTRIES_MAX))
    before = _number(query["before"], "before") if "before" in query else None
    since_s, until_s = (_seconds(query.get(name, ""), name) for name in ("since", "until"))
    if "from" in query:
        return {"size": log.size, "entries": _entries_from(log, _number(query["from"], "from"), count)}
    from littoral.audit.finding import Wanted, find_entries

    did, who, on = (query.get(name, "")[:TEXT_CHARACTERS_MAX] for name in ("did", "who", "on"))
    wanted = Wanted(did, who, on, since_s, until_s)
    found = find_entries(log, wanted, count=count, before=before, looked_max=LOOKED_MAX)
    told = [{"index": index, "entry": msgspec.Raw(entry)} for index, entry in found.entries]
    return {"size": log.size, "entries": told, "before": found.before}


def _entries_from(log: "TreeLog", first: int, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index in range(first, min(first + count, log.size)):
        try:
            found.append({"index": index, "entry": msgspec.Raw(log.entry(index))})
        except NotFoundError:
            found.append({"index": index, "entry": None})
    return found


def _seconds(text: str, what: str) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        found = math.nan
    if found is not None and not 0 <= found < SECONDS_END:
        raise InputError(f"`{what}` is `{text[:40]}`, must be a Unix time in seconds, below {SECONDS_END:g}")
    return found


async def _verified(trail: "Trail", folder: Path) -> dict[str, Any]:
    """Raises NotOfferedError for a log that takes too long."""
    from littoral.audit.disk import FolderDisk
    from littoral.audit.verify import verify_log

    size, key = trail.recorder.size, trail.recorder.log.verifier
    if size > VERIFIED_MAX:
        told = f"log of {size} entries: verified here up to {VERIFIED_MAX}"
        raise NotOfferedError(told, hint=f"`littoral audit verify {folder}`")
    report = await asyncio.to_thread(verify_log, FolderDisk(folder), key=key)
    return {
        "ok": report.is_right,
        "size": report.size,
        "checked": report.checked,
        "pruned": report.pruned,
        "root": report.root,
        "witnesses": [one._asdict() for one in report.witnesses],
        "faults": [one._asdict() for one in report.faults[:FAULTS_TOLD_MAX]],
        "fault_count": len(report.faults) + report.more_faults,
    }


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
