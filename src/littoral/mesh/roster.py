"""Who should be in a site: a document of desired state, written by one node, that every other node keeps.

The roster is the truth for who is missing, who may speak and who may issue; liveness is a hint only.
"""

import ipaddress
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from littoral.errors import ConflictError, InputError, NotFoundError
from littoral.mesh.rollover import Rollover
from littoral.mesh.trust.certificates import NAME_PATTERN, NodeCertificate
from littoral.mesh.trust.chain import Reason, Refusal

__all__ = [
    "ROSTER",
    "Roster",
    "RosterNode",
    "check_endpoints",
    "decode_roster",
    "encode_roster",
    "hosts_of",
    "split_endpoint",
]

ROSTER = "roster"
NODE_COUNT_MAX = 4096
ENDPOINT_COUNT_MAX = 8
LABEL_COUNT_MAX = 16
REVOKED_COUNT_MAX = 8192
GENERATION_MAX = 4096
_ENDPOINT = re.compile(r"^(?P<protocol>quic|tls)/(?P<host>\[[0-9a-f:.]+\]|[A-Za-z0-9.-]{1,253}):(?P<port>[0-9]{1,5})\Z")

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,63}\Z")]
Endpoint = Annotated[str, Meta(max_length=300)]


class RosterNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """endpoints: where others reach it, such as `quic/10.0.0.5:7447`. joined_at_s: older certificates do not count.

    generation: certificates of an earlier one do nothing but learn of it and renew, unless they were revoked.
    """

    name: Name
    joined_at_s: Annotated[int, Meta(ge=0)]
    endpoints: Annotated[list[Endpoint], Meta(max_length=ENDPOINT_COUNT_MAX)] = []
    region: Word = ""
    labels: Annotated[dict[Word, Word], Meta(max_length=LABEL_COUNT_MAX)] = {}
    is_issuer: bool = False
    generation: Annotated[int, Meta(ge=0, le=GENERATION_MAX)] = 0


