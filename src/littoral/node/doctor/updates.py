"""A node's part in its fleet: trust file, claim, and how the newest deployment does."""

from collections.abc import Iterator
from importlib.util import find_spec

from littoral.artifact.disk import FolderDisk
from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.claims import read_claim
from littoral.node.site import Site
from littoral.node.undelivered import undelivered
from littoral.node.updates_tables import FOLDER
from littoral.telemetry.findings import Finding, Status

__all__ = ["examine_updates"]

CHECK = "updates"
STUCK_S = 6 * 3600.0


def _enrolling(site: Site) -> Finding:
    try:
        read_claim(site)
    except LittoralError as error:
        hint = error.hint or "`littoral fleet claims new` makes a claim"
        return Finding(CHECK, str(site.file), Status.FAIL, f"is not enrolled yet: {error.message}", hint)
    words = "is not enrolled yet"
    return Finding(CHECK, str(site.file), Status.WARN, words, "`updates.claim` names a claim of the orchestrator")


def examine_updates(site: Site, clock: Clock) -> Iterator[Finding]:
    """Nothing without the table. Reads what lies on the disk; a node that runs says more at `/api/updates`."""
    if site.updates is None:
        return
    if find_spec("tuf") is None:
        yield Finding(CHECK, str(site.file), Status.FAIL, "needs an extra", 'pip install "littoral[fleet]"')
        return
    from littoral.updates.deployment.deployments import JOURNAL
    from littoral.updates.deployment.machine import UNDER_WAY
    from littoral.updates.deployment.plans import Journal, decoded
    from littoral.updates.membership import read_membership
    from littoral.updates.trust.trust_file import TrustFile

    disk = FolderDisk(site.data / FOLDER)
    try:
        trust = TrustFile.read(site.path_of(site.updates.trust))
        yield Finding(CHECK, site.updates.trust, Status.OK, f"trusts the fleet of {trust.orchestrator}")
        member = read_membership(disk)
    except LittoralError as error:
        yield Finding(CHECK, str(site.file), Status.FAIL, error.message, error.hint)
        return
    if member is None:
        yield _enrolling(site)
    else:
        yield Finding(CHECK, member.node, Status.OK, "is enrolled")
    journal = decoded(disk.read(JOURNAL), Journal) or Journal()
    if not journal.deployment:
        yield Finding(CHECK, "deployment", Status.OK, "none was told yet")
    else:
        is_stuck = journal.state in UNDER_WAY and clock.wall() - journal.at > STUCK_S
        is_bad = is_stuck or journal.state in ("refused", "rolled_back")
        why = f": {journal.gate}: {journal.problem}" if journal.gate else ""
        words = f"deployment {journal.deployment} is {journal.state}{why}"
        yield Finding(CHECK, "deployment", Status.WARN if is_bad else Status.OK, words)
    for name in sorted(undelivered(site)):
        yield Finding(CHECK, name, Status.WARN, "waits for a deployment that brings it")
