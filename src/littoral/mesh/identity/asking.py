"""The other side of an issuer's door: joining with a token, renewing with the key that a node has.

Who answers is proven before anything is sent: by the token's digest of the site's authority and the issuer's name, or
by what the node knows of its site. The machine's clock has no say in it, because the chain is judged here.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from littoral.artifact.model import write_atomically
from littoral.clock import Clock
from littoral.errors import ConflictError, PeerError, TrustError
from littoral.mesh.identity.door import DEADLINE_S, GRANTED, REFUSED, read_frame, write_frame
from littoral.mesh.identity.identity import CLOCK, FOLDER, NODE, Identity, write_identity
from littoral.mesh.identity.messages import (
    ANSWER_BYTES_MAX,
    RENEW,
    AskAuthority,
    AskJoin,
    AskRenew,
    AuthorityAnswer,
    JoinAnswer,
    RenewAnswer,
    decoded,
    prove,
)
from littoral.mesh.identity.tokens import JoinToken
from littoral.mesh.roster import ROSTER
from littoral.mesh.trust.boot_clock import BootClock
from littoral.mesh.trust.certificates import (
    Certificate,
    certificates_of,
    digest_of,
    expires_at_s,
    make_request,
    pem_of_chain,
)
from littoral.mesh.trust.chain import Refusal, Trust
from littoral.mesh.trust.keys import NodeKey, issuing_keys_of, new_node_key, node_key_of, pem_of, unseal
from littoral.transport.told_errors import heard_error

__all__ = ["join_site", "renew_at"]

JOINING_KEY = "joining.key"

_T = TypeVar("_T")


class _Visit:
    """One connection to a door. shown: the certificate that the other side proved to have the key of, DER."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, shown: bytes) -> None:
        self._where = where
        self._reader = reader
        self._writer = writer
        self.shown = shown

    async def ask(self, ask: msgspec.Struct, kind: type[_T]) -> _T:
        """Raises what the door refused it with, PeerError for a connection that ends."""
        await write_frame(self._writer, msgspec.json.encode(ask))
        frame = await read_frame(self._reader, ANSWER_BYTES_MAX)
        if not frame.startswith(GRANTED):
            raise heard_error(self._where, frame.removeprefix(REFUSED))
        return decoded(frame.removeprefix(GRANTED), kind, ANSWER_BYTES_MAX)


async def join_site(
    data: Path,
    host: str,
    port: int,
    token: JoinToken,
    name: str,
    machine: Clock,
    *,
    endpoints: Sequence[str] = (),
    replace: bool = False,
) -> Identity:
    """This machine's place in the site. The key is made here and stays; asked again, the same key asks.

    replace: in the place of the identity that the folder has, if it has one. Raises ConflictError if it has one else,
    TrustError for another site or issuer than the token's, PeerError, and what the issuer refuses with.
    """
    folder = data / FOLDER
    if (folder / NODE).exists() and not replace:
        raise ConflictError(
            f"`{folder}` holds the identity of a node already", hint="`--replace` puts another in its place"
        )
    key = _joining_key(folder)
    async with _visit(host, port) as visit:
        authority = await visit.ask(AskAuthority(), AuthorityAnswer)
        trust = Trust.by(certificates_of(authority.root)[0], _authorities_in(authority))
        if token.digest not in map(digest_of, trust.authorities):
            raise TrustError(
                f"`{host}:{port}` is of a site whose authority is {trust.digest[:16]}…, the token's is "
                f"{token.digest[:16]}…",
                hint="a token of another site, another address, or somebody in between",
            )
        clock = BootClock(folder / CLOCK, machine, latest_s=expires_at_s(trust.issuing))
        _check_issuer(trust, visit.shown, clock, token.issuer)
        ask = AskJoin(token.id, token.secret, make_request(name, key), list(endpoints))
        answer = await visit.ask(ask, JoinAnswer)
    write_identity(
        data,
        root=authority.root,
        issuing=pem_of_chain(trust.authorities),
        chain=answer.chain,
        key=key,
        issuing_keys=issuing_keys_of(unseal(key, answer.sealed_key)) if answer.sealed_key else [],
        documents={ROSTER: answer.roster},
    )
    identity = Identity.open(data, machine)
    identity.clock.save(now=True)
    (folder / JOINING_KEY).unlink(missing_ok=True)
    return identity


async def renew_at(identity: Identity, host: str, port: int) -> None:
    """A new key and certificate from an issuer's door; for a node that cannot speak in the mesh any more.

    Raises TrustError for another site, PeerError, and what the issuer refuses with.
    """
    key = new_node_key()
    proof = prove(identity.credential, RENEW, make_request(identity.name, key))
    async with _visit(host, port) as visit:
        authority = await visit.ask(AskAuthority(), AuthorityAnswer)
        _check_issuer(_learned(identity.trust, authority), visit.shown, identity.clock, None)
        answer = await visit.ask(AskRenew(proof), RenewAnswer)
    identity.renew(answer.chain, key)
    if answer.roster:
        identity.documents.take(answer.roster)
    identity.follow()
    identity.clock.save(now=True)


@asynccontextmanager
async def _visit(host: str, port: int) -> AsyncIterator[_Visit]:
    """Raises PeerError for everything that the network does, a refused or ended connection and its slowness."""
    where = f"`{host}:{port}`"
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=_context(), server_hostname="")
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            yield _Visit(reader, writer, f"{host}:{port}", shown)
    except TimeoutError as error:
        raise PeerError(f"{where}: no answer within {DEADLINE_S:.0f} s") from error
    except asyncio.IncompleteReadError as error:
        raise PeerError(f"{where}: it ended the connection", hint="is this the address of an issuer's door?") from error
    except ssl.SSLError as error:
        raise PeerError(
            f"{where}: no TLS: {error.reason or error}", hint="is this the address of an issuer's door?"
        ) from error
    except OSError as error:
        raise PeerError(f"{where}: {error.strerror or error}", hint="does `littoral mesh door` run there?") from error
    finally:
        if writer is not None:
            writer.transport.abort()


def _context() -> ssl.SSLContext:
    """Encrypts, and proves that the other side has the key of what it shows; who that is, is judged afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _check_issuer(trust: Trust, shown: bytes, clock: BootClock, name: str | None) -> None:
    judged = trust.judge(shown, clock.wall())
    if isinstance(judged, Refusal):
        raise TrustError(f"the door's {judged.message.removeprefix('the ')}", hint=judged.hint)
    if name not in (None, judged.name):
        raise TrustError(f"the door is of `{judged.name}`, the token is for that of `{name}`")


def _authorities_in(answer: AuthorityAnswer) -> list[Certificate]:
    return [certificates_of(pem)[0] for pem in (answer.issuing, *answer.older)]


def _learned(trust: Trust, answer: AuthorityAnswer) -> Trust:
    """What this node takes for its site's, which may have gone over to another authority while it was away."""
    try:
        return trust.learned(_authorities_in(answer))
    except TrustError:
        return trust


def _joining_key(folder: Path) -> NodeKey:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / JOINING_KEY
    if file.exists():
        return node_key_of(file.read_bytes())
    key = new_node_key()
    write_atomically(file, pem_of(key), 0o600)
    return key
