"""Witnesses: nodes and orchestrators that have seen a log grow, and put their name under that (C2SP tlog-witness).

A witness remembers the last checkpoint of each log, on its disk before it signs, and signs only what goes on from
there. So a log that shows one history here and another there is found out by the first witness that it meets twice.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from littoral.artifact.ed25519 import SecretKey
from littoral.audit.checkpoint import Checkpoint, parse_checkpoint
from littoral.audit.disk import Disk
from littoral.audit.note import COSIGNATURE_V1, Note, Verifier, cosign, parse_note
from littoral.audit.tree import EMPTY_ROOT, HASH_BYTES, is_consistent
from littoral.errors import ConflictError, InputError, LittoralError, NotFoundError, TrustError

__all__ = ["REASONS", "Asked", "Verdict", "Witness", "asked_text", "cosigned_note", "parse_asked", "signed_note"]

REQUEST_BYTES_MAX = 1 << 16
PROOF_LINES_MAX = 63
LOGS_MAX = 4096
EPOCHS_MAX = 64
"""Of one caller: logs that a restored node has begun."""

SIZE_DIGITS_MAX = 18
REASONS = ("fork", "key", "size", "full")
"""Why a checkpoint was not cosigned: it contradicts what was seen, is signed by another key, begins at another size
than was seen (the log asks again), or there are too many logs."""

_SEEN, _KEY = "{name}.checkpoint", "{name}.key"


class Asked(NamedTuple):
    """old_size: of the checkpoint that the asker believes the witness to have. proof: from there."""

    old_size: int
    proof: Sequence[bytes]
    note: bytes


class Verdict(NamedTuple):
    """status: as C2SP's `add-checkpoint` answers. line: the cosignature, with its newline; empty unless status is 200.

    seen: the size that the witness has seen so far. error: why it did not sign.
    """

    status: int
    seen: int
    line: str = ""
    error: LittoralError | None = None


class _RefusedError(Exception):
    def __init__(self, reason: str, status: int, error: LittoralError) -> None:
        super().__init__(reason)
        self.reason, self.status, self.error = reason, status, error


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

    Which key a log has is learnt when it is first seen, from a caller whose name is proven, and never replaced. The
    same caller may begin further logs, as a restored node does, below the name of its first: `NAME/…`.
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

    def seen(self, caller: str, origin: str) -> Checkpoint | None:
        """The last of this log. Raises TrustError where this witness's own file was changed."""
        path = _SEEN.format(name=self._file(caller, origin))
        data = self._disk.read(path)
        return None if data is None else parse_checkpoint(parse_note(data, path), path)

    def judge(self, caller: str, log: Verifier | None, asked: Asked) -> Verdict:
        """Signs, or says why not. caller: proven, and part of what it signs for. log: its key; None: as it is known.

        What was seen is on the disk before anything is signed. Raises TrustError for what is no checkpoint, OSError.
        """
        note = parse_note(asked.note, f"checkpoint of `{caller}`")
        checkpoint = parse_checkpoint(note, f"checkpoint of `{caller}`")
        name = self._file(caller, checkpoint.origin)
        before = self.seen(caller, checkpoint.origin) or Checkpoint(checkpoint.origin, 0, EMPTY_ROOT)
        try:
            self._check_key(caller, name, log, checkpoint, note)
            self._check_goes_on(caller, before, checkpoint, asked)
        except _RefusedError as refusal:
            self.refused[refusal.reason] += 1
            return Verdict(refusal.status, before.size, error=refusal.error)
        self._disk.replace(_SEEN.format(name=name), str(note).encode())
        self.signed += 1
        return Verdict(200, checkpoint.size, str(cosign(note.text, self._name, self._key, int(self._now_s()))))

    def add(self, caller: str, log: Verifier, asked: Asked) -> bytes:
        """As `judge`: this witness's key and its cosignature, two lines.

        Raises ConflictError where `old_size` is another than the witness has seen; TrustError for a log that does not
        go on from there, or another's key; OSError: then nothing was signed.
        """
        verdict = self.judge(caller, log, asked)
        if verdict.error is not None:
            raise verdict.error
        return f"{self.verifier}\n{verdict.line}".encode()

    def _file(self, caller: str, origin: str) -> str:
        """Of the caller's first log, its name; of another, one with a digest."""
        first = self._first(caller)
        return caller if first in (None, origin) else f"{caller}+{sha256(origin.encode()).hexdigest()[:32]}"

    def _first(self, caller: str) -> str | None:
        known = self._disk.read(_KEY.format(name=caller))
        return None if known is None else Verifier.parse(known.decode()).name

    def _check_key(self, caller: str, name: str, log: Verifier | None, checkpoint: Checkpoint, note: Note) -> None:
        path = _KEY.format(name=name)
        data = self._disk.read(path)
        known = None if data is None else Verifier.parse(data.decode())
        if (log := log or known) is None:
            raise _RefusedError("key", 404, NotFoundError(f"log `{checkpoint.origin}`: is not known here"))
        if known is not None and known != log:
            hint = "its key was replaced, or stolen"
            raise _RefusedError("key", 403, TrustError(f"log of `{caller}`: has another key than before", hint=hint))
        if checkpoint.origin != log.name or not note.has(log):
            told = f"log of `{caller}`: the checkpoint is not signed by `{log.name}`"
            raise _RefusedError("key", 403, TrustError(told))
        if known is None:
            self._check_new(caller, name, log)
            self._disk.replace(path, f"{log}\n".encode())
            self._known.add(path)

    def _check_new(self, caller: str, name: str, log: Verifier) -> None:
        first = self._first(caller)
        if first is not None and not log.name.startswith(f"{first}/"):
            told = f"log of `{caller}`: is called `{log.name}`, expected `{first}` or a name below it"
            raise _RefusedError("key", 403, TrustError(told))
        epochs = sum(path.startswith(f"{caller}+") for path in self._known) if name != caller else 0
        if len(self._known) >= 2 * LOGS_MAX or epochs >= 2 * EPOCHS_MAX:
            told = f"witness: {LOGS_MAX} logs are known here, or {EPOCHS_MAX} of `{caller}`, which is the most"
            raise _RefusedError("full", 503, ConflictError(told))

    def _check_goes_on(self, caller: str, before: Checkpoint, now: Checkpoint, asked: Asked) -> None:
        told = f"log of `{caller}`: {before.size} entries were seen here"
        if asked.old_size > now.size:
            wrong = f"log of `{caller}`: {asked.old_size} entries are said to be known, now it has {now.size}"
            raise _RefusedError("size", 400, InputError(wrong))
        if now.size < before.size:
            raise _RefusedError("fork", 409, TrustError(f"{told}, now it has {now.size}: it was cut back"))
        if asked.old_size != before.size:
            raise _RefusedError("size", 409, ConflictError(f"{told}, not {asked.old_size}"))
        if not is_consistent(before.size, now.size, before.root, now.root, asked.proof):
            status = 409 if now.size == before.size else 422
            error = TrustError(f"{told}, its {now.size} do not go on from them: it was forked")
            raise _RefusedError("fork", status, error)


def cosigned_note(answer: bytes, note: bytes) -> tuple[Note, Verifier]:
    """The note with what a witness answered below it, checked. Raises TrustError, InputError."""
    key, _, line = answer.decode(errors="replace").partition("\n")
    verifier = Verifier.parse(key)
    if verifier.kind != COSIGNATURE_V1:
        raise InputError(f"witness `{verifier.name}`: its key is none of a witness")
    signed = parse_note(note + line.encode(), "answer of a witness")
    signed.check(verifier)
    return signed, verifier


def signed_note(answer: bytes, note: bytes, witness: Verifier) -> Note:
    """As `cosigned_note`, of a witness whose key is known: an answer of signatures alone. Raises TrustError."""
    signed = parse_note(note + answer, f"answer of `{witness.name}`")
    signed.check(witness)
    return signed


def _hash(line: bytes) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_BYTES:
        raise InputError("request to a witness: a line of the proof is no hash")
    return found
