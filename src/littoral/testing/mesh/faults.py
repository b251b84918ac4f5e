"""What goes wrong at a simulated site, as its plan has it; every fault ends."""

import asyncio
from random import Random

from littoral.testing.mesh.changes import change_layout, change_model
from littoral.testing.mesh.nodes import SimulatedNode
from littoral.testing.mesh.plan import Fault
from littoral.testing.mesh.site import SimulatedSite

__all__ = ["befall"]

SLOW_S = 0.5
LOSS, TWICE = 0.2, 0.1
HOUR_S = 3600.0
AGAIN_S = 0.5
ROSTER_S = 60.0
"""So long a change of the roster is waited for; that all have it is looked at in the end."""


async def befall(site: SimulatedSite) -> None:
    """Returns when the last fault is over and all nodes are on their way up."""
    began_s = site.clock.monotonic()
    await asyncio.gather(*(_befall(site, fault, began_s) for fault in site.plan.faults))


async def _befall(site: SimulatedSite, fault: Fault, began_s: float) -> None:
    await asyncio.sleep(began_s + fault.at_s - site.clock.monotonic())
    names = " ".join(fault.nodes[:8]) + (f" and {len(fault.nodes) - 8} more" if len(fault.nodes) > 8 else "")
    site.trace.note(f"{fault.kind} of {names} for {fault.for_s:.1f} s")
    match fault.kind:
        case "crash" | "power":
            await _crash(site, site.nodes[fault.nodes[0]], fault)
        case "freeze":
            await _freeze(site.nodes[fault.nodes[0]], fault)
        case "cut" | "one-way":
            rest = set(site.nodes) - set(fault.nodes)
            cut = site.network.cut(fault.nodes, rest, is_one_way=fault.kind == "one-way")
            await asyncio.sleep(fault.for_s)
            site.network.heal(cut)
        case "slow":
            site.weather.slow[fault.nodes[0]] = fault.strength * SLOW_S
            await asyncio.sleep(fault.for_s)
            site.weather.slow.pop(fault.nodes[0], None)
        case "loss":
            site.weather.loss += fault.strength * LOSS
            await asyncio.sleep(fault.for_s)
            site.weather.loss = max(site.plan.loss, site.weather.loss - fault.strength * LOSS)
        case "twice":
            site.weather.twice = fault.strength * TWICE
            await asyncio.sleep(fault.for_s)
            site.weather.twice = 0.0
        case "clock":
            await _set_clock(site.nodes[fault.nodes[0]], fault)
        case "full":
            site.nodes[fault.nodes[0]].disk.is_full = True
            await asyncio.sleep(fault.for_s)
            site.nodes[fault.nodes[0]].disk.is_full = False
        case "layout":
            await _change_layout(site, site.nodes[fault.nodes[0]], fault)
        case "model":
            await _change_model(site, fault)
        case "roster":
            await _change_roster(site, site.nodes[fault.nodes[0]], fault)
    site.trace.note(f"{fault.kind} of {names} is over")


async def _change_layout(site: SimulatedSite, node: SimulatedNode, fault: Fault) -> None:
    """Wished until it is begun. Every other time one that takes part in it dies meanwhile."""
    end_s, tries, name = site.clock.monotonic() + fault.for_s, 0, None
    while name is None and site.clock.monotonic() < end_s:
        name = await change_layout(site, node, Random(f"{fault.strength} {tries}"))  # noqa: S311
        tries += 1
        await asyncio.sleep(AGAIN_S)
    if name is not None and fault.strength < 0.5:
        await asyncio.sleep(fault.for_s * fault.strength)
        site.trace.note(f"crash of {name}, which takes part")
        await _crash(site, site.nodes[name], fault)


async def _change_model(site: SimulatedSite, fault: Fault) -> None:
    """Wished at any node until it is begun: another model, the way back, or an end of what is under way."""
    end_s, rng, is_begun = site.clock.monotonic() + fault.for_s, Random(fault.strength), False  # noqa: S311
    while not is_begun and site.clock.monotonic() < end_s:
        await asyncio.sleep(AGAIN_S)
        is_begun = await change_model(site, rng)


async def _change_roster(site: SimulatedSite, node: SimulatedNode, fault: Fault) -> None:
    """One joins, or is revoked; every other one of those has left before, others go on as if they belonged to it."""
    assert site.roster is not None
    if node.name in site.plan.joining:
        site.roster.join(node.name)
        site.start(node.name)
    else:
        if fault.strength < 0.5 and node.is_up:
            await node.close()
        site.roster.revoke(node.name)
    site.is_roster_known, end_s = False, site.clock.monotonic() + ROSTER_S
    while not site.is_roster_known and site.clock.monotonic() < end_s:
        await asyncio.sleep(AGAIN_S)
        site.is_roster_known = next(site.roster.behind(), None) is None


async def _crash(site: SimulatedSite, node: SimulatedNode, fault: Fault) -> None:
    if not node.is_up:
        return
    node.crash(power=fault.kind == "power")
    await asyncio.sleep(fault.for_s)
    if node.is_down():
        site.start(node.name)


async def _freeze(node: SimulatedNode, fault: Fault) -> None:
    if not node.is_up:
        return
    process = node.process
    node.freeze()
    await asyncio.sleep(fault.for_s)
    if process is not None and node.process is process:
        node.thaw()


async def _set_clock(node: SimulatedNode, fault: Fault) -> None:
    """To 1970, as a machine without a battery wakes up, or an hour ahead."""
    node.clock.offset_s = -node.clock.wall() if fault.strength < 0.5 else HOUR_S
    await asyncio.sleep(fault.for_s)
    node.clock.offset_s = 0.0
