"""Rollouts in simulated time: rings, gates, windows, freezes, who is away, a process that is killed at any write."""

from typing import Any

import pytest
from msgspec.structs import replace

from littoral.orchestrator import rollouts
from littoral.orchestrator.conductor import view_of, views_of
from littoral.orchestrator.store import Put
from littoral.orchestrator.store.rows import Assigned, GroupRow, Plan, Ring
from littoral.updates.wire import CheckIn, Gates, Window
from simulated_rollouts import GROUP, Kill, SimulatedNode, World, random_world

OLD, NEW = Assigned(models={"e": "models/e/1.wasm"}), Assigned(models={"e": "models/e/2.wasm"})
RINGS = (Ring(name="canary", nodes=("gw-0",)), Ring(name="half", percent=50.0), Ring(name="all", percent=100.0))
PLAN = Plan(group=GROUP, set=NEW, rings=RINGS)


def nodes(count: int, **more: Any) -> list[SimulatedNode]:
    return [SimulatedNode(f"gw-{index}", **more) for index in range(count)]


async def begun(world: World, plan: Plan = PLAN) -> World:
    """Everybody runs the old version, and the rollout has begun."""
    await world.begin()
    await world.roll_out(Plan(group=GROUP, set=OLD), "r0")
    await world.until(lambda: world.rollout("r0").state == "done")
    await world.roll_out(plan)
    return world


async def test_ring_after_ring_until_all_have_it() -> None:
    world = await begun(World(nodes(6)))
    told: list[set[str]] = []
    while not world.has_ended():
        await world.second()
        now = {name for name, heard in world.director.heard.items() if heard[-1].models == NEW.models}
        if now and (not told or told[-1] != now):
            told.append(now)
    assert [len(names) for names in told] == [1, 3, 6]
    assert told[0] == {"gw-0"}
    assert (world.rollout().state, world.fleet.groups[GROUP].assigned) == ("done", NEW)
    assert all(node.runs == NEW.models for node in world.nodes.values())
    world.end()


async def test_a_bad_version_stops_at_its_first_ring_and_is_taken_back_there() -> None:
    found = nodes(6)
    found[0].bad = frozenset(NEW.models.values())
    world = await begun(World(found))
    await world.until(world.has_ended)
    assert world.rollout().state == "aborted"
    assert "first `gw-0` by gate `p99`: slow" in world.rollout().why
    await world.until(lambda: world.members()["gw-0"].state == "taken_back")
    assert [name for name, heard in world.director.heard.items() if NEW.models in [h.models for h in heard]] == ["gw-0"]
    assert all(node.runs == OLD.models for node in world.nodes.values())
    assert world.fleet.groups[GROUP].assigned == OLD
    world.end()


@pytest.mark.parametrize("on_failure", ["abort", "rollback"])
async def test_who_had_it_when_it_failed_elsewhere(on_failure: Any) -> None:
    found = nodes(8)
    found[5].bad = found[6].bad = frozenset(NEW.models.values())
    world = await begun(World(found), replace(PLAN, error_share_max=0.1, on_failure=on_failure))
    await world.until(world.has_ended)
    kept = on_failure == "abort"
    assert world.rollout().state == ("aborted" if kept else "rolled_back")
    await world.until(lambda: not rollouts.is_followed(world.rollout(), world.members()))
    assert (world.nodes["gw-0"].runs == NEW.models) is kept
    assert world.nodes["gw-5"].runs == world.nodes["gw-6"].runs == OLD.models
    world.end()


async def test_failures_within_the_share_do_not_stop_it() -> None:
    found = nodes(10)
    found[7].bad = frozenset(NEW.models.values())
    world = await begun(World(found), replace(PLAN, error_share_max=0.3))
    await world.until(world.has_ended)
    assert world.rollout().state == "done"
    assert world.members()["gw-7"].state == "failed"
    assert [node.name for node in world.nodes.values() if node.runs != NEW.models] == ["gw-7"]
    world.end()


