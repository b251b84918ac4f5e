"""What a supervisor decides: which child to start, to end, to kill, and when. Pure: events and times in, actions out.

Children are the node and the shard hosts that the node wants. The first restart after a steady run is immediate; after
that each failure doubles the pause. Stopping ends the node first, because it still needs the hosts, then the hosts.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

__all__ = ["NODE", "Action", "ChildState", "Do", "Patience", "Phase", "Supervision"]

NODE = "node"
CHILD_COUNT_MAX = 256


class Phase(enum.Enum):
    """waiting: for its restart. starting: runs, not ready yet. ready: serves. stopping: told to end."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Do(enum.Enum):
    """What to do with a child; terminate lets it end in order, kill does not."""

    START = "start"
    TERMINATE = "terminate"
    KILL = "kill"


class Action(NamedTuple):
    """One thing to do now."""

    do: Do
    child: str


class ChildState(msgspec.Struct, frozen=True):
    """What is told about a child. `last` is why it ended last, or ''."""

    phase: str
    pid: int | None
    restart_count: int
    last: str

    def __str__(self) -> str:
        again = f", restarted {self.restart_count} times, last: {self.last}" if self.restart_count else ""
        return self.phase + again


@dataclass(frozen=True)
class Patience:
    """Times in seconds. A child that never became ready is tried ever more rarely; one that did is wanted back soon."""

    pause_first_s: float = 0.1
    pause_max_s: float = 30.0
    pause_max_ready_s: float = 0.5
    steady_s: float = 5.0
    end_s: float = 2.0
    node_share_s: float = 1.4

    def pause_s(self, failure_count: int, *, was_ready: bool) -> float:
        """Before the restart after the n-th failure in a row; none after the first."""
        if failure_count <= 1:
            return 0.0
        longest = self.pause_max_ready_s if was_ready else self.pause_max_s
        return min(longest, self.pause_first_s * 2.0 ** min(failure_count - 2, 32))


@dataclass
class _Child:
    name: str
    phase: Phase
    at: float
    """waiting: time of the start; stopping: time of the kill; ready: since when."""
    pid: int | None = None
    is_wanted: bool = True
    is_told: bool = False
    """An action for the current phase was handed out."""
    was_ready: bool = False
    failure_count: int = 0
    restart_count: int = 0
    reason: str = ""
    """What it said itself about its coming end."""
    last: str = ""


@dataclass
class Supervision:
    """State of all children. Call `actions` after each event, and again at `wake_at`."""

    patience: Patience = field(default_factory=Patience)
    _children: dict[str, _Child] = field(default_factory=dict)
    _stop_at: float | None = None
    _end_s: float = 0.0

    def begin(self, now: float) -> None:
        """The node is to run."""
        self._children[NODE] = _Child(NODE, Phase.WAITING, now)

    def want(self, hosts: Iterable[str], now: float) -> None:
        """These hosts are to run and no others. The same again changes nothing; while stopping it is ignored."""
        wanted = set(hosts)
        if self._stop_at is not None:
            return
        for name in wanted - self._children.keys():
            self._children[name] = _Child(name, Phase.WAITING, now)
        for child in list(self._children.values()):
            if child.name != NODE:
                self._set_wanted(child, child.name in wanted, now)

    def _set_wanted(self, child: _Child, is_wanted: bool, now: float) -> None:
        if child.is_wanted == is_wanted:
            return
        child.is_wanted = is_wanted
        if not is_wanted:
            self._end(child, now + self.patience.end_s)

    def _end(self, child: _Child, kill_at: float) -> None:
        if child.phase is Phase.WAITING:
            del self._children[child.name]
        elif child.phase is not Phase.STOPPING:
            child.phase, child.at, child.is_told = Phase.STOPPING, kill_at, False

    def restart(self, name: str, now: float) -> None:
        """Ended in order, and started again at once; one that waits for its start waits no longer."""
        child = self._children.get(name)
        if child is None or self._stop_at is not None:
            return
        if child.phase is Phase.WAITING:
            child.at = now
        else:
            self._end(child, now + self.patience.end_s)

    def started(self, name: str, pid: int) -> None:
        """The child runs."""
        child = self._children[name]
        child.pid = pid

    def ready(self, name: str, now: float) -> None:
        """The child says that it serves."""
        child = self._children[name]
        if child.phase is Phase.STARTING:
            child.phase, child.at, child.was_ready = Phase.READY, now, True

    def failed(self, name: str, reason: str) -> None:
        """The child says why it is about to end."""
        self._children[name].reason = reason

    def ended(self, name: str, how: str, now: float) -> None:
        """The child is gone, or could not be started. how: used as the reason if it gave none itself."""
        child = self._children[name]
        was_steady = child.phase is Phase.READY and now - child.at >= self.patience.steady_s
        was_told = child.phase is Phase.STOPPING
        child.pid = None
        if not child.is_wanted or self._stop_at is not None:
            del self._children[name]
            return
        child.last, child.reason = child.reason or how, ""
        child.failure_count = 0 if was_told else 1 if was_steady else child.failure_count + 1
        child.restart_count += 1
        child.phase, child.is_told = Phase.WAITING, False
        child.at = now + self.patience.pause_s(child.failure_count, was_ready=child.was_ready)
        child.was_ready = False

    def stop(self, now: float) -> None:
        """Everything is to end: the node, then the hosts. The second time: at once."""
        is_first = self._stop_at is None
        self._stop_at = now
        self._end_s = self.patience.end_s if is_first else 0.0
        for child in self._children.values():
            if child.phase is Phase.STOPPING and not is_first:
                child.at = now
        if (node := self._children.get(NODE)) is not None:
            self._end(node, now + (self.patience.node_share_s if is_first else 0.0))

    @property
    def is_over(self) -> bool:
        """Stopped, and nothing runs."""
        return self._stop_at is not None and not self._children

    def actions(self, now: float) -> list[Action]:
        """What to do now; each action is handed out once."""
        self._end_hosts_after_node(now)
        found = []
        for child in self._children.values():
            if child.phase is Phase.WAITING and now >= child.at:
                child.phase = Phase.STARTING
                found.append(Action(Do.START, child.name))
            elif child.phase is Phase.STOPPING and not child.is_told:
                child.is_told = True
                found.append(Action(Do.TERMINATE, child.name))
            elif child.phase is Phase.STOPPING and now >= child.at:
                child.at = now + self.patience.end_s
                found.append(Action(Do.KILL, child.name))
        return found

    def _end_hosts_after_node(self, now: float) -> None:
        if self._stop_at is None or NODE in self._children:
            return
        for child in list(self._children.values()):
            self._end(child, max(now, self._stop_at + self._end_s))

    def wake_at(self) -> float | None:
        """When `actions` has something to say next, if nothing happens before."""
        times = [c.at for c in self._children.values() if c.phase in (Phase.WAITING, Phase.STOPPING)]
        return min(times, default=None)

    def states(self) -> dict[str, ChildState]:
        """For the node, for people, for metrics."""
        return {
            child.name: ChildState(
                child.phase.value,
                child.pid,
                child.restart_count,
                child.last,
            )
            for child in self._children.values()
        }
