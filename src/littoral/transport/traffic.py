"""What went over a node's end of the mesh, counted: answered, refused and why, dropped and why."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from littoral.telemetry import Reading

__all__ = ["Dropped", "Lost", "Refused", "Traffic"]

Refused = Literal["service", "rights", "large", "busy", "late", "certificate", "name"]
"""Of requests and connections: no such service, not for this caller, over the bound, too many at once, the deadline was
over before the answer, a connection without a certificate that this site trusts, and what came over a link under a name
that its certificate does not prove, or with one that the roster does not let in."""

Dropped = Literal["busy", "failed"]
"""Of messages: too many at once, the one who listens failed."""

Lost = Literal["request", "answer"]
"""With a link that was replaced, and found: a request that never arrived was sent again, an answer was told again."""


@dataclass
class Traffic:
    """Counts since the node's end was opened. For one thread."""

    asked: int = 0
    unanswered: int = 0
    served: int = 0
    failed: int = 0
    published: int = 0
    received: int = 0
    busy: int = 0
    busy_bytes: int = 0
    relinked: int = 0
    refused: Counter[Refused] = field(default_factory=Counter)
    dropped: Counter[Dropped] = field(default_factory=Counter)
    lost: Counter[Lost] = field(default_factory=Counter)

    def count_refused(self, reason: Refused) -> None:
        self.refused[reason] += 1

    def readings(self, alive_count: int) -> Iterator[Reading]:
        """For a scrape."""
        for name, value in (
            ("littoral_mesh_nodes_alive", alive_count),
            ("littoral_mesh_asked_total", self.asked),
            ("littoral_mesh_unanswered_total", self.unanswered),
            ("littoral_mesh_served_total", self.served),
            ("littoral_mesh_failed_total", self.failed),
            ("littoral_mesh_published_total", self.published),
            ("littoral_mesh_received_total", self.received),
            ("littoral_mesh_busy", self.busy),
            ("littoral_mesh_busy_bytes", self.busy_bytes),
            ("littoral_mesh_relinked_total", self.relinked),
        ):
            yield Reading(name, (), value)
        for refusal, count in self.refused.items():
            yield Reading("littoral_mesh_refused_total", (refusal,), count)
        for drop, count in self.dropped.items():
            yield Reading("littoral_mesh_dropped_total", (drop,), count)
        for loss, count in self.lost.items():
            yield Reading("littoral_mesh_lost_total", (loss,), count)
