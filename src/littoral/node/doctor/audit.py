"""The audit log of a node: whether its end is whole, who has seen it, and how much of it can be read."""

from collections.abc import Iterator
from importlib.util import find_spec

from littoral.audit.copying import end_of
from littoral.clock import Clock
from littoral.errors import LittoralError
from littoral.node.audit.epochs import BEFORE, LOG, read_epoch
from littoral.node.audit.opening import origin_of
from littoral.node.site import Site
from littoral.telemetry.findings import Finding, Status

__all__ = ["examine_audit"]

CHECK = "audit"
WITNESS_ROUNDS = 10
HINT = "`littoral audit verify` says what was changed; to begin another, move the folder away and keep it"


def examine_audit(site: Site, clock: Clock) -> Iterator[Finding]:
    """Reads the last checkpoint and the tiles that give its root: it takes no time, and does not verify all entries."""
    if site.audit is None:
        yield Finding(CHECK, str(site.file), Status.OK, "no table `audit`: what is done is not logged")
        return
    if find_spec("cryptography") is None:
        yield Finding(CHECK, str(site.file), Status.FAIL, "needs an extra", 'pip install "littoral[sign]"')
        return
    from littoral.audit.log import LogFolder

    folder = site.data / LOG
    if not folder.is_dir():
        yield Finding(CHECK, str(folder), Status.OK, "is made when the node starts")
        return
    try:
        log = LogFolder.open(folder)
        if log.checkpoint.origin != origin_of(site):
            words = f"is of `{log.checkpoint.origin}`, the site file says `{origin_of(site)}`"
            yield Finding(CHECK, str(folder), Status.FAIL, words, "a log keeps its name: state it as `audit.origin`")
            return
        if log.root_at(log.size) != log.checkpoint.root:
            yield Finding(
                CHECK, str(folder), Status.FAIL, "its last tiles do not give the root of its checkpoint", HINT
            )
            return
        yield Finding(CHECK, str(folder), Status.OK, f"{log.size} entries, their root is that of the checkpoint")
        yield from _before(site)
        yield from _seen(site, log.size, None if log.witnessed is None else _witnessed(str(log.witnessed)), clock)
    except (LittoralError, OSError) as error:
        yield Finding(CHECK, str(folder), Status.FAIL, str(error), HINT)


def _before(site: Site) -> Iterator[Finding]:
    """Of a node that was restored: whether the log before this one is there, and ends as it did."""
    if (epoch := read_epoch(site.data)) is None:
        return
    folder = site.data / BEFORE / epoch.folder
    origin, size, root = epoch.before
    if end_of(folder) != epoch.before:
        words = (
            f"does not end with the {size} entries and the root {root} of `{origin}` that it had when it was restored"
        )
        yield Finding(CHECK, str(folder), Status.FAIL, words, "take it from the backup again")
        return
    words = f"{size} entries of `{origin}`, restored from backup `{epoch.backup}`; what came after that is not there"
    yield Finding(CHECK, str(folder), Status.OK, words)


def _witnessed(note: str) -> tuple[int, int]:
    """Size, and when the last witness saw it."""
    from littoral.audit.note import TIME_BYTES, parse_note

    found = parse_note(note.encode(), "witnessed")
    times = [int.from_bytes(one.blob[:TIME_BYTES], "big") for one in found.signatures[1:]]
    return int(found.text.split("\n")[1]), max(times, default=0)


def _seen(site: Site, size: int, seen: tuple[int, int] | None, clock: Clock) -> Iterator[Finding]:
    assert site.audit is not None
    if (site.mesh is None and not site.audit.witnesses) or not site.audit.witness_s:
        yield Finding(
            CHECK, "witnesses", Status.WARN, "no other node sees this log: whoever has its key can rewrite it"
        )
        return
    if seen is None:
        yield Finding(CHECK, "witnesses", Status.WARN, "none has seen this log yet", "do other nodes of the site run?")
        return
    age_s = max(0.0, clock.wall() - seen[1])
    is_old = age_s > WITNESS_ROUNDS * site.audit.witness_s
    words = f"{seen[0]} of {size} entries were cosigned {age_s:.0f} s ago"
    yield Finding(CHECK, "witnesses", Status.WARN if is_old else Status.OK, words)
