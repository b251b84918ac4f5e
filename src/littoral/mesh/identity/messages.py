"""What nodes say to an issuer, and what it answers: over the mesh, and at its door before there is a mesh."""

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from littoral.errors import InputError
from littoral.mesh.identity.identity import Credential
from littoral.mesh.rollover import OLD_COUNT_MAX
from littoral.mesh.trust.certificates import NodeCertificate
from littoral.mesh.trust.chain import Refusal, Trust
from littoral.mesh.trust.keys import sign, verify

__all__ = [
    "ANSWER_BYTES_MAX",
    "ASK_BYTES_MAX",
    "RENEW",
    "SHARE_KEY",
    "Ask",
    "AskAuthority",
    "AskJoin",
    "AskRenew",
    "AuthorityAnswer",
    "JoinAnswer",
    "Proven",
    "RenewAnswer",
    "ShareAnswer",
    "decoded",
    "prove",
    "proven_by",
]

ASK_BYTES_MAX = 64 << 10
ANSWER_BYTES_MAX = 4 << 20
RENEW = "identity-renew"
SHARE_KEY = "identity-share-key"

_T = TypeVar("_T")

Pem = Annotated[bytes, Meta(max_length=16 << 10)]
Der = Annotated[bytes, Meta(max_length=4096)]
Endpoints = Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=8)]


class Proven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """chain: the sender's certificate. signature: of its key, over purpose and content."""

    chain: Pem
    content: Der
    signature: Annotated[bytes, Meta(max_length=128)]


class AskAuthority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="authority"):
    """Which site is this? Its answer is believed by the digest in a token only."""


class AskJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="join"):
    """request: a certificate request. The token's name and role are the issuer's to know."""

    id: Annotated[str, Meta(max_length=64)]
    secret: Annotated[str, Meta(max_length=64)]
    request: Der
    endpoints: Endpoints = []


class AskRenew(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="renew"):
    """proof: of a certificate request, by the key of the certificate that goes."""

    proof: Proven


Ask = AskAuthority | AskJoin | AskRenew


class AuthorityAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """issuing: the newest. older: those that count beside it, while it takes their place."""

    root: Pem
    issuing: Pem
    older: Annotated[list[Pem], Meta(max_length=OLD_COUNT_MAX)] = []


class RenewAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """roster: as the issuer has it, signed."""

    chain: Pem
    roster: bytes


class JoinAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sealed_key: the issuing key, sealed to the request's key, for one that joins as an issuer; else empty."""

    chain: Pem
    roster: bytes
    sealed_key: Pem = b""


class ShareAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sealed_key: Pem


def decoded(data: bytes, kind: type[_T], most_bytes: int) -> _T:
    """Raises InputError for more than that, or anything else."""
    if len(data) > most_bytes:
        raise InputError(f"message of {len(data)} bytes, at most {most_bytes}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"message: {error}") from error


def prove(credential: Credential, purpose: str, content: bytes) -> Proven:
    return Proven(credential.chain, content, sign(credential.key, purpose, content))


def proven_by(
    proof: Proven,
    purpose: str,
    trust: Trust,
    now_s: float,
    *,
    grace_s: float = 0,
    refused: Callable[[Refusal], None] = lambda _: None,
) -> NodeCertificate:
    """Who proves it. Raises TrustError for a certificate that is refused, which `refused` is told of, and a signature
    that does not match.
    """
    judged = trust.judge(proof.chain, now_s, grace_s=grace_s)
    if isinstance(judged, Refusal):
        refused(judged)
        raise judged.error()
    verify(judged.public_key, purpose, proof.content, proof.signature)
    return judged
