"""`littoral mesh status` of a node that runs: what it prints for sites that are whole, hurt, and large."""

import json
from collections.abc import Callable

import msgspec
import pytest

from littoral.cli.mesh_text import member_lines, status_lines
from littoral.node.mesh_told import MeshTold
from mesh_pictured import NOW_S, hurt_site, large_site, whole_site

SITES = {"whole": whole_site(), "hurt": hurt_site(), "large": large_site()}


@pytest.mark.parametrize("told", SITES.values(), ids=SITES)
def test_status(told: MeshTold, golden: Callable[[str], None]) -> None:
    golden("".join(f"{line}\n" for line in status_lines(told, now_s=NOW_S)))


def test_members_are_the_first_table_of_it() -> None:
    told = hurt_site()
    lines = list(status_lines(told, now_s=NOW_S))
    assert [f"  {line}" for line in member_lines(told, now_s=NOW_S)] == lines[2 : 2 + 6]


def test_what_a_newer_node_says_beyond_is_passed_over() -> None:
    said = json.loads(msgspec.json.encode(hurt_site()))
    said["weather"] = "fair"
    said["members"][0]["mood"] = "good"
    assert msgspec.convert(said, MeshTold) == hurt_site()
