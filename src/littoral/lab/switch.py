"""The switch of a lab: takes packets from every node, keeps each until it is due, gives it to the node it is for."""

import contextlib
import heapq
import itertools
import os
import select
from collections.abc import Callable, Sequence

from littoral.clock import Clock
from littoral.lab.namespaces import HOST_ADDRESS, Port, address_of
from littoral.lab.shape import Wires

__all__ = ["Switch", "target_of"]

PACKET_BYTES_MAX = 65_536
READ_COUNT_MAX = 64
WAITING_BYTES_MAX = 64 << 20
_HOST_LAST = int(HOST_ADDRESS.rpartition(".")[2])
_PREFIX = bytes(int(part) for part in address_of(1).split(".")[:3])


class Switch:
    """Between the ports. passed_count and dropped_count: of packets, since it was made."""

    def __init__(self, ports: Sequence[Port], wires: Wires, clock: Clock) -> None:
        self._ports = {port.number: port for port in ports}
        self._numbers = {port.file: port.number for port in ports}
        self._wires = wires
        self._clock = clock
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._waiting_bytes = 0
        self._order = itertools.count()
        self.passed_count = 0
        self.dropped_count = 0

    def run(self, other: int, on_other: Callable[[], bool]) -> None:
        """Until `on_other`, called when the file `other` has something to read, says false."""
        files = [*self._numbers, other]
        while True:
            now_s = self._clock.monotonic()
            # Not epoll, whose times are whole milliseconds.
            wait_s = max(0.0, self._waiting[0][0] - now_s) if self._waiting else None
            ready, _, _ = select.select(files, [], [], wait_s)
            for file in ready:
                if file == other:
                    if not on_other():
                        return
                else:
                    self._take(file)
            self._give()

    def _take(self, file: int) -> None:
        origin = self._numbers[file]
        now_s = self._clock.monotonic()
        for _ in range(READ_COUNT_MAX):
            try:
                packet = os.read(file, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            self._route(origin, packet, now_s)

    def _route(self, origin: int, packet: bytes, now_s: float) -> None:
        target = target_of(packet)
        if target is None or target not in self._ports or target == origin:
            return
        due_s = self._wires.arrival_s(origin, target, len(packet), now_s)
        if due_s is None or self._waiting_bytes + len(packet) > WAITING_BYTES_MAX:
            self.dropped_count += 1
            return
        self._waiting_bytes += len(packet)
        heapq.heappush(self._waiting, (due_s, next(self._order), target, packet))

    def _give(self) -> None:
        now_s = self._clock.monotonic()
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, target, packet = heapq.heappop(self._waiting)
            self._waiting_bytes -= len(packet)
            # A device whose queue is full drops, as any does.
            with contextlib.suppress(OSError):
                os.write(self._ports[target].file, packet)
                self.passed_count += 1


def target_of(packet: bytes) -> int | None:
    """The node that an IPv4 packet is for; None: for none of a lab's."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16:19] != _PREFIX:
        return None
    return 0 if packet[19] == _HOST_LAST else packet[19]
