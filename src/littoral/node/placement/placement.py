"""What a node does with steps of others, and with its own on others, for its metrics and for people."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from littoral.node.placement.asker import Asker
from littoral.node.placement.fleet_way import FleetWay
from littoral.node.placement.power import PowerMeter
from littoral.node.placement.service import StepService
from littoral.node.placement.workplace import Workplace
from littoral.telemetry import Reading

__all__ = ["Placement"]


class Placement(NamedTuple):
    """Of one node."""

    asker: Asker
    service: StepService
    workplace: Workplace
    power: PowerMeter
    fleet: FleetWay | None = None

    def readings(self) -> Iterator[Reading]:
        """For the metrics."""
        asker, service = self.asker, self.service
        for node, count in asker.steps.items():
            yield Reading("littoral_placed_steps_total", (node,), count)
        for node, count in asker.failures.items():
            yield Reading("littoral_placed_failures_total", (node,), count)
        yield Reading("littoral_placed_again_total", (), asker.again_count)
        yield Reading("littoral_placed_tries_total", (), asker.tries_count)
        yield Reading("littoral_placed_spilled_total", (), asker.spilled_count)
        for node, count in service.served.items():
            yield Reading("littoral_placed_served_total", (node,), count)
        for reason, count in service.refused.items():
            yield Reading("littoral_placed_refused_total", (reason,), count)
        yield Reading("littoral_placed_busy", (), service.busy)
        yield Reading("littoral_placed_watts", (), self.power.watts())
        if self.fleet is not None:
            yield from self.fleet.readings()

    def told(self, now_s: float) -> dict[str, Any]:
        """The scheduler's view: each step that was asked for, and what each node would take for it now."""
        asker = self.asker
        return {
            "steps": [self._step(key, now_s) for key in sorted(asker.keys)],
            "watts": round(self.power.watts(), 3),
            "watts_max": self.power.watts_max,
            "serves": service_counts(self.service),
        }

    def _step(self, key: str, now_s: float) -> dict[str, Any]:
        asker = self.asker
        rows = []
        for candidate in asker.candidates(key, 0):
            learned = asker.experience.learned((candidate.node, key), now_s)
            offer = candidate.offer
            rows.append(
                {
                    "node": candidate.node,
                    "standing": candidate.standing,
                    "region": candidate.region,
                    "away": candidate.away or None,
                    "has_it": offer is not None,
                    "waiting": None if offer is None else offer.waiting,
                    "busy": None if offer is None else offer.busy,
                    "slots": None if offer is None else offer.slots,
                    "service_ms": None if offer is None else round(offer.service_s * 1000, 3),
                    "transfer_ms": round(candidate.transfer_s * 1000, 3),
                    "power_spent": candidate.is_spent,
                    "ratio": round(learned.ratio, 3),
                    "weight": round(learned.weight, 2),
                }
            )
        return {"key": key, "exhausted": asker.scheduler.is_spilling(key), "nodes": rows}


def service_counts(service: StepService) -> dict[str, Any]:
    """Steps of others."""
    return {"busy": service.busy, "served": dict(service.served), "refused": dict(service.refused)}
