"""How steps reach other nodes: over the mesh, and to the fleet's orchestrator where the site file says so."""

from collections.abc import Sequence
from typing import Protocol

from littoral.errors import PeerError
from littoral.transport import OnLiveness

__all__ = ["Way", "Ways"]


class Way(Protocol):
    """As much of a `Transport` as a step needs."""

    body_bytes_max: int

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes: ...

    def alive(self) -> frozenset[str]: ...

    def watch(self, on_liveness: OnLiveness) -> None: ...


class Ways:
    """Several as one; of two that know a name the first is taken. body_bytes_max: of the first, where a node says of
    itself no less.
    """

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways
        self.body_bytes_max = ways[0].body_bytes_max if ways else 0

    async def request(self, peer: str, service: str, body: bytes, *, deadline_s: float) -> bytes:
        for way in self._ways:
            if peer in way.alive():
                return await way.request(peer, service, body, deadline_s=deadline_s)
        raise PeerError(f"peer `{peer}`: is away")

    def alive(self) -> frozenset[str]:
        return frozenset().union(*(way.alive() for way in self._ways))

    def watch(self, on_liveness: OnLiveness) -> None:
        for way in self._ways:
            way.watch(on_liveness)
