"""What is wrong among the nodes of a site, as the node that is asked sees them."""

from collections.abc import Iterator

from littoral.node.mesh_told import MeshTold
from littoral.telemetry.findings import Finding, Status

__all__ = ["examine_mesh"]


def examine_mesh(told: MeshTold) -> Iterator[Finding]:
    """One finding that all is well, where it is."""
    for problem in told.problems:
        status = Status.FAIL if problem.weight == "fail" else Status.WARN
        yield Finding(problem.check, problem.subject, status, problem.message, problem.hint)
    if not told.problems:
        shards = sum(len(collection.shards) for collection in told.collections.values())
        words = f"{len(told.members)} nodes, {len(told.links)} links, {shards} shards: all well"
        yield Finding("site", told.node, Status.OK, words)