async def test_pause_resume_abort_and_roll_back() -> None:
    world = await begun(World(nodes(6)))
    await world.until(lambda: world.rollout().ring == 1)
    await world.act("pause")
    told = {name: len(heard) for name, heard in world.director.heard.items()}
    for _ in range(30):
        await world.second()
    assert {name: len(heard) for name, heard in world.director.heard.items()} == told
    (ring,) = (one for one in told_rings(world) if one["name"] == "half")
    assert (ring["state"], ring["held_by"]) == ("paused", "pause: by ada")
    await world.act("resume")
    await world.until(lambda: world.rollout().ring == 2)
    await world.act("rollback")
    await world.until(world.has_ended)
    assert world.rollout().state == "rolled_back"
    assert all(node.runs == OLD.models for node in world.nodes.values())
    for wrong in ("pause", "resume", "abort", "rollback"):
        with pytest.raises(rollouts.ConflictError, match=f"is rolled_back: nothing to {wrong}"):
            await world.act(wrong)  # type: ignore[arg-type]
    world.end()


async def test_what_was_done_is_rolled_back_with_the_group() -> None:
    world = await begun(World(nodes(4)))
    await world.until(world.has_ended)
    assert world.fleet.groups[GROUP].assigned == NEW
    await world.act("rollback")
    await world.until(world.has_ended)
    assert (world.rollout().state, world.fleet.groups[GROUP].assigned) == ("rolled_back", OLD)
    assert all(node.runs == OLD.models for node in world.nodes.values())
    world.end()


async def test_an_older_one_is_rolled_back_everywhere_after_a_newer_one_failed() -> None:
    found = nodes(3)
    found[0].bad = frozenset({"models/e/3.wasm"})
    world = await begun(World(found))
    await world.until(world.has_ended)
    await world.roll_out(replace(PLAN, set=Assigned(models={"e": "models/e/3.wasm"})), "r2")
    await world.until(lambda: not rollouts.is_followed(world.rollout("r2"), world.members("r2")))
    assert world.rollout("r2").state == "aborted"
    await world.act("rollback")
    await world.until(world.has_ended)
    assert all(node.runs == OLD.models for node in world.nodes.values())
    world.end()


async def test_soak_holds_a_ring_and_a_failure_while_it_lasts_counts() -> None:
    world = await begun(World(nodes(4)), replace(PLAN, soak_s=50.0))
    await world.until(lambda: world.rollout().soaks_from_s is not None)
    for _ in range(40):
        await world.second()
    assert (world.rollout().ring, told_rings(world)[0]["state"]) == (0, "soaking")
    world.nodes["gw-0"].checkin = replace(world.nodes["gw-0"].checkin, state="rolled_back", problem="leaks", gate="rss")
    await world.until(world.has_ended)
    assert "by gate `rss`: leaks" in world.rollout().why
    world.end()


async def test_who_is_away_holds_a_ring_no_longer_than_said_and_catches_up() -> None:
    found = nodes(10)
    for index in (3, 4, 5):
        found[index].away = (20.0, 300.0)
    world = await begun(World(found), replace(PLAN, offline_share_max=0.1, offline_wait_s=60.0))
    world.clock.move(20.0)
    await world.until(world.has_ended)
    assert world.rollout().state == "done"
    late = sorted(name for name, member in world.members().items() if member.state == "told")
    assert late == ["gw-3", "gw-4", "gw-5"]
    await world.until(lambda: not rollouts.is_followed(world.rollout(), world.members()))
    assert all(node.runs == NEW.models for node in world.nodes.values())
    world.end()


async def test_a_ring_that_is_away_as_a_whole_proves_nothing() -> None:
    found = nodes(4)
    found[0].away = (20.0, 10_000.0)
    world = await begun(World(found), replace(PLAN, offline_share_max=1.0, offline_wait_s=5.0))
    world.clock.move(20.0)
    for _ in range(100):
        await world.second()
    assert (world.rollout().ring, world.rollout().state) == (0, "running")
    assert told_rings(world)[0]["held_by"] == "offline: 1 of 1 nodes, and no other has it"
    world.end()


