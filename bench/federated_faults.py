"""Four real nodes under load, of which one is killed, frozen, cut off (both ways, one way), and comes back.

QUIC with mutual TLS, in a lab where this machine can have one (root on Linux), else on loopback and without cuts.
Clients at every node search two collections, one with two replicas and one with one, and write to two, of which one
wants two holders for every write. Every answer is held against the truth. Counted are the clients of the other nodes,
and in a cut those of the node that is cut off as well.
"""

import itertools
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.fault_client import Done
from bench.fault_site import FAULTS, FaultSite, Window, fault_site, has_lab, lost_writes
from bench.rows import Row, row

__all__ = ["run"]

NODES = 4
DEADLINE_MS = 1000
READS, WRITES = 10.0, 4.0
CALM_S, FAULT_S = 1.5, 4.0
SPARE_MS = 100.0
"""Beside waiting for other nodes: the search itself, and what the machine does meanwhile."""

HEALED_S_MAX = 10.0
NAMES = {"kill": "killed", "freeze": "frozen", "cut": "cut off", "out": "not heard", "in": "hears nothing"}


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        return measured(Path(folder), FAULTS if has_lab() else FAULTS[:2])


def measured(folder: Path, faults: Sequence[str]) -> list[Row]:
    in_lab = len(faults) > 2
    with fault_site(folder, NODES, in_lab=in_lab, deadline_ms=DEADLINE_MS) as site:
        site.load(reads=READS, writes=WRITES)
        for at, fault in enumerate(faults):
            time.sleep(CALM_S)
            site.suffer(fault, 1 + at % NODES, lasts_s=FAULT_S)
        time.sleep(CALM_S)
        done = site.unload()
        site.wait_whole(HEALED_S_MAX)
        rows = [one for window in site.windows for one in of_window(window, done)]
        return rows + of_all(site, done)


def of_window(window: Window, done: Iterable[Done]) -> list[Row]:
    """What clients saw from the beginning of a fault until all was as before."""
    what = NAMES[window.fault]
    some = [one for one in done if window.began_s <= one.ended_s <= window.whole_s and is_counted(one, window)]
    reads = [one for one in some if one.kind == "read"]
    writes = [one for one in some if one.kind == "write" and one.collection == "kept"]
    slowest_ms = max((one.ended_s - one.began_s for one in reads), default=0.0) * 1000
    in_time = sum(one.ended_s - one.began_s <= (DEADLINE_MS + SPARE_MS) / 1000 for one in reads)
    return [
        row(f"{what}: slowest answer to a search", slowest_ms, "ms", limit=DEADLINE_MS + SPARE_MS),
        row(f"{what}: longest without a right answer", longest_gap_ms(window, reads), "ms"),
        row(f"{what}: searches not answered in time", len(reads) - in_time, f"of {len(reads)}", limit=0),
        row(f"{what}: answers not right, or `missing` not", sum(not one.is_right for one in reads), "", limit=0),
        row(f"{what}: `missing` although another has a replica", needless(window, reads), f"of {len(reads)}"),
        row(f"{what}: longest without a write", longest_gap_ms(window, writes), "ms"),
        row(f"{what}: all as before, after", window.whole_s - window.healed_s, "s", limit=HEALED_S_MAX),
    ]


def needless(window: Window, reads: Iterable[Done]) -> int:
    """Answers of the collection with two replicas, by nodes that reach one of each."""
    return sum(bool(one.missing) for one in reads if one.collection == "kept" and one.client != window.victim)


def is_counted(one: Done, window: Window) -> bool:
    """A client of a node that does not run is none of the site's."""
    return one.client != window.victim or window.fault not in ("kill", "freeze")


def is_good(one: Done) -> bool:
    """A right answer, or an acknowledgement."""
    return one.is_right or (one.kind == "write" and one.status == 200)


def longest_gap_ms(window: Window, done: Sequence[Done]) -> float:
    """Of any client and collection, the longest time without an answer that was right."""
    longest_s = 0.0
    for key in {(one.client, one.collection) for one in done if one.client != window.victim}:
        times = [one.ended_s for one in done if is_good(one) and (one.client, one.collection) == key]
        stops = [window.began_s, *times, window.whole_s]
        longest_s = max(longest_s, *(after - before for before, after in itertools.pairwise(stops)))
    return longest_s * 1000


def of_all(site: FaultSite, done: Sequence[Done]) -> list[Row]:
    """When everything is over."""
    found = {name: [site.points(number, name) for number in site.places] for name in ("kept", "both")}
    lost = lost_writes(done, {name: by_node[0] for name, by_node in found.items()})
    unlike = sum(one != by_node[0] for by_node in found.values() for one in by_node)
    acknowledged = sum(one.kind == "write" and one.status == 200 for one in done)
    return [
        row("acknowledged writes lost", len(lost), f"of {acknowledged}", limit=0),
        row("nodes that tell of other points", unlike, "", limit=0),
    ]
