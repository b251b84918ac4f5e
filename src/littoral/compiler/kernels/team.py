"""How the threads of a team meet: functions of a module whose memory is shared, one instance a thread.

Thread 0 is whoever calls a variant's entry. Every other thread calls `help` with its number once, and stays in it:
between runs it sleeps (`memory.atomic.wait32`), during a run it does its part and waits at barriers, first by looking
a bounded number of times, then asleep. `stop` ends all waiting, for good: `help` returns, and a run that is under way
returns early, with nothing that could be used.

The words that they share lie below the constants, each on a cache line of its own (`docs/concepts/threads.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from littoral.compiler.wasm import Code, Function, Module, const, load, op

__all__ = [
    "ALONE",
    "HELP",
    "SHARED_MEMORY",
    "STOP",
    "Meeting",
    "Member",
    "add_help",
    "add_meeting",
    "add_start",
    "signal_run",
]

SHARED_MEMORY = ("littoral", "memory")
HELP, STOP = "help", "stop"
ALONE = ".alone"
"""Behind the name of an entry: the same run, by thread 0 alone, while the others sleep on."""
LOOKS = 40_000  # before a thread sleeps at a barrier: some tens of microseconds
_ARRIVED, _ROUND, _SLEEPERS, _STOPPED, _RUN, _ENTRY, _FILLED = (64 * i for i in range(1, 8))
_ALL = -1
_EMPTY, _FILLING, _FULL = 0, 1, 2


@dataclass(frozen=True)
class Meeting:
    """Numbers of the module's functions. barrier: `() -> i32`, 1 where the team was stopped."""

    threads: int
    barrier: int

    def meet(self, f: Function) -> None:
        """All threads have come here before any goes on; leaves the function where the team was stopped."""
        with f.when(f.call_for("i32", self.barrier)):
            f.leave()


class Member:
    """One thread's way through a program. All threads meet at the same places, each in its own function.

    They meet between a divided step and whatever comes before or after it; steps of thread 0 alone follow each other.
    stands_for: how many threads' parts it does, one after the other.
    """

    def __init__(self, thread: int = 0, meeting: Meeting | None = None, *, stands_for: int = 1) -> None:
        self.thread = thread
        self.parts = range(thread, thread + stands_for)
        self._meeting = meeting
        self._met = True  # nothing was done since
        self._alone = False  # what was done since, thread 0 did

    def meet(self, f: Function) -> None:
        """Where anything was done since they met last."""
        if self._meeting is not None and not self._met:
            self._meeting.meet(f)
        self._met, self._alone = True, False

    def begin(self, f: Function, divided: bool) -> None:
        """Before a step."""
        if divided or not self._alone:
            self.meet(f)
        self._met, self._alone = False, not divided

    def decide(self, f: Function) -> None:
        """Before all threads read what decides where the program goes on; the next step waits until all have."""
        self.meet(f)
        self.part()

    def part(self) -> None:
        """Threads may be anywhere in what came before."""
        self._met, self._alone = False, False


def add_meeting(module: Module, threads: int) -> Meeting:
    """Adds what every body needs, and the export `stop`."""
    module.add(_stop(), export=STOP)
    return Meeting(threads, module.add(_barrier(threads)))


def add_start(module: Module, constants_at: int, constants_bytes: int) -> None:
    """The start function: the first instance copies the constants, the others wait until it has."""
    f = Function("fill")
    if constants_bytes:
        with f.when(_exchange(_FILLED, _EMPTY, _FILLING).eq(_EMPTY)):
            whole = (const("i32", constants_at), const("i32", 0), const("i32", constants_bytes))
            f.emit(op("memory.init", *whole, immediates=b"\0\0"))
            _set(f, _FILLED, const("i32", _FULL))
            _wake(f, _FILLED)
            f.otherwise()
            _sleep_while(f, _FILLED, const("i32", _FILLING))
        f.emit(op("data.drop", immediates=b"\0"))
    module.start = module.add(f)


def add_help(module: Module, bodies: Sequence[Sequence[int]]) -> None:
    """The export `help`. bodies: for each entry, the functions of threads 1, 2 …"""
    f = Function(HELP, {"thread": "i32"})
    seen = f.local("i32", "seen", 0)
    asked = f.local("i32", "asked")  # read once a run: behind its last barrier the next run may have begun
    with f.loop() as again:
        _sleep_while(f, _RUN, seen)
        f.set(seen, _get(_RUN))
        f.set(asked, _get(_ENTRY))
        with f.when(_get(_STOPPED)):
            f.leave()
        for entry, functions in enumerate(bodies):
            with f.when(asked.eq(entry)):
                for i, index in enumerate(functions):
                    with f.when(f.param("thread").eq(1 + i)):
                        f.call(index)
        f.go(again)
    module.add(f, export=HELP)


def signal_run(f: Function, entry: int) -> None:
    """Thread 0 calls the others to a run."""
    _set(f, _ENTRY, const("i32", entry))
    _add(f, _RUN, 1)
    _wake(f, _RUN)


def _barrier(threads: int) -> Function:
    """The last to arrive starts the next round. Who sleeps has said so before it looked for the last time."""
    f = Function("barrier", results=["i32"])
    here = f.local("i32", "round", _get(_ROUND))
    looks = f.local("i32", "looks", LOOKS)
    with f.block() as over:
        f.go(over, _get(_STOPPED))
        with f.when(_added(_ARRIVED, 1).eq(threads - 1)):
            _set(f, _ARRIVED, const("i32", 0))
            _add(f, _ROUND, 1)
            with f.when(_get(_SLEEPERS)):
                _wake(f, _ROUND)
            f.go(over)
        with f.loop() as again:
            f.go(over, _get(_ROUND).ne(here))
            f.go(again, f.tee(looks, looks - 1))
        _add(f, _SLEEPERS, 1)
        _sleep_while(f, _ROUND, here)
        _add(f, _SLEEPERS, -1)
    f.give(_get(_STOPPED))
    return f


def _stop() -> Function:
    f = Function(STOP)
    _set(f, _STOPPED, const("i32", 1))
    for word in (_ROUND, _RUN):
        _add(f, word, 1)
        _wake(f, word)
    return f


def _sleep_while(f: Function, word: int, value: Code) -> None:
    with f.loop() as again, f.when(_get(word).eq(value)):
        _sleep(f, word, value)
        f.go(again)


def _get(word: int) -> Code:
    return load("i32.atomic.load", const("i32", word))


def _set(f: Function, word: int, value: Code) -> None:
    f.store("i32.atomic.store", const("i32", word), value)


def _added(word: int, amount: int) -> Code:
    """The value before."""
    return op("i32.atomic.rmw.add", const("i32", word), const("i32", amount), immediates=_PLAIN)


def _add(f: Function, word: int, amount: int) -> None:
    f.drop(_added(word, amount))


def _exchange(word: int, expected: int, value: int) -> Code:
    """The value before; the new one is written where it is as expected."""
    words = (const("i32", v) for v in (word, expected, value))
    return op("i32.atomic.rmw.cmpxchg", *words, immediates=_PLAIN)


def _sleep(f: Function, word: int, value: Code) -> None:
    """Until the word is woken, if it has this value."""
    f.drop(op("memory.atomic.wait32", const("i32", word), value, const("i64", -1), immediates=_PLAIN))


def _wake(f: Function, word: int) -> None:
    f.drop(op("memory.atomic.notify", const("i32", word), const("i32", _ALL), immediates=_PLAIN))


_PLAIN = b"\2\0"  # aligned to four bytes, no offset
