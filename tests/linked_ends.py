"""Ends of a real Zenoh over QUIC for nodes of one process, with a relay on every link: it cuts, delays and heals."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from pathlib import Path

from littoral.mesh.zenoh_options import ZenohOptions
from littoral.mesh.zenoh_transport import ZenohTransport
from mesh_certificates import Authority
from ports import free_ports
from udp_relay import UdpRelay
from waiting import until_async

__all__ = ["LinkedEnds", "linked_ends"]


class LinkedEnds:
    """By name. Each pair has two ways to link, one begun at either end."""

    def __init__(self, ends: dict[str, ZenohTransport], relays: dict[tuple[str, str], UdpRelay]) -> None:
        self._ends = ends
        self._relays = relays

    def end(self, name: str) -> ZenohTransport:
        """As `nodes_in_process.Wires`."""
        return self._ends[name]

    def cut(self, a: str, b: str, *, is_one_way: bool = False) -> None:
        """Nothing gets from one to the other, nor back; one way: only from the first to the second is lost."""
        self._relays[a, b].mute |= {"there"} if is_one_way else {"there", "back"}
        self._relays[b, a].mute |= {"back"} if is_one_way else {"there", "back"}

    def cut_off(self, name: str) -> None:
        """From all the others."""
        for other in self._ends.keys() - {name}:
            self.cut(name, other)

    def slow(self, delay_s: float) -> None:
        """All links: so much longer, each way."""
        for relay in self._relays.values():
            relay.delay_s = delay_s

    def heal(self) -> None:
        for relay in self._relays.values():
            relay.mute, relay.delay_s = set(), 0.0

    def sees(self, name: str) -> frozenset[str]:
        return self._ends[name].alive()

    @property
    def lost_count(self) -> int:
        """Of requests and answers that a link lost, and that were found."""
        return sum(end.traffic.lost.total() for end in self._ends.values())

    async def met(self) -> None:
        """All see each other."""
        await until_async(lambda: all(self._ends.keys() <= end.alive() for end in self._ends.values()))


@contextlib.asynccontextmanager
async def linked_ends(folder: Path, names: Sequence[str]) -> AsyncIterator[LinkedEnds]:
    authority, ports = Authority(folder), dict(zip(names, free_ports(len(names)), strict=True))
    async with contextlib.AsyncExitStack() as opened:
        relays = {
            (here, there): await opened.enter_async_context(UdpRelay(ports[there]))
            for here, there in permutations(names, 2)
        }
        options = [_options(authority, name, ports, relays) for name in names]
        ends = [await opened.enter_async_context(await ZenohTransport.open(one)) for one in options]
        found = LinkedEnds({end.name: end for end in ends}, relays)
        await found.met()
        yield found


def _options(
    authority: Authority, name: str, ports: dict[str, int], relays: dict[tuple[str, str], UdpRelay]
) -> ZenohOptions:
    made = authority.issue(name)
    peers: dict[str, str | None] = {
        there: f"127.0.0.1:{relay.port}" for (here, there), relay in relays.items() if here == name
    }
    return ZenohOptions("shop", name, f"127.0.0.1:{ports[name]}", peers, made.ca, made.certificate, made.key)
