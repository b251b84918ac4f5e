"""A site of nodes whose identities are real, by a clock that the test moves."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from littoral.mesh.identity.asking import join_site
from littoral.mesh.identity.door import Door, open_door
from littoral.mesh.identity.founding import Root, found_site, new_root
from littoral.mesh.identity.identity import Identity
from littoral.mesh.identity.issuer import Issuer
from littoral.mesh.identity.tokens import Grant, JoinToken
from littoral.mesh.zenoh_options import ZenohOptions

DAY_S = 86400.0
START_S = 1_800_000_000.0


@dataclass
class MovedClock:
    """Both clocks move when told; the wall clock may be set, as a machine's is at its start."""

    wall_s: float = START_S
    monotonic_s: float = 0.0

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def move(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


def found(
    folder: Path,
    clock: MovedClock,
    *,
    site: str = "farm",
    name: str = "gw-1",
    root: Root | None = None,
    endpoints: Sequence[str] = (),
) -> Identity:
    chosen = root or new_root(site, clock)
    return found_site(folder / name, chosen, site=site, name=name, clock=clock, endpoints=endpoints)


def token_for(
    identity: Identity, name: str, *, is_issuer: bool = False, minutes: int = 60, **more: object
) -> JoinToken:
    grant = Grant(name, "", int(identity.clock.wall()) + 60 * minutes, is_issuer=is_issuer, **more)  # type: ignore[arg-type]
    return Issuer(identity).make_token(grant)


async def joined(
    folder: Path, at: Identity, name: str, clock: MovedClock, *, endpoints: Sequence[str] = (), **more: object
) -> Identity:
    """Through a real door."""
    token = token_for(at, name, **more)  # type: ignore[arg-type]
    async with opened(at) as door:
        return await join_site(folder / name, door.host, door.port, token, name, clock, endpoints=endpoints)


def opened(identity: Identity) -> AbstractAsyncContextManager[Door]:
    return open_door(identity, "127.0.0.1", 0)


def zenoh_options(
    identity: Identity,
    port: int,
    peers: Mapping[str, str | None],
    protocol: Literal["quic", "tls"] = "quic",
) -> ZenohOptions:
    """As a node sets its Zenoh up from its identity."""
    return ZenohOptions(
        site=identity.trust.site,
        name=identity.name,
        listen=f"127.0.0.1:{port}",
        peers=peers,
        ca=identity.anchors_file,
        certificate=identity.credential_file,
        key=identity.credential_file,
        protocol=protocol,
    )
