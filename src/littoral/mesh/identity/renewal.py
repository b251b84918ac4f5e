"""A node's certificate renewed inside its site: from two thirds of its life on, by whichever issuer answers."""

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import msgspec

from littoral.errors import LittoralError
from littoral.mesh.identity.due import renew_from_s
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.messages import (
    ANSWER_BYTES_MAX,
    ASK_BYTES_MAX,
    RENEW,
    SHARE_KEY,
    Proven,
    RenewAnswer,
    ShareAnswer,
    decoded,
    prove,
)
from littoral.mesh.rollover import Rollover
from littoral.mesh.trust.certificates import make_request
from littoral.mesh.trust.keys import new_node_key, unseal
from littoral.transport import Transport

__all__ = ["Renewal", "RenewalState", "asking", "serve_renewals"]

RETRY_S = 600.0
RETRY_SOON_S = 10.0
"""While the others take nothing but a renewal, or an issuer that has the key of the newest authority may be near."""
RETRY_BEHIND_S = 60.0
"""After a certificate by the authority before that: every one costs the links."""
DEADLINE_S = 10.0

_T = TypeVar("_T", bound=msgspec.Struct)

AskPeer = Callable[[str, str, bytes], Awaitable[bytes]]
"""Asks a peer for a service, as `Transport.request` does."""


class RenewalState(NamedTuple):
    """failure: why the last try failed; empty after one that did not. next_s: when the next is due, Unix time."""

    expires_at_s: int
    next_s: float
    renewed_count: int
    failure: str


class Renewal:
    """For one node. `tick` is to be called every few minutes; `state` says how it goes."""

    def __init__(self, identity: Identity, ask: AskPeer, rng: random.Random) -> None:
        self._identity = identity
        self._ask = ask
        self._rng = rng
        self._share = rng.random()
        self._not_before_s = 0.0
        self._count = 0
        self._failure = ""

    @property
    def state(self) -> RenewalState:
        expires_at_s = self._identity.credential.certificate.expires_at_s
        return RenewalState(expires_at_s, max(self._not_before_s, self._due_s), self._count, self._failure)

    @property
    def _due_s(self) -> float:
        if self._is_outdated:
            return 0.0
        due_s = renew_from_s(self._identity.credential.certificate, self._share)
        rollover = self._rollover
        return due_s if rollover is None else min(due_s, rollover.renew_from_s(self._share))

    @property
    def _rollover(self) -> Rollover | None:
        """That this node's certificate is still to follow. Who was left behind joins again."""
        roster = self._identity.roster()
        rollover = roster.rollover if roster else None
        return None if rollover is None or rollover.is_finished or not self._identity.is_behind else rollover

    @property
    def _is_outdated(self) -> bool:
        """Whether a certificate of this node was revoked since this one was made: the others ask for a newer one."""
        roster = self._identity.roster()
        own = roster.find(self._identity.name) if roster else None
        return own is not None and self._identity.credential.certificate.generation < own.generation

    async def tick(self) -> bool:
        """Whether there is a new certificate: then the transport is to be opened anew. Keeps the clock on disk.

        Also fetches the issuing key where the roster has made this node an issuer. Raises OSError of the disk.
        """
        self._identity.clock.save()
        if self._identity.clock.wall() < self._not_before_s:
            return False
        await self._become_issuer()
        if self._identity.clock.wall() < self.state.next_s:
            return False
        renewed = await self._renew()
        is_done = renewed and self._rollover is None
        self._not_before_s = 0.0 if is_done else self._identity.clock.wall() + self._retry_s(renewed=renewed)
        return renewed

    def _retry_s(self, *, renewed: bool) -> float:
        if renewed:
            return RETRY_BEHIND_S
        return RETRY_SOON_S if self._is_outdated or self._rollover is not None else RETRY_S

    async def _renew(self) -> bool:
        key = new_node_key()
        proof = prove(self._identity.credential, RENEW, make_request(self._identity.name, key))
        if self._identity.issuing_key() is not None:
            answer = self._own_answer(proof)
        else:
            answer = await self._first(RENEW, proof, RenewAnswer)
        if answer is None:
            return False
        try:
            self._identity.renew(answer.chain, key)
            if answer.roster:
                self._identity.documents.take(answer.roster)
        except LittoralError as error:
            self._failure = error.message
            return False
        self._count += 1
        self._failure = ""
        return True

    def _own_answer(self, proof: Proven) -> RenewAnswer | None:
        try:
            return Issuer(self._identity).renew(proof)
        except LittoralError as error:
            self._failure = error.message
            return None

    async def _become_issuer(self) -> None:
        roster = self._identity.roster()
        own = roster.find(self._identity.name) if roster else None
        if own is None or not own.is_issuer:
            return
        signing = self._identity.signing()
        if signing is not None and signing.authority == self._identity.trust.issuing:
            return
        answer = await self._first(SHARE_KEY, prove(self._identity.credential, SHARE_KEY, b""), ShareAnswer)
        if answer is not None:
            keys = unseal(self._identity.credential.key, answer.sealed_key)
            self._identity.issuing_keys.take(keys, self._identity.trust)

    async def _first(self, service: str, proof: Proven, kind: type[_T]) -> _T | None:
        """The first issuer's answer, in an order of chance; every failure is kept for `state`."""
        roster = self._identity.roster()
        issuers = [name for name in roster.issuers if name != self._identity.name] if roster else []
        self._rng.shuffle(issuers)
        failures = [] if issuers else ["the roster has no other issuer"]
        for issuer in issuers:
            try:
                return decoded(await self._ask(issuer, service, msgspec.json.encode(proof)), kind, ANSWER_BYTES_MAX)
            except LittoralError as error:
                failures.append(f"{issuer}: {error.message}")
        self._failure = "; ".join(failures)[:2000]
        return None


def asking(transport: Transport) -> AskPeer:
    """Over the mesh."""

    async def ask(peer: str, service: str, body: bytes) -> bytes:
        return await transport.request(peer, service, body, deadline_s=DEADLINE_S)

    return ask


async def serve_renewals(identity: Identity, transport: Transport) -> None:
    """Every node does: whether it is an issuer is asked at each request. Raises ConflictError for a second time."""

    async def renew(caller: str, body: bytes) -> bytes:
        proof = decoded(body, Proven, ASK_BYTES_MAX)
        return msgspec.json.encode(Issuer(identity).renew(proof, caller=caller))

    async def share_key(caller: str, body: bytes) -> bytes:
        proof = decoded(body, Proven, ASK_BYTES_MAX)
        return msgspec.json.encode(Issuer(identity).share_key(proof, caller=caller))

    await transport.serve(RENEW, renew)
    await transport.serve(SHARE_KEY, share_key)
