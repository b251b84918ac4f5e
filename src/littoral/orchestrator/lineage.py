"""Where an artifact is from and where it goes: others of its source, who is to run it, and who does."""

from typing import Any

from littoral.orchestrator.fleet import Fleet
from littoral.orchestrator.store.rows import ArtifactRow

__all__ = ["lineage_of"]

NODES_MAX = 200


def lineage_of(fleet: Fleet, row: ArtifactRow) -> dict[str, Any]:
    """siblings: of the same ONNX file. groups: that are to run it; rollouts that bring it; nodes that say they run it,
    at most 200.
    """
    source, target = row.custom.provenance.source_sha256, row.target
    siblings = [
        one.target
        for one in fleet.artifacts.values()
        if source and one.custom.provenance.source_sha256 == source and one.target != target
    ]
    seen = ((name, fleet.checkin_of(name)) for name in sorted(fleet.nodes))
    nodes = [name for name, said in seen if said is not None and target in said.running.values()]
    return {
        "siblings": sorted(siblings),
        "groups": sorted(one.name for one in fleet.groups.values() if target in one.assigned.targets.values()),
        "rollouts": [one.id for one in fleet.rollouts.values() if target in one.plan.set.targets.values()],
        "nodes": nodes[:NODES_MAX],
    }
