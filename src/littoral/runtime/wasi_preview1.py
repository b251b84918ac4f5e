"""WASI preview 1 for an agent that is granted it: clocks, random bytes, and lines for the log; no files, no sockets.

Every call answers at once: nothing here waits, so the agent's deadline holds. Standard output and error go to the
agent's log, line by line; standard input is at its end; there are no arguments and no environment.
(WASI snapshot preview 1, witx)
"""

import secrets
from collections.abc import Callable, Mapping

from littoral.clock import Clock
from littoral.runtime.agent_log import LINE_BYTES_MAX, AgentLog
from littoral.runtime.guest_memory import GuestMemory, OutsideError
from littoral.runtime.host_modules import WASI, WASI_FUNCTIONS
from littoral.runtime.sandbox import HostFunction
from littoral.tensors import Array

__all__ = ["WasiHost"]

SUCCESS, BADF, FAULT, INVAL, NOSYS, NOTCAPABLE = 0, 8, 21, 28, 52, 76
STDIN, STDOUT, STDERR = range(3)
LEVELS = {STDOUT: 3, STDERR: 2}
REALTIME, MONOTONIC = range(2)
RESOLUTION_NS = 1000
CHARACTER_DEVICE = 2
RIGHT_FD_READ, RIGHT_FD_WRITE = 1 << 1, 1 << 6
RANDOM_BYTES_MAX = 1 << 16
WRITE_BYTES_MAX = 1 << 14
VECTORS_MAX = 1024

_Call = Callable[..., int]


class WasiHost:
    """For one instance of an agent. exit_code: what it told by `proc_exit`, None where it did not."""

    def __init__(self, log: AgentLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._lines = {STDOUT: bytearray(), STDERR: bytearray()}
        self.exit_code: int | None = None

    def functions(self) -> Mapping[str, HostFunction]:
        """By `module.name`. What is not offered answers with an error: libraries import much more than they use."""
        offered: dict[str, _Call] = {
            "args_get": self._nothing,
            "args_sizes_get": self._no_entries,
            "clock_res_get": self._clock_res_get,
            "clock_time_get": self._clock_time_get,
            "environ_get": self._nothing,
            "environ_sizes_get": self._no_entries,
            "fd_close": self._fd_known,
            "fd_fdstat_get": self._fd_fdstat_get,
            "fd_read": self._fd_read,
            "fd_write": self._fd_write,
            "random_get": self._random_get,
            "sched_yield": self._nothing,
        }
        calls = {name: offered.get(name, _refusing(name)) for name in WASI_FUNCTIONS}
        hosts = {name: HostFunction(WASI_FUNCTIONS[name], _numbered(call)) for name, call in calls.items()}
        hosts["proc_exit"] = HostFunction(WASI_FUNCTIONS["proc_exit"], self._proc_exit)
        return {f"{WASI}.{name}": host for name, host in hosts.items()}

    def flush(self) -> None:
        """Logs what was written without a line's end."""
        for fd, line in self._lines.items():
            if line:
                self._log.say(LEVELS[fd], bytes(line))
                line.clear()

    def _nothing(self, _memory: GuestMemory, *_values: int) -> int:
        return SUCCESS

    def _no_entries(self, memory: GuestMemory, count_at: int, bytes_at: int) -> int:
        memory.put(count_at, 0)
        memory.put(bytes_at, 0)
        return SUCCESS

    def _clock_res_get(self, memory: GuestMemory, clock: int, at: int) -> int:
        if clock not in (REALTIME, MONOTONIC):
            return INVAL
        memory.put(at, RESOLUTION_NS, 8)
        return SUCCESS

    def _clock_time_get(self, memory: GuestMemory, clock: int, _precision: int, at: int) -> int:
        if clock not in (REALTIME, MONOTONIC):
            return INVAL
        seconds = self._clock.wall() if clock == REALTIME else self._clock.monotonic()
        memory.put(at, int(seconds * 1e6) * RESOLUTION_NS, 8)
        return SUCCESS

    def _fd_known(self, _memory: GuestMemory, fd: int) -> int:
        return SUCCESS if fd in (STDIN, STDOUT, STDERR) else BADF

    def _fd_fdstat_get(self, memory: GuestMemory, fd: int, at: int) -> int:
        if fd not in (STDIN, STDOUT, STDERR):
            return BADF
        rights = RIGHT_FD_READ if fd == STDIN else RIGHT_FD_WRITE
        memory.put(at, CHARACTER_DEVICE | rights << 64, 24)  # u8 kind, u16 flags at 2, u64 rights at 8 and 16
        return SUCCESS

    def _fd_read(self, memory: GuestMemory, fd: int, _vectors: int, _count: int, size_at: int) -> int:
        if fd != STDIN:
            return BADF
        memory.put(size_at, 0)
        return SUCCESS

    def _fd_write(self, memory: GuestMemory, fd: int, vectors: int, count: int, size_at: int) -> int:
        if (line := self._lines.get(fd)) is None:
            return BADF
        if not 0 <= count <= VECTORS_MAX:
            return INVAL
        taken = 0
        for i in range(count):
            span = memory.span(memory.u32(vectors + 8 * i), memory.u32(vectors + 8 * i + 4))
            self._take_lines(fd, line, span[: WRITE_BYTES_MAX - taken])
            taken = min(taken + span.size, WRITE_BYTES_MAX)  # the rest is for the guest to write again
        memory.put(size_at, taken)
        return SUCCESS

    def _take_lines(self, fd: int, line: bytearray, span: Array) -> None:
        """Whole lines go to the log; of each, and of the one under way, no more is kept than the log takes."""
        *whole, rest = span.tobytes().split(b"\n")
        for part in whole:
            line += part[: LINE_BYTES_MAX - len(line)]
            self._log.say(LEVELS[fd], bytes(line))
            line.clear()
        line += rest[: LINE_BYTES_MAX - len(line)]

    def _random_get(self, memory: GuestMemory, at: int, size: int) -> int:
        if not 0 <= size <= RANDOM_BYTES_MAX:
            return INVAL
        memory.span(at, size)[:] = memoryview(secrets.token_bytes(size))
        return SUCCESS

    def _proc_exit(self, _memory: Array, code: int) -> None:
        """Notes the code. A host function cannot end its guest: compilers put an `unreachable` behind this call."""
        self.exit_code = code


def _refusing(name: str) -> _Call:
    """Files, sockets and waiting: as if nothing had ever been opened."""
    number = NOTCAPABLE if name.startswith("path_") else BADF if name.startswith(("fd_", "sock_")) else NOSYS

    def call(_memory: GuestMemory, *_values: int) -> int:
        return number

    return call


def _numbered(call: _Call) -> Callable[..., int]:
    """The function over raw memory; an address outside it is an error of the guest's, by number."""

    def numbered(memory: Array, *values: int) -> int:
        try:
            return call(GuestMemory(memory), *values)
        except OutsideError:
            return FAULT

    return numbered
