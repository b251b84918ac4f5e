"""Nodes that witness each other's logs: a node shows its checkpoint to others, who cosign it or say why not."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random

from littoral.audit.log import TreeLog
from littoral.audit.note import Verifier
from littoral.audit.recorder import Recorder
from littoral.audit.witness import REASONS, Asked, Witness, asked_text, cosigned_note, parse_asked
from littoral.clock import Clock
from littoral.errors import ConflictError, ForbiddenError, LittoralError, TrustError
from littoral.node.audit.cosigning import Cosigning
from littoral.telemetry import Reading
from littoral.transport import Transport

__all__ = ["SERVICE", "Witnessing"]

SERVICE = "audit-witness"
PEERS_MAX = 3
ASK_S = 5.0
SIZE, SIGNED = b"size ", b"signed\n"
TRIES = 2

_log = logging.getLogger(__name__)


class Witnessing:
    """Both sides of one node. members: of the site; nobody else is answered or asked."""

    def __init__(
        self,
        recorder: Recorder,
        witness: Witness,
        transport: Transport,
        members: Callable[[], Mapping[str, str]],
        rng: Random,
        cosigning: Cosigning,
        clock: Clock,
    ) -> None:
        self._recorder = recorder
        self._witness = witness
        self._transport = transport
        self._members = members
        self._rng = rng
        self._seen: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._cosigning = cosigning
        self._clock = clock

    async def open(self, every_s: float) -> None:
        """From now on others are answered, and asked; 0: not asked."""
        await self._transport.serve(SERVICE, self._answer)
        if every_s:
            self._task = asyncio.get_running_loop().create_task(self._ask_all(every_s))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def readings(self) -> Iterator[Reading]:
        """For a scrape."""
        yield Reading("littoral_audit_witness_signed_total", (), self._witness.signed)
        for reason in REASONS:
            yield Reading("littoral_audit_witness_refused_total", (reason,), self._witness.refused[reason])

    async def ask_some(self) -> Counter[str]:
        """Shows the log to a few of those who are here. What became of it, by name: `signed`, `refused`, `away`."""
        here = sorted((self._transport.alive() & self._members().keys()) - {self._transport.name})
        found: Counter[str] = Counter()
        for peer in self._rng.sample(here, min(PEERS_MAX, len(here))):
            found[await self._ask(peer)] += 1
        return found

    async def _ask_all(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            with contextlib.suppress(LittoralError):
                await self.ask_some()

    async def _ask(self, peer: str) -> str:
        try:
            for _ in range(TRIES):
                if await self._is_cosigned(peer):
                    return "signed"
        except TrustError as error:
            self._cosigning.refused += 1
            _log.error("audit log: witness `%s` refuses it: %s", peer, error.message)
            return "refused"
        except (LittoralError, OSError):
            pass
        self._cosigning.unanswered += 1
        return "away"

    async def _is_cosigned(self, peer: str) -> bool:
        """False where the witness has seen another size than was thought; that one is known then."""
        old_size, shown_at = self._seen.get(peer, 0), self._clock.monotonic()

        def shown(log: TreeLog) -> tuple[Verifier, Asked]:
            known = min(old_size, log.size)
            proof, note = log.consistency(known)
            return log.verifier, Asked(known, proof, str(note).encode())

        verifier, asked = await self._recorder.writing(shown)
        body = f"{verifier}\n".encode() + asked_text(asked)
        answer = await self._transport.request(peer, SERVICE, body, deadline_s=ASK_S)
        if answer.startswith(SIZE) and answer[len(SIZE) :].isdigit():
            self._seen[peer] = int(answer[len(SIZE) :])
            return False
        note, by = cosigned_note(answer.removeprefix(SIGNED), asked.note)
        await self._recorder.writing(lambda log: log.cosigned(note, by))
        self._seen[peer] = int(note.text.split("\n")[1])
        self._cosigning.signed(self._seen[peer], shown_at)
        return True

    async def _answer(self, caller: str, body: bytes) -> bytes:
        if caller not in self._members():
            raise ForbiddenError(f"node `{caller}` is no member of this site")
        line, _, rest = body.partition(b"\n")
        log, asked = Verifier.parse(line.decode(errors="replace")), parse_asked(rest)
        async with self._turn:
            try:
                return SIGNED + await asyncio.to_thread(self._witness.add, caller, log, asked)
            except ConflictError:
                seen = self._witness.seen(caller, log.name)
                return SIZE + str(0 if seen is None else seen.size).encode()
            except TrustError as error:
                _log.error("audit log of `%s`: %s", caller, error.message)
                raise
