"""What an issuer grants: a place in the site to the holder of a token, a new certificate to a node of the roster.

Any issuer renews. One node, the roster's `writer`, takes joins and revokes, because documents have one writer.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator

import msgspec

from littoral.errors import ConflictError, ForbiddenError, TrustError
from littoral.mesh.documents import TERM_BITS, Document, sign_document
from littoral.mesh.identity.due import renew_from_s
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuing_keys import Signing
from littoral.mesh.identity.messages import (
    RENEW,
    SHARE_KEY,
    AskJoin,
    JoinAnswer,
    Proven,
    RenewAnswer,
    ShareAnswer,
    proven_by,
)
from littoral.mesh.identity.tokens import Grant, JoinToken, Tokens
from littoral.mesh.roster import (
    ROSTER,
    Roster,
    RosterNode,
    check_endpoints,
    encode_roster,
    hosts_of,
)
from littoral.mesh.trust.certificates import (
    Certificate,
    NodeCertificate,
    certificates_of,
    issue,
    pem_of_chain,
    read_request,
)
from littoral.mesh.trust.keys import NodePublicKey, public_digest, seal

__all__ = ["GRACE_S", "LIFE_S", "Issuer"]

LIFE_S = 30 * 86400
GRACE_S = 365 * 86400
"""How long after its end a certificate still renews itself, while the roster has its node."""

TOKENS = "tokens"
LOCK = "writing.lock"


class Issuer:
    """The part of a node that holds the site's issuing key. Raises ForbiddenError where the node has none."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.signing()
        self._clock = identity.clock
        self._tokens = Tokens(identity.folder / TOKENS)

    def signing(self) -> Signing:
        """The newest authority that this node has the key of. Raises ForbiddenError for none."""
        if (signing := self._identity.signing()) is None:
            raise ForbiddenError(f"node `{self._identity.name}` is not an issuer of `{self._identity.trust.site}`")
        return signing

    def roster(self) -> Roster:
        """Raises ForbiddenError without one."""
        if (roster := self._identity.roster()) is None:
            raise ForbiddenError(f"node `{self._identity.name}` has no roster yet", hint="it is pulled from the others")
        return roster

    def make_token(self, grant: Grant, *, replace: bool = False) -> JoinToken:
        """replace: for a machine that takes the place of one in the roster.

        Raises ForbiddenError on another node than the writer, ConflictError for a revoked name and one that is taken.
        """
        self._identity.documents.refresh()
        roster = self._roster_to_write()
        roster.with_node(RosterNode(grant.name, 0))
        if roster.find(grant.name) is not None and (not replace or grant.name == roster.writer):
            raise ConflictError(
                f"node `{grant.name}` is in the roster", hint="`--replace` if another machine takes its place"
            )
        return self._tokens.make(grant, self._identity.name, self._identity.trust.digest, self._clock.wall())

    def join(self, ask: AskJoin) -> JoinAnswer:
        """A certificate, and a place in the roster. Raises ForbiddenError, ConflictError, TrustError, InputError."""
        with self._writing():
            return self._join(ask)

    def _join(self, ask: AskJoin) -> JoinAnswer:
        now_s, roster = self._clock.wall(), self._roster_to_write()
        request = read_request(ask.request)
        key_digest = public_digest(request.public_key)
        grant = self._tokens.check(ask.id, ask.secret, key_digest, now_s)
        if request.name != grant.name:
            raise ForbiddenError(f"the join token is for `{grant.name}`, not for `{request.name}`")
        check_endpoints(grant.name, ask.endpoints)
        known = roster.find(grant.name)
        node = RosterNode(
            name=grant.name,
            joined_at_s=int(now_s),
            endpoints=ask.endpoints,
            region=grant.region,
            labels=grant.labels,
            is_issuer=grant.is_issuer,
            generation=known.generation if known else 0,
        )
        roster = roster.with_node(node)
        if known is not None and not grant.used_by:
            roster = roster.renewed(grant.name)
        self._tokens.use(ask.id, grant, key_digest)
        chain = self._certificate(ask.request, roster.find(grant.name) or node, now_s)
        signed = self._write(roster)
        return JoinAnswer(chain, signed, self._sealed(request.public_key) if grant.is_issuer else b"")

    def renew(self, proof: Proven, *, caller: str | None = None) -> RenewAnswer:
        """caller: the name that the transport has proven, if there is one. Raises TrustError, ForbiddenError."""
        now_s = self._clock.wall()
        certificate, node = self._node_of(proof, RENEW, now_s, caller, grace_s=GRACE_S)
        self._check_key(certificate, node, now_s)
        request = read_request(proof.content)
        if request.name != node.name:
            raise ForbiddenError(f"node `{node.name}` asks for a certificate of `{request.name}`")
        chain = self._certificate(proof.content, node, now_s)
        return RenewAnswer(chain, self._identity.documents.signed(ROSTER) or b"")

    def share_key(self, proof: Proven, *, caller: str | None = None) -> ShareAnswer:
        """The issuing key, for a node that the roster makes an issuer. Raises TrustError, ForbiddenError."""
        certificate, node = self._node_of(proof, SHARE_KEY, self._clock.wall(), caller)
        if not node.is_issuer:
            raise ForbiddenError(f"the roster does not make `{node.name}` an issuer")
        return ShareAnswer(self._sealed(certificate.public_key))

    def write(self, change: Callable[[Roster], Roster]) -> None:
        """The roster, changed. Raises ForbiddenError on another node than the writer, and what `change` raises."""
        with self._writing():
            self._write(change(self._roster_to_write()))

    def write_document(self, kind: str, content: bytes) -> bytes:
        """Another document of desired state, one number on. Raises ForbiddenError on another node than the writer."""
        with self._writing():
            self._roster_to_write()
            return self._sign(kind, content, self._next_number(kind))

    def sign_anew(self) -> None:
        """What the newest authority has not signed yet, each document one number on. Raises as `write_document`."""
        with self._writing():
            self._roster_to_write()
            documents, (issuing, _) = self._identity.documents, self.signing()
            for kind in documents.numbers():
                if documents.signer(kind) != issuing and (document := documents.current(kind)) is not None:
                    self._sign(kind, document.content, self._next_number(kind))

    def take_over(self) -> None:
        """This node writes from now on: for when the writer is lost. What that one writes afterwards is not taken."""
        with self._writing():
            changed = msgspec.structs.replace(self.roster(), writer=self._identity.name)
            number = ((self._identity.documents.numbers()[ROSTER] >> TERM_BITS) + 1) << TERM_BITS
            self._sign(ROSTER, encode_roster(changed), number)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone among this node's processes, from what the last one wrote."""
        with (self._identity.folder / LOCK).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._identity.documents.refresh()
            yield

    def _roster_to_write(self) -> Roster:
        roster = self.roster()
        if roster.writer != self._identity.name:
            raise ForbiddenError(
                f"node `{roster.writer}` writes the roster of `{self._identity.trust.site}`, not "
                f"`{self._identity.name}`",
                hint=f"ask there; where it is lost: `littoral mesh take-over` on `{self._identity.name}`",
            )
        return roster

    def _node_of(
        self, proof: Proven, purpose: str, now_s: float, caller: str | None, *, grace_s: float = 0
    ) -> tuple[NodeCertificate, RosterNode]:
        """Who asks. What it is refused with is counted."""
        count = self._identity.count_refusal
        certificate = proven_by(proof, purpose, self._identity.trust, now_s, grace_s=grace_s, refused=count)
        if caller not in (None, certificate.name):
            raise TrustError(f"node `{caller}` shows the certificate of `{certificate.name}`")
        roster = self.roster()
        refusal = roster.refusal_to_renew(certificate) if purpose == RENEW else roster.refusal_of(certificate)
        if refusal is not None:
            count(refusal)
            raise refusal.error()
        node = roster.find(certificate.name)
        assert node is not None, "the roster refuses whom it does not have"
        return certificate, node

    def _check_key(self, certificate: NodeCertificate, node: RosterNode, now_s: float) -> None:
        """Raises ForbiddenError where another issuer can give a certificate that lasts, and this one cannot yet."""
        is_due = now_s >= renew_from_s(certificate, 0.0) or certificate.generation < node.generation
        if not is_due and self.signing().authority != self._identity.trust.issuing:
            raise ForbiddenError(
                f"node `{self._identity.name}` has not got the key of the site's new authority yet",
                hint="it fetches it from another issuer by itself",
            )

    def _certificate(self, request: bytes, node: RosterNode, now_s: float) -> bytes:
        (issuing, key), hosts = self.signing(), hosts_of(node.endpoints)
        leaf = issue(
            read_request(request),
            issuing,
            key,
            now_s=now_s,
            life_s=LIFE_S,
            hosts=hosts,
            generation=node.generation,
        )
        return pem_of_chain([leaf, issuing, *self._cross_of(issuing)])

    def _cross_of(self, issuing: Certificate) -> list[Certificate]:
        """What a node that trusts the authority before needs to see, while that one counts."""
        rollover = self.roster().rollover
        if rollover is None or rollover.is_finished or certificates_of(rollover.new.encode()) != [issuing]:
            return []
        return certificates_of(rollover.cross.encode())

    def _sealed(self, recipient: NodePublicKey) -> bytes:
        return seal(recipient, self._identity.issuing_keys.pem(self._identity.trust))

    def _write(self, roster: Roster) -> bytes:
        roster = roster.forgetting(self._clock.wall() - LIFE_S - GRACE_S)
        return self._sign(ROSTER, encode_roster(roster), self._next_number(ROSTER))

    def _next_number(self, kind: str) -> int:
        """Beyond what a writer before the last take-over may still write."""
        numbers = self._identity.documents.numbers()
        term = numbers.get(ROSTER, 0) >> TERM_BITS
        return max(numbers.get(kind, 0), term << TERM_BITS) + 1

    def _sign(self, kind: str, content: bytes, number: int) -> bytes:
        identity = self._identity
        document = Document(identity.trust.site, kind, number, identity.name, int(self._clock.wall()), content)
        issuing, key = self.signing()
        signed = sign_document(document, key, issuing)
        identity.documents.take(signed)
        return signed