async def test_a_node_that_gets_nowhere_has_failed() -> None:
    found = nodes(3)
    world = await begun(World(found), replace(PLAN, patience_s=30.0))
    found[0].takes_s = 1e9
    await world.until(world.has_ended)
    assert "by gate `patience`: got nowhere in 30 s" in world.rollout().why
    world.end()


async def test_windows_and_freezes_hold_and_are_named() -> None:
    minute = int(World(nodes(1)).clock.wall() % 86_400) // 60
    window = Window(from_minute=(minute + 3) % 1440, to_minute=(minute + 60) % 1440)
    world = await begun(World(nodes(3)), replace(PLAN, windows=(window,)))
    for _ in range(30):
        await world.second()
    assert all(heard[-1].models == OLD.models for heard in world.director.heard.values())
    assert told_rings(world)[0]["held_by"] == "window: of 1 nodes is closed"
    await world.until(lambda: world.members()["gw-0"].state != "waiting")
    await freeze(world, is_frozen=True)
    ring = world.rollout().ring
    for _ in range(60):
        await world.second()
    assert world.rollout().ring <= ring + 1
    assert told_rings(world)[world.rollout().ring]["held_by"].startswith("freeze")
    assert all(heard[-1].is_frozen for heard in world.director.heard.values())
    await freeze(world, is_frozen=False)
    await world.until(world.has_ended)
    assert world.rollout().state == "done"
    world.end()


async def freeze(world: World, *, is_frozen: bool) -> None:
    """As `PUT` of its group does."""
    fleet = world.fleet
    group = replace(fleet.groups[GROUP], is_frozen=is_frozen)
    rows: list[Any] = [group]
    for node in fleet.nodes.values():
        members = (found[node.name] for found in fleet.members.values() if node.name in found)
        rows += rollouts.retold(view_of(fleet, node, group), members)
    await fleet.write(*map(Put, rows))


async def test_gates_windows_and_caps_reach_the_node() -> None:
    gates, group = Gates(watch_s=5.0), GroupRow(name=GROUP, gates=Gates(watch_s=7.0), bytes_per_s_max=1000)
    world = await begun(World(nodes(1), group=group))
    first = world.director.heard["gw-0"][0]
    assert (first.gates.watch_s, first.bytes_per_s_max) == (7.0, 1000)
    await world.until(world.has_ended)
    await world.roll_out(replace(PLAN, set=OLD, gates=gates, bytes_per_s_max=50), "r2")
    await world.until(lambda: world.has_ended("r2"))
    last = world.director.heard["gw-0"][-1]
    assert (last.gates, last.bytes_per_s_max, last.models) == (gates, 50, OLD.models)
    world.end()


