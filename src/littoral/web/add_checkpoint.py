"""A witness over HTTP, as C2SP's tlog-witness has it: `POST PREFIX/add-checkpoint`; its key: `PREFIX/witness-key`.

Imported where a witness is opened: it needs `cryptography`.
"""

import asyncio
import logging
from collections.abc import Callable

from littoral.audit.note import Verifier
from littoral.audit.witness import Verdict, Witness, parse_asked
from littoral.errors import InputError, TrustError
from littoral.web.messages import Answer, Request
from littoral.web.router import Protocol, Route

__all__ = ["LOG_KEY", "witness_protocol"]

LOG_KEY = "littoral-log-key"
"""Header in which a log tells its key, which the witness learns once."""

TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"

_log = logging.getLogger("littoral.audit.witness")


def witness_protocol(witness: Witness, caller_of: Callable[[Request], str], prefix: str) -> Protocol:
    """caller_of: the name that the request's token has proven, such as the node's; raises for who has none.

    Answers: 200 with the cosignature; 409 with the size that the witness has seen; 422 for a log that does not go on
    from there, 403 for another's key, 404 for a log whose key is not known, 503 where there are too many.
    """
    turn = asyncio.Lock()

    async def add_checkpoint(request: Request) -> Answer:
        caller, asked = caller_of(request), parse_asked(await request.body.read())
        told = request.headers.get(LOG_KEY)
        log = None if told is None else Verifier.parse(str(told))
        async with turn:  # what was seen is read, compared and kept in one step
            try:
                verdict = await asyncio.to_thread(witness.judge, caller, log, asked)
            except TrustError as error:
                raise InputError(error.message) from error
        if verdict.error is not None and verdict.status != 409:
            _log.warning("log of `%s` is not cosigned: %s", caller, verdict.error.message)
        return _answer(verdict)

    async def key(_: Request) -> Answer:
        return Answer(f"{witness.verifier}\n".encode(), media_type=TEXT)

    routes = [Route("POST", f"{prefix}/add-checkpoint", add_checkpoint), Route("GET", f"{prefix}/witness-key", key)]
    return Protocol((f"{prefix}/add-checkpoint",), routes)


def _answer(verdict: Verdict) -> Answer:
    if verdict.error is None:
        return Answer(verdict.line.encode(), media_type=TEXT)
    if verdict.status == 409:
        return Answer(f"{verdict.seen}\n".encode(), 409, SIZE)
    return Answer(f"{verdict.error.message}\n".encode(), verdict.status, TEXT)
