"""The threads of a model that was made for several: one instance a thread, over one shared memory.

The caller's thread is number 0 and calls entries; the others are in the module's `help` from the start, asleep between
runs. Whatever ends one of them stops the team: nobody waits for a thread that will not come.
"""

import os
import threading
import weakref

from littoral.errors import MemoryCapError, UnavailableError
from littoral.runtime.engine import MachineCode
from littoral.runtime.sandbox import Guest, Limits
from littoral.runtime.thread_priority import stand_back
from littoral.runtime.thread_stack import start_threads
from littoral.tensors import Array

__all__ = ["ALONE", "HELP", "STOP", "Team"]

HELP, STOP = "help", "stop"
ALONE = ".alone"
JOIN_S = 5.0


class Team:
    """Instances of one module, each on its thread; stands in for a `Guest`. `call` from one thread at a time.

    Close it; one that is forgotten is stopped by the garbage collector. A team does not survive `fork`: in the child
    it is closed, and says so. Raises as `Guest`.
    """

    def __init__(self, code: MachineCode, limits: Limits, threads: int, *, name: str) -> None:
        self.name = name
        self._memory = code.shared_memory()
        if self._memory.data_len() > limits.memory_bytes:
            raise MemoryCapError(f"{name}: needs {self._memory.data_len()} bytes, may have {limits.memory_bytes}")
        self._guests: list[Guest] = []
        self._is_closed = False
        self._process = os.getpid()
        try:
            for _ in range(threads):
                self._guests.append(Guest(code, limits, name=name, shared=self._memory))
        except BaseException:
            for guest in self._guests:
                guest.close()
            raise
        first, *others = self._guests
        self._ends = _Ends(first)
        self._threads = [
            threading.Thread(target=_help, args=(guest, i, self._ends), name=f"littoral-team-{i}", daemon=True)
            for i, guest in enumerate(others, 1)
        ]
        self._finalizer = weakref.finalize(self, _let_go, self._ends, self._process)
        start_threads(self._threads)

    @property
    def is_broken(self) -> bool:
        return self._is_closed or self._ends.is_over or self._process != os.getpid()

    def call(self, entry: str) -> int:
        """Runs an entry on all threads. Raises what ended any of them, UnavailableError for a team that has ended."""
        if self.is_broken:
            raise UnavailableError(f"{self.name}: its threads have ended")
        try:
            self._guests[0].call(entry)
        except BaseException:
            self._ends.stop()
            raise
        if (error := self._ends.error) is not None:
            raise error
        if self._ends.is_over:
            raise UnavailableError(f"{self.name}: closed during a call")
        return 0

    def memory(self) -> Array:
        """The shared memory, uint8[n]. A view: drop it before `close`."""
        return self._guests[0].memory()

    def close(self) -> None:
        """Ends the threads and frees their instances; no view of the memory may be used any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._finalizer()
        if self._process != os.getpid():
            return  # the threads are the parent's
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_S)
        self._guests[0].close()


class _Ends:
    """How a team ends: what its threads share in Python. error: of the first of the others that failed."""

    def __init__(self, first: Guest) -> None:
        self._first = first
        self.is_over = False
        self.error: BaseException | None = None

    def stop(self) -> None:
        """Wakes every thread, for good. By the caller of entries, or when there is none any more."""
        self.is_over = True
        self._first.call_anyway(STOP)

    def fail(self, guest: Guest, error: BaseException) -> None:
        """As `stop`, by one of the others, through its own instance."""
        self.error = self.error or error
        self.is_over = True
        guest.call_anyway(STOP)


def _help(guest: Guest, thread: int, ends: _Ends) -> None:
    stand_back()
    try:
        guest.call(HELP, thread)
    except BaseException as error:  # noqa: BLE001 (the thread's outermost boundary: the next `call` raises it)
        ends.fail(guest, error)
    finally:
        guest.close()


def _let_go(ends: _Ends, process: int) -> None:
    if process == os.getpid():
        ends.stop()
