"""Witnesses by their address: the orchestrator, or any other that speaks C2SP's tlog-witness; one after another."""

import asyncio
import contextlib
import http.client
import logging
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from littoral.audit.log import TreeLog
from littoral.audit.note import Verifier
from littoral.audit.recorder import Recorder
from littoral.audit.witness import Asked, asked_text, signed_note
from littoral.clock import Clock
from littoral.errors import LittoralError, PeerError, TrustError
from littoral.node.audit.cosigning import Cosigning

__all__ = ["UrlWitness", "UrlWitnesses"]

ANSWER_BYTES_MAX = 1 << 16
TOKEN_BYTES_MAX = 4096
ASK_S = 10.0
SIZE_DIGITS_MAX = 18
TRIES = 2
REFUSED = (403, 404, 409, 422)
LOG_KEY = "littoral-log-key"

_log = logging.getLogger(__name__)


class UrlWitness(NamedTuple):
    """url: what `/add-checkpoint` follows. token_file: read for each request; None: it asks for none. ca: file of
    certificates that are trusted; None: the machine's.
    """

    url: str
    key: Verifier
    token_file: Path | None = None
    ca: Path | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body. Raises PeerError, OSError."""
        parts = urlsplit(self.url)
        token = {} if self.token_file is None else {"authorization": f"Bearer {_text(self.token_file)}"}
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            connection = http.client.HTTPSConnection(parts.netloc, timeout=ASK_S, context=trusted)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=ASK_S)
        try:
            connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body, {**headers, **token})
            answer = connection.getresponse()
            data = answer.read(ANSWER_BYTES_MAX + 1)
        except (http.client.HTTPException, ValueError) as error:  # ValueError: a token that no header can hold
            raise PeerError(f"witness `{self.url}`: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if len(data) > ANSWER_BYTES_MAX:
            raise PeerError(f"witness `{self.url}`: answers with over {ANSWER_BYTES_MAX} bytes")
        return answer.status, data


class UrlWitnesses:
    """For one event loop."""

    def __init__(self, recorder: Recorder, witnesses: Sequence[UrlWitness], cosigning: Cosigning, clock: Clock) -> None:
        self._recorder = recorder
        self._witnesses = witnesses
        self._cosigning = cosigning
        self._clock = clock
        self._seen: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def open(self, every_s: float) -> None:
        """0: nobody is asked."""
        if every_s and self._witnesses:
            self._task = asyncio.get_running_loop().create_task(self._ask_always(every_s))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def ask_all(self) -> Counter[str]:
        """Shows the log to each. What became of it: `signed`, `refused`, `away`."""
        return Counter([await self._ask(witness) for witness in self._witnesses])

    async def _ask_always(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self.ask_all()

    async def _ask(self, witness: UrlWitness) -> str:
        try:
            for _ in range(TRIES):
                if await self._is_cosigned(witness):
                    return "signed"
        except TrustError as error:
            self._cosigning.refused += 1
            _log.error("audit log: %s", error.message)
            return "refused"
        except (LittoralError, OSError) as error:
            _log.warning("audit log: witness `%s`: %s", witness.url, error)
        self._cosigning.unanswered += 1
        return "away"

    async def _is_cosigned(self, witness: UrlWitness) -> bool:
        """False where the witness has seen another size than was thought; that one is known then.

        Raises TrustError where it says that the log contradicts what it has seen.
        """
        old_size, shown_at = self._seen[witness.url], self._clock.monotonic()

        def shown(log: TreeLog) -> tuple[Verifier, Asked]:
            known = min(old_size, log.size)
            proof, note = log.consistency(known)
            return log.verifier, Asked(known, proof, str(note).encode())

        log, asked = await self._recorder.writing(shown)
        status, data = await asyncio.to_thread(witness.post, asked_text(asked), {LOG_KEY: str(log)})
        told = data.decode(errors="replace").strip()
        size = int(asked.note.split(b"\n")[1])
        if status == 409 and told.isascii() and told.isdecimal() and len(told) <= SIZE_DIGITS_MAX:
            if int(told) != asked.old_size and int(told) <= size:
                self._seen[witness.url] = int(told)
                return False
            told = f"it has seen {told} entries, this log shows {size} that do not go on from them"
        if status in REFUSED:
            raise TrustError(f"witness `{witness.url}` refuses it: {status}: {told[:400]}")
        if status != 200:
            raise PeerError(f"answers {status}: {told[:200]}")
        note = signed_note(data, asked.note, witness.key)
        await self._recorder.writing(lambda log: log.cosigned(note, witness.key))
        self._seen[witness.url] = size
        self._cosigning.signed(size, shown_at)
        return True


def _text(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(TOKEN_BYTES_MAX).decode(errors="replace").strip()
