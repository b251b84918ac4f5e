"""`littoral mesh status` of a node that runs: what it prints for sites that are whole, hurt, and large."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from command import littoral as cli
from littoral.cli.mesh_text import member_lines, status_lines
from littoral.node.mesh_told import MeshTold
from littoral.node.site import read_site
from mesh_pictured import NOW_S, hurt_site, large_site, whole_site
from page_node import PageNode
from page_server import serve_node
from ports import free_port

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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, PageNode]]:
    """A site file whose certificates are its own, and what answers at its address."""
    node = PageNode([], ())
    node.name = "gw-1"
    with serve_node(node) as url:
        file = tmp_path / "site.toml"
        file.write_text(SITE.format(listen=url.removeprefix("http://")))
        yield file, node


SITE = """
[node]
name = "gw-1"
listen = "{listen}"
[mesh]
site = "shop"
authority = "ca.pem"
certificate = "node.pem"
key = "node.key"
"""


def test_doctor_tells_what_the_node_finds_wrong(site: tuple[Path, PageNode]) -> None:
    file, node = site
    node.mesh = msgspec.to_builtins(hurt_site())
    done = cli("doctor", file, "--json")
    findings = done.json["findings"]
    assert (done.code, done.json["ok"]) == (1, False)
    of_site = findings[next(i for i, one in enumerate(findings) if one["check"] == "certificate") :]
    told = {(one["check"], one["status"]) for one in of_site}
    assert told == {("certificate", "warn"), ("node", "fail"), ("link", "fail"), ("holders", "warn"), ("lag", "warn")}
    assert all(one["hint"] for one in of_site[1:])
    node.mesh = msgspec.to_builtins(whole_site())
    well = cli("doctor", file)
    assert (well.code, well.out.splitlines()[-1]) == (
        0,
        "ok    site         gw-1: 3 nodes, 6 links, 3 shards: all well",
    )


def test_doctor_says_that_a_node_does_not_run(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(listen=f"127.0.0.1:{free_port()}"))
    done = cli("doctor", file)
    assert done.code == 0
    assert "its site cannot be looked at" in done.out


def test_a_node_without_a_mesh_has_no_status(site: tuple[Path, PageNode]) -> None:
    url = f"http://{read_site(site[0]).listen}"
    done = cli("mesh", "status", "--url", url)
    assert (done.code, done.out) == (4, "")
    assert "is in no mesh" in done.err
