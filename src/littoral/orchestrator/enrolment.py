"""Zero-touch enrolment: one image for all nodes, a claim code that lets so many of them in, and a token for each."""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from littoral.errors import ConflictError, ForbiddenError, QuotaError, TooOftenError
from littoral.orchestrator.conductor import joining
from littoral.orchestrator.fleet import Fleet, digest
from littoral.orchestrator.store import Add, Put
from littoral.orchestrator.store.rows import ClaimRow, NodeRow
from littoral.updates.wire import Enrol, Enrolled
from littoral.web.access.guessing import Guesses

__all__ = ["Claimed", "Enrolment"]

CODE_BYTES = 10
CLAIM_COUNT_MAX = 10_000
LABEL_COUNT_MAX, LABEL_CHARACTERS_MAX = 64, 200


class Claimed(NamedTuple):
    """code: told once."""

    code: str
    row: ClaimRow


class Enrolment:
    """node_count_max: more are refused. told: the deployment that is signed for a name, from an earlier life of it."""

    def __init__(self, fleet: Fleet, told: Callable[[str], int], poll_s: float, node_count_max: int) -> None:
        self._told = told
        self._fleet = fleet
        self._poll_s = poll_s
        self._node_count_max = node_count_max
        self._guesses = Guesses(fleet.clock)

    async def claims(
        self, count: int, *, uses: int, expires_s: float, group: str, labels: dict[str, str], by: str
    ) -> list[Claimed]:
        """So many codes. Raises QuotaError beyond what is kept."""
        fleet, now_s = self._fleet, self._fleet.clock.wall()
        if len(fleet.claims) + count > CLAIM_COUNT_MAX:
            raise QuotaError(f"{len(fleet.claims)} claims are there, at most {CLAIM_COUNT_MAX}", hint="delete old ones")
        made = []
        for _ in range(count):
            claim_id = secrets.token_hex(6)
            code = f"claim_{claim_id}_{secrets.token_urlsafe(CODE_BYTES)}"
            row = ClaimRow(
                id=claim_id,
                sha256=digest(code),
                made_at_s=now_s,
                made_by=by,
                expires_at_s=now_s + expires_s,
                uses_left=uses,
                group=group,
                labels=labels,
            )
            made.append(Claimed(code, row))
        await fleet.write(
            *(Add(one.row) for one in made), fleet.event("claim", group, what="made", count=count, uses=uses, by=by)
        )
        return made

    async def enrol(self, asked: Enrol, address: str) -> Enrolled:
        """A node that shows a code. Its group and labels are the claim's; labels that it says itself give way to these.

        Raises ForbiddenError for a code that is none, used up or expired, TooOftenError after guesses from there,
        ConflictError for a name that is taken, QuotaError.
        """
        if wait_s := self._guesses.wait_s(address):
            raise TooOftenError("too many wrong claims came from this address", retry_after_s=wait_s)
        fleet = self._fleet
        async with fleet.changing:
            claim = self._claim(asked.claim, address)
            if len(fleet.nodes) >= self._node_count_max:
                raise QuotaError(f"{len(fleet.nodes)} nodes are enrolled, at most {self._node_count_max}")
            name = asked.node or f"node-{secrets.token_hex(4)}"
            if name in fleet.nodes:
                raise ConflictError(f"node `{name}` is enrolled", hint="delete it first, or enrol under another name")
            token = f"node_{secrets.token_urlsafe(32)}"
            row = NodeRow(
                name=name,
                deployment=await asyncio.to_thread(self._told, name),
                token_sha256=digest(token),
                public_key=asked.public_key,
                enrolled_at_s=fleet.clock.wall(),
                claim=claim.id,
                group=claim.group,
                labels=_bounded(asked.labels) | claim.labels,
            )
            row = joining(fleet, row)
            used = msgspec.structs.replace(claim, uses_left=claim.uses_left - 1, used=claim.used + 1)
            await fleet.write(Add(row), Put(used), fleet.event("node", name, what="enrolled", claim=claim.id))
        fleet.woken.set()
        return Enrolled(node=name, token=token, poll_s=self._poll_s)

    def _claim(self, code: str, address: str) -> ClaimRow:
        claim = self._fleet.claims.get(code.split("_")[1] if code.count("_") >= 2 else "")
        is_right = hmac.compare_digest(claim.sha256 if claim else digest(""), digest(code))
        if claim is None or not is_right:
            self._guesses.count(address)
            raise ForbiddenError("the claim is none of this fleet's", hint="`littoral fleet claims new` makes one")
        if self._fleet.clock.wall() >= claim.expires_at_s:
            raise ForbiddenError(f"claim `{claim.id}` has expired", hint="make another")
        if claim.uses_left < 1:
            raise ForbiddenError(f"claim `{claim.id}` was used as often as it may be", hint="make another")
        return claim


def _bounded(labels: dict[str, str]) -> dict[str, str]:
    kept = list(labels.items())[:LABEL_COUNT_MAX]
    return {name[:LABEL_CHARACTERS_MAX]: value[:LABEL_CHARACTERS_MAX] for name, value in kept}