async def test_a_way_back_waits_for_no_window_and_is_not_compared_with_what_went_wrong() -> None:
    world = await begun(World(nodes(2)), replace(PLAN, gates=Gates(drift_max=0.01, watch_s=5.0, hook="http://[::1]/")))
    await world.until(world.has_ended)
    now_minute = int(world.clock.wall() // 60 % 1440)
    closed = Window(from_minute=(now_minute + 60) % 1440, to_minute=(now_minute + 120) % 1440)
    world.fleet.groups[GROUP] = replace(world.fleet.groups[GROUP], windows=(closed,))
    await world.act("rollback")
    await world.until(world.has_ended)
    assert world.rollout().state == "rolled_back"
    last = world.director.heard["gw-0"][-1]
    assert (last.models, last.windows) == (OLD.models, ())
    assert (last.gates.drift_max, last.gates.canary_s, last.gates.hook, last.gates.watch_s) == (2.0, 0.0, None, 5.0)
    world.end()


async def test_a_way_back_that_fails_after_its_flip_is_a_failure() -> None:
    world = await begun(World(nodes(1)))
    await world.until(world.has_ended)
    world.nodes["gw-0"].takes_s = 1e9
    await world.act("rollback")
    await world.until(lambda: world.nodes["gw-0"].checkin.deployment == world.members()["gw-0"].deployment)
    assert world.director.heard["gw-0"][-1].models == OLD.models
    deployment = world.members()["gw-0"].deployment
    world.nodes["gw-0"].checkin = CheckIn(deployment=deployment, state="active")
    await world.until(world.has_ended)
    assert (world.rollout().state, world.members()["gw-0"].state) == ("rolled_back", "taking_back")
    world.nodes["gw-0"].checkin = CheckIn(deployment=deployment, state="rolled_back", gate="crash", problem="ended")
    await world.until(lambda: not rollouts.is_followed(world.rollout(), world.members()))
    assert (world.members()["gw-0"].state, world.members()["gw-0"].gate) == ("failed", "crash")
    world.end()


@pytest.mark.parametrize("seed", range(30))
async def test_random_fleets_end_rightly(seed: int) -> None:
    world, rng = random_world(seed)
    rings = tuple(Ring(name=f"{p}", percent=float(p)) for p in sorted(rng.sample(range(1, 100), rng.randint(0, 4))))
    share = rng.choice([0.0, 0.2, 1.0])
    plan = replace(PLAN, rings=rings, error_share_max=share, soak_s=rng.choice([0.0, 5.0]), offline_wait_s=30.0)
    await begun(world, plan)
    await world.until(world.has_ended, 2000)
    await world.until(lambda: not rollouts.is_followed(world.rollout(), world.members()), 2000)
    bad = {name for name, node in world.nodes.items() if node.bad}
    ends = {name: node.runs for name, node in world.nodes.items()}
    if world.rollout().state == "done":
        assert ends == {name: OLD.models if name in bad else NEW.models for name in ends}
        assert share == 1.0 or len(bad) <= share * len(ends) + len(rings) + 1
    else:
        assert bad, "it ended for no reason"
        assert all(ends[name] == OLD.models for name in bad)
    world.end()


async def lived(kill: Kill) -> tuple[str, dict[str, dict[str, str]], int, int]:
    """A rollout that ends, another that fails and rolls back, with a kill between; how all ended, lives, writes."""
    found = nodes(4)
    found[3].bad = frozenset({"models/e/3.wasm"})
    world = World(found, kill=kill)
    await world.begin()
    await world.surviving(lambda: world.roll_out(Plan(group=GROUP, set=OLD), "r0"))
    await world.until(lambda: world.has_ended("r0"))
    await world.surviving(lambda: world.roll_out(PLAN))
    await world.until(world.has_ended)
    worse = replace(PLAN, set=Assigned(models={"e": "models/e/3.wasm"}), on_failure="rollback")
    await world.surviving(lambda: world.roll_out(worse, "r2"))
    await world.until(lambda: world.has_ended("r2"))
    await world.until(lambda: not rollouts.is_followed(world.rollout("r2"), world.members("r2")))
    states = " ".join(world.rollout(name).state for name in ("r0", "r1", "r2"))
    runs = {name: node.runs for name, node in world.nodes.items()}
    assert all(node.deployment == world.director.told(name) for name, node in world.fleet.nodes.items())
    lives = world.lives
    world.end()
    return states, runs, lives, kill.count


async def test_killed_at_every_write_it_ends_the_same() -> None:
    states, runs, lives, count = await lived(Kill())
    assert (states, lives) == ("done done rolled_back", 1)
    assert runs == dict.fromkeys(runs, NEW.models)
    assert count > 25
    for at in range(1, count + 1):
        for is_after in (False, True):
            ended = await lived(Kill(at, is_after=is_after))
            assert ended[:3] == (states, runs, 2), f"killed {'after' if is_after else 'before'} write {at}"


def told_rings(world: World) -> list[dict[str, Any]]:
    return rollouts.told_rings(world.rollout(), world.members(), views_of(world.fleet), world.clock.wall())
