"""Witnesses: nodes that have seen a log grow, and put their name under that (C2SP tlog-witness, in one request).

A witness remembers the last checkpoint of each log, on its disk before it signs, and signs only what goes on from
there. So a log that shows one history here and another there is found out by the first witness that it meets twice.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from littoral.artifact.ed25519 import SecretKey
from littoral.audit.checkpoint import Checkpoint, parse_checkpoint
from littoral.audit.disk import Disk
from littoral.audit.note import COSIGNATURE_V1, Note, Verifier, cosign, parse_note
from littoral.audit.tree import EMPTY_ROOT, HASH_BYTES, is_consistent
from littoral.errors import ConflictError, InputError, LittoralError, TrustError

__all__ = ["REASONS", "Asked", "Witness", "asked_text", "cosigned_note", "parse_asked"]

REQUEST_BYTES_MAX = 1 << 16
PROOF_LINES_MAX = 63
LOGS_MAX = 4096
SIZE_DIGITS_MAX = 18
REASONS = ("fork", "key", "size", "full")
"""Why a checkpoint was not cosigned: it contradicts what was seen, is signed by another key, begins at another size
than was seen (the log asks again), or there are too many logs."""

_SEEN, _KEY = "{name}.checkpoint", "{name}.key"


_E = TypeVar("_E", bound=LittoralError)


class Asked(NamedTuple):
    """old_size: of the checkpoint that the asker believes the witness to have. proof: from there."""

    old_size: int
    proof: Sequence[bytes]
    note: bytes


def asked_text(asked: Asked) -> bytes:
    """As `add-checkpoint` has it."""
    lines = [f"old {asked.old_size}", *(base64.b64encode(one).decode() for one in asked.proof)]
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + asked.note


def parse_asked(body: bytes) -> Asked:
    """Raises InputError."""
    head, blank, note = body.partition(b"\n\n")
    lines = head.split(b"\n")
    size = lines[0].removeprefix(b"old ")
    has_form = blank and len(body) <= REQUEST_BYTES_MAX and lines[0].startswith(b"old ") and size.isdigit()
    if not has_form or len(lines) - 1 > PROOF_LINES_MAX or len(size) > SIZE_DIGITS_MAX:
        raise InputError(f"request to a witness: needs `old SIZE`, at most {PROOF_LINES_MAX} hashes, and a checkpoint")
    return Asked(int(size), [_hash(line) for line in lines[1:]], note)


class Witness:
    """Of one node, for all the logs that it is shown. For one thread at a time. now_s: Unix seconds.

    Which key a log has is learnt when it is first seen, from a caller whose name is proven, and never replaced.
    """

    def __init__(self, disk: Disk, name: str, key: SecretKey, now_s: Callable[[], float]) -> None:
        self._disk = disk
        self._name = name
        self._key = key
        self._now_s = now_s
        self._known = {path for path, _ in disk.files(".")}
        self.signed = 0
        self.refused: Counter[str] = Counter()

    @property
    def verifier(self) -> Verifier:
        return Verifier(self._name, self._key.public, COSIGNATURE_V1)

    def seen(self, caller: str) -> Checkpoint | None:
        """The last of this caller's log. Raises TrustError where this witness's own file was changed."""
        path = _SEEN.format(name=caller)
        data = self._disk.read(path)
        return None if data is None else parse_checkpoint(parse_note(data, path), path)

    def add(self, caller: str, log: Verifier, asked: Asked) -> bytes:
        """This witness's key and its cosignature, two lines. caller: proven, and part of what it signs for.

        Raises ConflictError, which tells the size it has seen, where `old_size` is another; TrustError for a log that
        does not go on from there, or another's key; OSError: then nothing was signed.
        """
        note = parse_note(asked.note, f"checkpoint of `{caller}`")
        checkpoint = parse_checkpoint(note, f"checkpoint of `{caller}`")
        self._check_key(caller, log, checkpoint, note)
        before = self.seen(caller)
        self._check_goes_on(caller, before or Checkpoint(log.name, 0, EMPTY_ROOT), checkpoint, asked)
        self._disk.replace(_SEEN.format(name=caller), str(note).encode())
        self.signed += 1
        signed = cosign(note.text, self._name, self._key, int(self._now_s()))
        return f"{self.verifier}\n{signed}".encode()

    def _check_key(self, caller: str, log: Verifier, checkpoint: Checkpoint, note: Note) -> None:
        path = _KEY.format(name=caller)
        if (known := self._disk.read(path)) is None and len(self._known) >= 2 * LOGS_MAX:
            raise self._refusal("full", ConflictError(f"witness: {LOGS_MAX} logs are known here, which is the most"))
        if known is not None and Verifier.parse(known.decode()) != log:
            hint = "its key was replaced, or stolen"
            raise self._refusal("key", TrustError(f"log of `{caller}`: has another key than before", hint=hint))
        if checkpoint.origin != log.name or not note.has(log):
            raise self._refusal("key", TrustError(f"log of `{caller}`: the checkpoint is not signed by `{log.name}`"))
        if known is None:
            self._disk.replace(path, f"{log}\n".encode())
            self._known.add(path)

    def _check_goes_on(self, caller: str, before: Checkpoint, now: Checkpoint, asked: Asked) -> None:
        told = f"log of `{caller}`: {before.size} entries were seen here"
        if now.size < before.size:
            raise self._refusal("fork", TrustError(f"{told}, now it has {now.size}: it was cut back"))
        if asked.old_size != before.size:
            raise self._refusal("size", ConflictError(f"{told}, not {asked.old_size}"))
        if not is_consistent(before.size, now.size, before.root, now.root, asked.proof):
            raise self._refusal("fork", TrustError(f"{told}, its {now.size} do not go on from them: it was forked"))

    def _refusal(self, reason: str, error: _E) -> _E:
        self.refused[reason] += 1
        return error


def cosigned_note(answer: bytes, note: bytes) -> tuple[Note, Verifier]:
    """The note with what a witness answered below it, checked. Raises TrustError, InputError."""
    key, _, line = answer.decode(errors="replace").partition("\n")
    verifier = Verifier.parse(key)
    if verifier.kind != COSIGNATURE_V1:
        raise InputError(f"witness `{verifier.name}`: its key is none of a witness")
    signed = parse_note(note + line.encode(), "answer of a witness")
    signed.check(verifier)
    return signed, verifier


def _hash(line: bytes) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_BYTES:
        raise InputError("request to a witness: a line of the proof is no hash")
    return found
