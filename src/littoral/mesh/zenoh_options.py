"""How a node's Zenoh is set up: where it listens, whom it knows, and what each of them may say.

Keys: `{site}/ask/{peer}/{service}/{caller}` is a request, `{site}/say/{sender}/{topic}` a message, `{site}/here/{node}`
says that a node is alive. Every link is mutual TLS, and what comes over it is let in only where the name in the key is
the common name of that link's certificate: so a name in a key that arrived is proven.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from littoral.mesh.trust.certificates import common_name_of
from littoral.transport.fake import BODY_BYTES_MAX
from littoral.transport.names import checked_name

__all__ = ["HERE", "Keys", "ZenohOptions", "settings"]

LEASE_MS = 2000
OPEN_MS = 1500
RETRY_MS = (200, 1000)
LINKS_PENDING_MAX = 32
SESSIONS_MAX = 256
HEAD_BYTES_MAX = 64 << 10
"""Of a message, beside its body."""
SMALL_QUEUE_COUNT = 8
"""Batches of 64 KiB."""
LARGE_QUEUE_COUNT = 16
"""The same, for what is larger: a body of 600 KB is on its way before its first batches have arrived."""
HERE = "here"
GENERATIONS_AHEAD = 3
"""Of a peer whose newer certificate came before the roster that asks for it."""
RENEWING = ("documents", "identity-renew")
"""Services, and of their names topics, that a certificate of an earlier generation is good for."""

Json = object


@dataclass(frozen=True)
class ZenohOptions:
    """listen: `HOST:PORT`. peers: the nodes that may speak here, with the address to reach each at if it is known.

    Certificate (common name = the node's name, subject names = what others reach it at, for server and client) and key
    are files of PEM, as is what certificates are checked against. protocol: QUIC, or TLS over TCP where UDP does not
    get through. is_name_verified: whether a node that is connected to must have the address in its certificate.
    bulk: services whose answers are large; all others go before them. generations: of peers of which a certificate was
    revoked: what they show must be of that generation or a later one, and an earlier one only lets them renew.
    """

    site: str
    name: str
    listen: str
    peers: Mapping[str, str | None]
    ca: Path
    certificate: Path
    key: Path
    protocol: Literal["quic", "tls"] = "quic"
    body_bytes_max: int = BODY_BYTES_MAX
    is_name_verified: bool = True
    lease_ms: int = LEASE_MS
    bulk: frozenset[str] = frozenset()
    generations: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("site", self.site)
        for name in (self.name, *self.peers):
            checked_name("node", name)


@dataclass(frozen=True)
class Keys:
    """The keys of one site."""

    site: str

    def ask(self, peer: str, service: str, caller: str) -> str:
        return f"{self.site}/ask/{peer}/{service}/{caller}"

    def say(self, sender: str, topic: str) -> str:
        return f"{self.site}/say/{sender}/{topic}"

    def here(self, name: str) -> str:
        return f"{self.site}/{HERE}/{name}"


def settings(options: ZenohOptions) -> dict[str, Json]:
    """Zenoh's configuration, by path."""
    address = options.protocol
    credentials = (str(options.certificate), str(options.key))
    return {
        "mode": "peer",
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "scouting/delay": 0,
        "listen/endpoints": [f"{address}/{options.listen}"],
        "connect/endpoints": [f"{address}/{place}" for place in options.peers.values() if place],
        "connect/retry": {
            "period_init_ms": RETRY_MS[0],
            "period_max_ms": RETRY_MS[1],
            "period_increase_factor": 2,
        },
        "open/return_conditions": {"connect_scouted": False, "declares": False},
        "transport/unicast/open_timeout": OPEN_MS,
        "transport/unicast/accept_timeout": OPEN_MS,
        "transport/unicast/accept_pending": LINKS_PENDING_MAX,
        "transport/unicast/max_sessions": SESSIONS_MAX,
        "transport/shared_memory/enabled": False,
        "transport/link/protocols": [options.protocol],
        "transport/link/rx/max_message_size": options.body_bytes_max + HEAD_BYTES_MAX,
        "transport/link/tx/lease": options.lease_ms,
        "transport/link/tx/queue/size/interactive_high": SMALL_QUEUE_COUNT,
        "transport/link/tx/queue/size/data_low": LARGE_QUEUE_COUNT,
        "transport/link/tx/queue/congestion_control/block/wait_before_close": options.lease_ms * 1000,
        "transport/link/tls": {
            "root_ca_certificate": str(options.ca),
            "enable_mtls": True,
            "verify_name_on_connect": options.is_name_verified,
            "close_link_on_expiration": True,
            "listen_certificate": credentials[0],
            "listen_private_key": credentials[1],
            "connect_certificate": credentials[0],
            "connect_private_key": credentials[1],
        },
        "access_control": _access(options),
    }


def _access(options: ZenohOptions) -> Json:
    """What is not allowed is denied: to a certificate that is none of a peer's, everything.

    What goes out is bound to the name at the other end as well. Zenoh sends a request to whom it has not yet heard
    all of, and that may be another than it is for.
    """
    keys, me = Keys(options.site), options.name
    rules, policies, subjects = [], [], []
    for peer in sorted(options.peers):
        generation = options.generations.get(peer, 0)
        now = range(generation, generation + GENERATIONS_AHEAD + 1)
        for subject, generations, services in ((peer, now, ("*",)), (f"{peer}-renewing", range(generation), RENEWING)):
            if not generations:
                continue
            into = _messages(keys, speaker=peer, hearer=me, services=services)
            out = _messages(keys, speaker=me, hearer=peer, services=services)
            allowed = [*_allowed(f"in-{subject}", "ingress", into), *_allowed(f"out-{subject}", "egress", out)]
            rules += allowed
            policies.append({"rules": [rule["id"] for rule in allowed], "subjects": [subject]})
            subjects.append({"id": subject, "cert_common_names": [common_name_of(peer, at) for at in generations]})
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": rules,
        "subjects": subjects,
        "policies": policies,
    }


def _messages(keys: Keys, *, speaker: str, hearer: str, services: Sequence[str]) -> dict[str, list[str]]:
    """What one node may say to another: kind of message, and keys."""
    is_whole = "*" in services
    return {
        "query": [keys.ask(hearer, service, speaker) for service in services],
        "reply": [keys.ask(speaker, service, hearer) for service in services],
        "put": [keys.say(speaker, "**" if is_whole else service) for service in services],
        "declare_subscriber": [keys.say("*", "**")],
        "declare_queryable": [keys.ask(speaker, "*", "*")],
        "liveliness_token": [keys.here(speaker)] if is_whole else [],
        "liveliness_query": [keys.here("*")] if is_whole else [],
        "declare_liveliness_subscriber": [keys.here("*")] if is_whole else [],
    }


def _allowed(
    name: str, flow: Literal["ingress", "egress"], messages: Mapping[str, list[str]]
) -> Iterable[dict[str, Json]]:
    for message, keys in messages.items():
        if keys:
            yield {
                "id": f"{name}-{message}",
                "permission": "allow",
                "flows": [flow],
                "messages": [message],
                "key_exprs": keys,
            }
