"""Who has a certificate by the site's newest authority: asked by the node that writes the roster, shown and signed.

What was shown is kept on disk, so that a node that has gone since counts, and a command sees it.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from littoral.artifact.model import write_atomically
from littoral.errors import InputError, LittoralError
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.messages import ANSWER_BYTES_MAX, Proven, decoded, prove, proven_by
from littoral.mesh.trust.certificates import certificates_of
from littoral.transport import Transport

__all__ = ["Shown", "Witness", "read_shown", "serve_showing"]

SHOW = "identity-show"
FILE = "shown.json"
FILE_BYTES_MAX = 1 << 20
ONCE_BYTES = 32
PEERS_MAX = 32
"""Asked in one round."""
DEADLINE_S = 3.0


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """authority: digest of the newest. nodes: who has shown a certificate by it, when: Unix time."""

    authority: str
    nodes: Annotated[dict[str, int], Meta(max_length=4096)] = {}


def read_shown(identity: Identity) -> Mapping[str, int]:
    """Who has shown a certificate by the newest authority, this node among them: name, Unix time."""
    shown = dict(_read(identity.folder / FILE, identity.trust.digest).nodes)
    if not identity.is_behind:
        shown[identity.name] = identity.credential.certificate.issued_at_s
    return shown


class Witness:
    """Of one node; only the writer's does anything. `tick` is to be called now and then."""

    def __init__(self, identity: Identity, transport: Transport) -> None:
        self._identity = identity
        self._transport = transport

    async def tick(self) -> list[str]:
        """Asks some of those that are here and have not shown: who did now. Raises OSError of the disk."""
        if not (waiting := self._waiting()):
            return []
        once = secrets.token_bytes(ONCE_BYTES)
        replies = self._transport.fan_out(waiting, SHOW, once, deadline_s=DEADLINE_S)
        came = [reply.peer async for reply in replies if reply.body and self._has_shown(reply.peer, once, reply.body)]
        if came:
            self._keep(came)
        return sorted(came)

    def _waiting(self) -> list[str]:
        roster = self._identity.roster()
        if roster is None or roster.writer != self._identity.name:
            return []
        if roster.rollover is None or roster.rollover.is_finished:
            return []
        here = self._transport.alive() & set(roster.names)
        return sorted(here - read_shown(self._identity).keys() - {self._identity.name})[:PEERS_MAX]

    def _has_shown(self, name: str, once: bytes, body: bytes) -> bool:
        trust, now_s = self._identity.trust, self._identity.clock.wall()
        try:
            proof = decoded(body, Proven, ANSWER_BYTES_MAX)
            certificate = proven_by(proof, SHOW, trust, now_s, refused=self._identity.count_refusal)
            authority = trust.authority_of(certificates_of(proof.chain))
        except LittoralError:
            return False
        return certificate.name == name and proof.content == once and authority == trust.issuing

    def _keep(self, names: list[str]) -> None:
        now_s, trust = int(self._identity.clock.wall()), self._identity.trust
        shown = _read(file := self._identity.folder / FILE, trust.digest)
        nodes = {**shown.nodes, **dict.fromkeys(names, now_s)}
        write_atomically(file, msgspec.json.encode(Shown(trust.digest, nodes), order="deterministic"))


async def serve_showing(identity: Identity, transport: Transport) -> None:
    """Every node does. Raises ConflictError for a second time."""

    async def show(_caller: str, body: bytes) -> bytes:
        if len(body) != ONCE_BYTES:
            raise InputError(f"what is to be signed has {len(body)} bytes, expected {ONCE_BYTES}")
        return msgspec.json.encode(prove(identity.credential, SHOW, body))

    await transport.serve(SHOW, show)


def _read(file: Path, authority: str) -> Shown:
    """Nothing, where the file is of another authority or none."""
    try:
        with file.open("rb") as stream:
            shown = msgspec.json.decode(stream.read(FILE_BYTES_MAX), type=Shown)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return Shown(authority)
    return shown if shown.authority == authority else Shown(authority)
