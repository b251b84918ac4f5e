"""Runs what `supervise` decides: starts and ends processes, listens to them and to the node.

If this process dies, the kernel kills every child (see `lifeline`), and nothing that was acknowledged is lost: the next
supervisor starts the node again, which says again which shard hosts it wants. Nothing that this module needs at its
import may need asyncio or numpy: a supervisor stays small, and the node waits for it.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from littoral.clock import SYSTEM, Clock
from littoral.errors import NodeError
from littoral.lifeline import ALIVE, FAILED, LOOKED, READY, Lifeline
from littoral.node.child import Child
from littoral.node.config.control import Control
from littoral.node.config.trial import Ask, Outcome, Settle, Trial
from littoral.node.service_manager import ServiceManager
from littoral.node.supervise import CHILD_COUNT_MAX, NODE, ChildState, Do, Patience, Supervision
from littoral.node.supervisor_messages import LINK_VARIABLE, PACKET_BYTES_MAX, States, Want, link_pair
from littoral.vectors.layout import COLLECTIONS
from littoral.vectors.owner_lock import OwnerLock

if TYPE_CHECKING:
    from littoral.node.supervisor_link import SupervisorLink

__all__ = ["Supervisor", "embedded"]

LOCK = ".supervisor.lock"
LOCK_WAIT_S = 1.0
RETRY_S = 0.05
HOST_MODULE = "littoral.vectors.shard_process"


def _ignore(_address: str) -> None:
    pass


class Supervisor:
    """One node, and the shard hosts it wants, on one data folder."""

    def __init__(
        self,
        data: Path,
        node_command: Sequence[str] | None,
        *,
        link: socket.socket | None = None,
        patience: Patience | None = None,
        lock_wait_s: float = LOCK_WAIT_S,
        clock: Clock = SYSTEM,
        on_ready: Callable[[str], None] = _ignore,
        manager: ServiceManager | None = None,
        trial: Trial | None = None,
        say: Callable[[str], None] = _ignore,
    ) -> None:
        """node_command: None if the node is this very process, which then holds the other end of `link`.

        trial: what the node is started with, and where another site file is tried; its arguments follow the command.
        say: gets a line for each.

        on_ready: called with the node's address each time that it begins to serve. manager: who started this process,
        and is told of the node; None = nobody.
        """
        self._data = data.absolute()
        self._node_command = node_command
        self._lock_wait_s = lock_wait_s
        self._clock = clock
        self._core = Supervision(patience or Patience())
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._link: socket.socket | None = None
        self._told: dict[str, ChildState] | None = None
        self._on_ready = on_ready
        self._manager = manager or ServiceManager("", None)
        self._trial = trial
        self._say = say
        self._control: Control | None = None
        self._alive_at = 0.0
        self._has_served = False
        self._is_explained = False
        self._failure = ""
        self._stop_count = 0
        self._stops_seen = 0
        self._reload_count = 0
        self._reloads_seen = 0
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._watch(self._wake_reader, lambda: self._wake_reader.recv(4096))
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        if link is not None:
            self._use_link(link)

    def run(self) -> None:
        """Until everything has ended after `stop`.

        Raises UnavailableError if another supervisor has the folder, and NodeError with the node's own words if it
        cannot even start: what is wrong then is seldom better at the next attempt.
        """
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock: OwnerLock | None = None
        try:
            lock = OwnerLock.take(self._data, self._clock, wait_s=self._lock_wait_s, name=LOCK)
            if self._node_command is not None:
                self._open_trial()
                self._core.begin(self._clock.monotonic())
            while not self._turn():
                for key, _ in self._selector.select(self._wait_s()):
                    if key.fileobj in self._selector.get_map():  # one reaction may end another's source
                        key.data()
        finally:
            self._close()
            if lock is not None:
                lock.release()
        if self._failure:
            raise NodeError(self._failure)

    def run_until_signal(self) -> None:
        """`run`, stopped by SIGTERM or SIGINT; a second signal kills what still runs. For the main thread.

        SIGHUP: `reload`; on a terminal, whose end it is, it ends this process.
        """
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
        if not os.isatty(0):
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: self.reload())
        try:
            self.run()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Ends everything in order, within 2 s; called again, at once. From any thread or signal handler."""
        self._stop_count += 1
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def reload(self) -> None:
        """Has the node take its site file as it is now, and look for new versions of its models. From any thread or
        signal handler."""
        self._reload_count += 1
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _is_node_ready(self) -> bool:
        """A node that starts reads its files anyhow."""
        return NODE in self._children and self._core.states()[NODE].phase == "ready"

    def _turn(self) -> bool:
        """What is due now; True if it is all over."""
        self._speak_for_node()
        self._reload()
        while self._stops_seen < self._stop_count:
            self._stops_seen += 1
            self._manager.stopping()
            self._core.stop(self._clock.monotonic())
        for action in self._core.actions(self._clock.monotonic()):
            if action.do is Do.START:
                self._start(action.child)
            elif action.do is Do.TERMINATE:
                self._children[action.child].terminate()
            else:
                self._children[action.child].kill()
        self._tell()
        return self._core.is_over

    def _open_trial(self) -> None:
        if self._trial is None:
            return
        self._trial.open()
        try:
            self._control = Control(self._data, self._selector, self._begin_trial)
        except OSError as error:
            self._say(f"no other site file can be tried: `{self._data}`: {error.strerror}")

    def _begin_trial(self, text: bytes, settle: Settle, deadline_s: float) -> None:
        assert self._trial is not None
        self._trial.begin(text, settle, is_ready=self._is_node_ready(), deadline_s=deadline_s)

    def _reload(self) -> None:
        """What SIGHUP asked for, and what a trial asks for."""
        is_asked, self._reloads_seen = self._reloads_seen < self._reload_count, self._reload_count
        if self._trial is None:
            if is_asked and self._is_node_ready():
                self._children[NODE].ask("refresh")
            return
        if is_asked:
            self._trial.look(self._say_outcome, is_ready=self._is_node_ready())
        for ask in self._trial.asks():
            if ask is Ask.RESTART:
                self._core.restart(NODE, self._clock.monotonic())
            elif self._is_node_ready():
                self._children[NODE].ask("look" if ask is Ask.LOOK else "refresh")

    def _say_outcome(self, outcome: Outcome) -> None:
        self._say(f"site file: {outcome.how}" + (f": {outcome.why}" if outcome.why else ""))

    def _speak_for_node(self) -> None:
        """While there is no node that could: its restart is this process' business."""
        now = self._clock.monotonic()
        if self._manager.alive_every_s is None or self._is_node_ready() or now < self._alive_at:
            return
        self._manager.alive()
        self._alive_at = now + self._manager.alive_every_s

    def _wait_s(self) -> float | None:
        wake_at = self._core.wake_at()
        if self._trial is not None and (ends_at := self._trial.wake_at()) is not None:
            wake_at = ends_at if wake_at is None else min(wake_at, ends_at)
        if self._manager.alive_every_s is not None and not self._is_node_ready():
            wake_at = self._alive_at if wake_at is None else min(wake_at, self._alive_at)
        wait_s = None if wake_at is None else max(0.0, wake_at - self._clock.monotonic())
        if self._link is not None and self._told != self._core.states():
            return RETRY_S if wait_s is None else min(wait_s, RETRY_S)
        return wait_s

    def _start(self, name: str) -> None:
        theirs: socket.socket | None = None
        try:
            if name == NODE:
                ours, theirs = link_pair()
                self._use_link(ours)
                arguments = self._trial.arguments() if self._trial is not None else []
                child = Child([*(self._node_command or ()), *arguments], {LINK_VARIABLE: theirs.fileno()})
                self._is_explained = False
                if self._trial is not None:
                    self._trial.started()
            else:
                child = Child([sys.executable, "-P", "-m", HOST_MODULE, str(self._data / name)], {})
        except OSError as error:
            self._core.ended(name, f"cannot be started: {error.strerror}", self._clock.monotonic())
            return
        finally:
            if theirs is not None:
                theirs.close()
        self._children[name] = child
        self._core.started(name, child.pid)
        self._watch(child.ended, lambda: self._bury(name))
        self._watch(child.status, lambda: self._hear(name))

    def _hear(self, name: str) -> None:
        child = self._children[name]
        for line in child.reports():
            word, _, rest = line.partition(" ")
            if word == READY:
                self._core.ready(name, self._clock.monotonic())
            elif word == FAILED:
                self._core.failed(name, rest)
            if name == NODE:
                self._hear_node(word, rest)

    def _hear_node(self, word: str, rest: str) -> None:
        if word == READY:
            self._has_served = True
            self._manager.ready(rest)
            self._on_ready(rest)
            if self._trial is not None:
                self._trial.ready()
        elif word == ALIVE:
            self._manager.alive()
        elif word == LOOKED and self._trial is not None:
            self._trial.looked(rest)
        elif word == FAILED:
            self._hear_failure(rest)

    def _hear_failure(self, reason: str) -> None:
        """Its own words come first, then how it ended."""
        if self._is_explained:
            return
        self._is_explained = True
        if self._trial is not None and self._trial.is_under_way:
            self._trial.ended(reason)
        elif self._has_served or self._stop_count:
            return
        elif self._trial is not None and self._trial.fall_back():
            self._say(f"{reason}; the node is started with the site file that served last")
        else:
            self._failure = reason
            self.stop()

    def _bury(self, name: str) -> None:
        self._hear(name)
        child = self._children.pop(name)
        self._selector.unregister(child.ended)
        self._selector.unregister(child.status)
        how = child.reap()
        if not self._stop_count and self._core.states()[name].phase != "stopping":
            self._say(f"`{name}` ended, {how}: it is started again")
        if name == NODE and not self._stop_count:
            self._manager.status(f"the node ended, {how}: it is started again")
        if name == NODE and (how.startswith("exit code") or (self._trial is not None and self._trial.is_under_way)):
            self._hear_node(FAILED, f"node: ended before it was ready: {how}")
        self._core.ended(name, how, self._clock.monotonic())

    def _use_link(self, link: socket.socket) -> None:
        self._drop_link()
        link.setblocking(False)
        self._link, self._told = link, None
        self._watch(link, self._listen)

    def _drop_link(self) -> None:
        if self._link is not None:
            self._selector.unregister(self._link)
            self._link.close()
            self._link = None

    def _listen(self) -> None:
        """A node that speaks nonsense, or no more, is not listened to; its hosts go on as they are."""
        if self._link is None:
            return
        try:
            packet = self._link.recv(PACKET_BYTES_MAX)
            want = msgspec.msgpack.decode(packet, type=Want) if packet else None
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            want = None
        if want is None or not _are_shard_folders(want.hosts):
            self._drop_link()
            return
        self._core.want(want.hosts, self._clock.monotonic())

    def _tell(self) -> None:
        """The newest state; what the node is too slow to take is overtaken by the next."""
        states = self._core.states()
        if self._link is None or states == self._told:
            return
        with contextlib.suppress(OSError):
            self._link.send(msgspec.msgpack.encode(States(states)))
            self._told = states

    def _watch(self, source: int | socket.socket, react: Callable[[], object]) -> None:
        self._selector.register(source, selectors.EVENT_READ, react)

    def _close(self) -> None:
        for child in self._children.values():
            child.kill()
            child.reap()
        if self._control is not None:
            self._control.close()
        self._drop_link()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()


def _are_shard_folders(names: Sequence[str]) -> bool:
    """`collections/<name>/<shard>`, so that a node cannot point a host anywhere else."""
    parts = [PurePosixPath(name).parts for name in names]
    return len(names) <= CHILD_COUNT_MAX and all(
        len(part) == 3 and part[0] == COLLECTIONS and ".." not in part and "/".join(part) == name
        for part, name in zip(parts, names, strict=True)
    )


@contextlib.contextmanager
def embedded(data: Path, *, patience: Patience | None = None) -> Iterator["SupervisorLink"]:
    """A supervisor of shard hosts in a thread of this process, for tests and for `littoral demo`.

    Gives the link, to be entered with `async with`. Hosts die with this process, as with any supervisor.
    """
    from concurrent.futures import ThreadPoolExecutor

    from littoral.node.supervisor_link import SupervisorLink

    ours, theirs = link_pair()
    supervisor = Supervisor(data, None, link=ours, patience=patience)
    with theirs, ThreadPoolExecutor(1, thread_name_prefix="littoral-supervisor") as thread:
        running = thread.submit(supervisor.run)
        try:
            yield SupervisorLink(theirs, Lifeline(None, None))
        finally:
            supervisor.stop()
            running.result()
