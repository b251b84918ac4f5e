"""A site of real nodes under load, of which one is killed, frozen, cut off: answers go on, and nothing is lost."""

import contextlib
import itertools
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from bench.fault_client import Done
from bench.fault_site import FaultSite, Window, fault_site, has_lab, lost_writes

from needs import need
from waiting import until

pytestmark = pytest.mark.e2e

NODES = 3
DEADLINE_MS = 1000
FAULT_S = 3.0
"""Longer than the lease: the others know."""

SLOWEST_S = 30.0
"""The promise is the deadline (`bench/federated_faults.py`); this is for machines with other things to do."""


class Suffered:
    """Each fault once, one after another, under load, and all that clients were told."""

    def __init__(self, site: FaultSite) -> None:
        faults = ["kill", "freeze"] + ["cut", "out"] * site.has_cuts
        site.load(reads=5, writes=3)
        self.windows = {fault: site.suffer(fault, 1 + at % NODES, lasts_s=FAULT_S) for at, fault in enumerate(faults)}
        self.done = site.unload()
        site.wait_whole(180)
        self.site = site
        self.points: dict[str, list[dict[int, int]]] = {}
        with contextlib.suppress(AssertionError):
            until(self.are_alike)

    def are_alike(self) -> bool:
        """The replicas: one may be a little behind after the last write."""
        self.points = {name: [self.site.points(at, name) for at in self.site.places] for name in ("kept", "both")}
        return all(by_node == [by_node[0]] * NODES for by_node in self.points.values())

    def during(self, window: Window) -> list[Done]:
        """By clients at nodes that ran."""
        return [
            one
            for one in self.done
            if window.began_s <= one.ended_s <= window.whole_s
            and (one.client != window.victim or window.fault not in ("kill", "freeze"))
        ]


@pytest.fixture(scope="module")
def suffered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suffered]:
    need(find_spec("zenoh") and find_spec("cryptography"), "the extra `mesh`")
    folder = tmp_path_factory.mktemp("faults")
    with fault_site(folder, NODES, in_lab=has_lab(), deadline_ms=DEADLINE_MS) as site:
        yield Suffered(site)


@pytest.mark.parametrize("fault", ["kill", "freeze", "cut", "out"])
def test_answers_go_on_and_say_what_is_missing(suffered: Suffered, fault: str) -> None:
    if (window := suffered.windows.get(fault)) is None:
        need(None, "network namespaces and TUN devices, for root")
        return
    reads = [one for one in suffered.during(window) if one.kind == "read"]
    assert [one for one in reads if not one.is_right] == []
    assert max(one.ended_s - one.began_s for one in reads) < SLOWEST_S
    # A busy machine may be too slow for a second replica too: then that is missing, and said so.
    assert "thin" in {one.collection for one in reads if one.missing and one.client != window.victim}
    for key in itertools.product({one.client for one in reads}, ["kept", "thin"]):
        assert any((one.client, one.collection) == key for one in reads)


def test_no_acknowledged_write_is_lost_and_replicas_are_alike(suffered: Suffered) -> None:
    assert sum(one.kind == "write" and one.status == 200 for one in suffered.done) > 50
    for by_node in suffered.points.values():
        assert by_node == [by_node[0]] * NODES
    assert lost_writes(suffered.done, {name: by_node[0] for name, by_node in suffered.points.items()}) == []