class Roster(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """writer: the one node that writes documents. revoked: by name, when. Nodes are in the order of their names.

    rollover: the latest change of the site's authority, on its way or finished.
    """

    writer: Name
    nodes: Annotated[list[RosterNode], Meta(max_length=NODE_COUNT_MAX)]
    revoked: Annotated[dict[Name, int], Meta(max_length=REVOKED_COUNT_MAX)] = {}
    revoked_serials: Annotated[
        list[Annotated[str, Meta(pattern=r"^[0-9a-f]{1,40}\Z")]], Meta(max_length=REVOKED_COUNT_MAX)
    ] = []
    rollover: Rollover | None = None
    format: Literal[1] = 1

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.nodes]

    @property
    def issuers(self) -> list[str]:
        return [node.name for node in self.nodes if node.is_issuer]

    def find(self, name: str) -> RosterNode | None:
        return next((node for node in self.nodes if node.name == name), None)

    def refusal_of_name(self, name: str) -> Refusal | None:
        """Why nobody may speak under this name; None: somebody may."""
        if name in self.revoked:
            return Refusal(
                Reason.REVOKED, f"node `{name}` was revoked", "join again under another name, with a new token"
            )
        if self.find(name) is None:
            return Refusal(
                Reason.UNKNOWN, f"node `{name}` is not in the roster", "`littoral mesh token` and `littoral mesh join`"
            )
        return None

    def refusal_of(self, certificate: NodeCertificate) -> Refusal | None:
        """As `refusal_to_renew`; also a certificate of an earlier generation."""
        if refusal := self.refusal_to_renew(certificate):
            return refusal
        node = self.find(certificate.name)
        if node and certificate.generation < node.generation:
            return Refusal(
                Reason.REVOKED,
                f"certificate {certificate.serial} of `{certificate.name}` is of generation {certificate.generation}, "
                f"and since then one of its certificates was revoked",
                "a running node renews it by itself; else `littoral mesh renew`",
            )
        return None

    def refusal_to_renew(self, certificate: NodeCertificate) -> Refusal | None:
        """As for its name; also a certificate that was revoked, or is older than the node."""
        if refusal := self.refusal_of_name(certificate.name):
            return refusal
        node = self.find(certificate.name)
        if certificate.serial in self.revoked_serials or (node and certificate.issued_at_s < node.joined_at_s):
            return Refusal(
                Reason.REVOKED,
                f"certificate {certificate.serial} of `{certificate.name}` was revoked",
                "join again, with a new token",
            )
        return None

    def with_node(self, node: RosterNode) -> "Roster":
        """In the place of one of the same name. Raises ConflictError for a revoked name, InputError for too many."""
        if node.name in self.revoked:
            raise ConflictError(
                f"node `{node.name}` was revoked, and its certificate may not have ended", hint="take another name"
            )
        nodes = [other for other in self.nodes if other.name != node.name] + [node]
        if len(nodes) > NODE_COUNT_MAX:
            raise InputError(f"{len(nodes)} nodes in the roster, at most {NODE_COUNT_MAX}")
        return msgspec.structs.replace(self, nodes=sorted(nodes, key=lambda other: other.name))

    def with_issuer(self, name: str) -> "Roster":
        """The node made an issuer. Raises NotFoundError for one that is not in the roster."""
        if (node := self.find(name)) is None:
            raise NotFoundError(f"node `{name}` is not in the roster")
        return self.with_node(msgspec.structs.replace(node, is_issuer=True))

    def without(self, name: str, now_s: float) -> "Roster":
        """The node revoked. Raises NotFoundError, and ConflictError for the writer itself."""
        if self.find(name) is None:
            raise NotFoundError(f"node `{name}` is not in the roster")
        if name == self.writer:
            raise ConflictError(f"node `{name}` writes the roster", hint="`littoral mesh take-over` on another issuer")
        nodes = [node for node in self.nodes if node.name != name]
        return msgspec.structs.replace(self, nodes=nodes, revoked={**self.revoked, name: int(now_s)})

    def forgetting(self, revoked_before_s: float) -> "Roster":
        """Names that were revoked before are free again: no certificate of theirs can be left."""
        kept = {name: at_s for name, at_s in self.revoked.items() if at_s >= revoked_before_s}
        return self if kept == self.revoked else msgspec.structs.replace(self, revoked=kept)

    def renewed(self, name: str) -> "Roster":
        """Every certificate that the node has now only renews. Raises NotFoundError, InputError for too often."""
        if (node := self.find(name)) is None:
            raise NotFoundError(f"node `{name}` is not in the roster")
        if node.generation >= GENERATION_MAX:
            raise InputError(f"certificates of `{name}` were revoked {node.generation} times", hint="take another name")
        return self.with_node(msgspec.structs.replace(node, generation=node.generation + 1))

    def without_certificate(self, name: str, serial: str) -> "Roster":
        """One certificate revoked, of a node that stays: it renews another one that it has, which every node then asks
        of it. Raises as `renewed` and `without_serial`.
        """
        return self.without_serial(serial).renewed(name)

    def without_serial(self, serial: str) -> "Roster":
        """One certificate that does not renew any more. Raises InputError for what is none."""
        if not re.fullmatch(r"[0-9a-f]{1,40}", serial):
            raise InputError(f"serial number `{serial[:60]}` is not hexadecimal")
        serials = sorted({*self.revoked_serials, serial})
        if len(serials) > REVOKED_COUNT_MAX:
            raise InputError(f"{len(serials)} revoked certificates, at most {REVOKED_COUNT_MAX}")
        return msgspec.structs.replace(self, revoked_serials=serials)


def encode_roster(roster: Roster) -> bytes:
    return msgspec.json.encode(roster, order="deterministic")


def decode_roster(content: bytes) -> Roster:
    """Raises InputError for what is no roster."""
    try:
        roster = msgspec.json.decode(content, type=Roster)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"roster: {error}") from error
    if roster.names != sorted(set(roster.names)):
        raise InputError("roster: its nodes are not in the order of their names, or one is there twice")
    return roster


def check_endpoints(name: str, endpoints: list[str]) -> None:
    """Raises InputError for one that others could not reach, or whose host is another's to prove."""
    if len(endpoints) > ENDPOINT_COUNT_MAX:
        raise InputError(f"{len(endpoints)} endpoints, at most {ENDPOINT_COUNT_MAX}")
    for endpoint in endpoints:
        _, host, _ = split_endpoint(endpoint)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if host != name and not host.startswith(f"{name}."):
                raise InputError(
                    f"endpoint `{endpoint}`: its host is neither an address nor `{name}` or `{name}.…`",
                    hint="others know the node by its own name",
                ) from None
            continue
        if address.is_unspecified or address.is_multicast:
            raise InputError(f"endpoint `{endpoint}`: nobody can reach the address `{address}`")


def split_endpoint(endpoint: str) -> tuple[str, str, int]:
    """Protocol, host without brackets, port. Raises InputError."""
    if (found := _ENDPOINT.match(endpoint)) is None or not 0 < int(found["port"]) < 1 << 16:
        raise InputError(f"endpoint `{endpoint[:80]}` is not like `quic/10.0.0.5:7447` or `tls/10.0.0.5:7447`")
    return found["protocol"], found["host"].strip("[]"), int(found["port"])


def hosts_of(endpoints: list[str]) -> list[str]:
    """For a certificate: hosts, without brackets. The endpoints have been checked."""
    return [split_endpoint(endpoint)[1] for endpoint in endpoints]
