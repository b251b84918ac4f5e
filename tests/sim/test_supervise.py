"""What the supervisor decides, against simulated children and a simulated clock. A failure names its seed."""

import itertools
import random
from dataclasses import dataclass, field

import pytest

from littoral.node.supervise import NODE, Action, Do, Patience, Supervision

PATIENCE = Patience()
A, B = "collections/a/shard-0", "collections/b/shard-0"


@dataclass
class World:
    """Processes that start, get ready, end and crash when told, or when the dice say so."""

    core: Supervision = field(default_factory=Supervision)
    now: float = 0.0
    alive: dict[str, int] = field(default_factory=dict)
    pids: int = 0
    starts: list[tuple[float, str]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    obeys: bool = True

    def act(self) -> None:
        while actions := self.core.actions(self.now):
            self.obey(actions)

    def obey(self, actions: list[Action]) -> None:
        for do, name in actions:
            self.log.append(f"{self.now:.3f} {do.value} {name}")
            if do is Do.START:
                assert name not in self.alive, f"{name} runs twice"
                self.pids += 1
                self.alive[name] = self.pids
                self.starts.append((self.now, name))
                self.core.started(name, self.pids)
            elif do is Do.KILL or self.obeys:
                self.end(name, f"by {do.value}")

    def end(self, name: str, how: str = "killed by SIGKILL") -> None:
        del self.alive[name]
        self.core.ended(name, how, self.now)

    def run(self, seconds: float) -> None:
        """Time passes; the shell acts whenever the core asks for it."""
        until = self.now + seconds
        self.act()
        while (wake := self.core.wake_at()) is not None and wake <= until:
            self.now = max(self.now, wake)
            self.act()
        self.now = until

    def ready(self, name: str) -> None:
        self.core.ready(name, self.now)


@pytest.fixture
def world() -> World:
    world = World()
    world.core.begin(0.0)
    world.core.want([A], 0.0)
    world.run(0.0)
    world.ready(NODE)
    world.ready(A)
    return world


def test_node_and_hosts_start_at_once(world: World) -> None:
    assert set(world.alive) == {NODE, A}
    assert {name: str(state) for name, state in world.core.states().items()} == {NODE: "ready", A: "ready"}


def test_the_first_restart_is_immediate_and_says_why(world: World) -> None:
    world.run(10.0)
    world.end(A)
    world.run(0.0)
    assert world.starts[-1] == (10.0, A)
    assert str(world.core.states()[A]) == "starting, restarted 1 times, last: killed by SIGKILL"


def test_a_host_that_never_gets_ready_is_tried_ever_more_rarely(world: World) -> None:
    world.core.want([A, B], world.now)
    for _ in range(15):
        world.run(0.0)
        if B in world.alive:
            world.core.failed(B, "no such shard")
            world.end(B, "exit code 1")
        world.run(30.0)
        if B in world.alive:
            world.core.failed(B, "no such shard")
            world.end(B, "exit code 1")
    times = [at for at, name in world.starts if name == B]
    assert times[1] == times[0]
    assert max(b - a for a, b in itertools.pairwise(times)) >= PATIENCE.pause_max_s
    assert world.core.states()[B].last == "no such shard"


def test_a_host_that_serves_and_crashes_again_and_again_is_back_within_half_a_second(world: World) -> None:
    for _ in range(30):
        world.end(A)
        ended = world.now
        world.run(PATIENCE.pause_max_ready_s)
        assert world.starts[-1][1] == A
        assert world.starts[-1][0] - ended <= PATIENCE.pause_max_ready_s
        world.ready(A)


def test_a_steady_run_clears_the_record(world: World) -> None:
    for _ in range(5):
        world.end(A)
        world.run(1.0)
        world.ready(A)
    world.run(PATIENCE.steady_s)
    world.end(A)
    world.run(0.0)
    assert world.starts[-1] == (world.now, A)


def test_hosts_outlive_a_crash_of_the_node(world: World) -> None:
    before = world.alive[A]
    world.end(NODE)
    world.run(1.0)
    assert NODE in world.alive
    assert world.alive[A] == before


def test_what_is_no_longer_wanted_ends_and_what_is_wanted_again_comes_back(world: World) -> None:
    world.obeys = False
    world.core.want([], world.now)
    world.run(0.1)
    assert A in world.alive, "it takes its time"
    world.core.want([A], world.now)
    world.end(A, "exit code 0")
    world.run(0.0)
    assert world.starts[-1] == (world.now, A)
    assert len([1 for _, name in world.starts if name == A]) == 2


def test_who_does_not_end_in_time_is_killed(world: World) -> None:
    world.obeys = False
    world.core.want([], world.now)
    world.run(PATIENCE.end_s)
    assert A not in world.alive
    assert world.log[-1] == f"{PATIENCE.end_s:.3f} kill {A}"


def test_stopping_ends_the_node_before_its_hosts(world: World) -> None:
    world.core.stop(world.now)
    world.run(0.0)
    assert world.log[-2:] == [f"0.000 terminate {NODE}", f"0.000 terminate {A}"]
    assert world.core.is_over


def test_stopping_takes_two_seconds_also_when_nobody_obeys(world: World) -> None:
    world.obeys = False
    world.core.stop(world.now)
    world.run(2.0)
    assert world.core.is_over
    assert world.log[-4:] == [
        f"0.000 terminate {NODE}",
        f"{PATIENCE.node_share_s:.3f} kill {NODE}",
        f"{PATIENCE.node_share_s:.3f} terminate {A}",
        f"2.000 kill {A}",
    ]


def test_a_second_stop_kills_at_once(world: World) -> None:
    world.obeys = False
    world.core.stop(world.now)
    world.run(0.1)
    world.core.stop(world.now)
    world.run(0.0)
    assert world.core.is_over


def test_while_stopping_nothing_new_is_started(world: World) -> None:
    world.obeys = False
    world.core.stop(world.now)
    world.core.want([A, B], world.now)
    world.end(NODE)
    world.run(5.0)
    assert world.core.is_over
    assert B not in {name for _, name in world.starts}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_what_is_wanted_runs_in_the_end(seed: int) -> None:
    rng = random.Random(seed)
    world = World()
    world.core.begin(0.0)
    names = [f"collections/{letter}/shard-0" for letter in "abcde"]
    wanted: list[str] = []
    for _ in range(200):
        roll = rng.random()
        world.obeys = rng.random() < 0.8
        if roll < 0.2:
            wanted = rng.sample(names, rng.randrange(6))
            world.core.want(wanted, world.now)
        elif roll < 0.5 and world.alive:
            world.end(rng.choice(sorted(world.alive)))
        elif world.alive:
            world.ready(rng.choice(sorted(world.alive)))
        world.run(rng.choice([0.0, 0.01, 0.5, 3.0]))
    world.obeys = True
    world.run(PATIENCE.pause_max_s + PATIENCE.end_s)
    assert set(world.alive) == {NODE, *wanted}, f"seed {seed}\n" + "\n".join(world.log[-20:])
    world.core.stop(world.now)
    world.run(2.0)
    assert world.core.is_over
    assert not world.alive
