"""Two nodes by `littoral up`, after `mesh init` and `mesh join` alone: one collection, until one of them is revoked."""

import asyncio
import contextlib
import tomllib
import urllib.request
from pathlib import Path

import pytest

from command import littoral
from littoral.clock import SYSTEM
from littoral.node.beside import running_node
from littoral.node.client import NodeClient
from mesh_site import MovedClock, found, joined
from ports import free_ports
from waiting import until

pytestmark = pytest.mark.e2e

SITE = """
[node]
name = "{name}"
listen = "127.0.0.1:0"
data = "data"
[mesh]
site = "farm"
listen = "127.0.0.1:{port}"
peers = {{ {other} = "127.0.0.1:{other_port}" }}
deadline_ms = 10000
{door}
[collections.points]
vectors = {{ size = 2, distance = "Euclid" }}
spread = {{ shards = 2, replicas = 1 }}
"""


def write_sites(folder: Path) -> dict[str, Path]:
    """gw-1 founded, gw-2 joined; the site file of each beside its data."""
    clock = MovedClock(wall_s=SYSTEM.wall())
    names, ports, (door,) = ("gw-1", "gw-2"), free_ports(2), free_ports(1)
    places = [f"quic/127.0.0.1:{port}" for port in ports]
    founder = found(folder, clock, endpoints=places[:1])
    asyncio.run(joined(folder, founder, "gw-2", clock, endpoints=places[1:]))
    files = {}
    for index, name in enumerate(names):
        (folder / name).rename(folder / "data")
        (folder / name).mkdir()
        (folder / "data").rename(folder / name / "data")
        files[name] = folder / name / "site.toml"
        other = {"other": names[1 - index], "other_port": ports[1 - index]}
        opens = f'door = "127.0.0.1:{door}"' if index == 0 else ""
        files[name].write_text(SITE.format(name=name, port=ports[index], door=opens, **other))
    return files


def here(client: NodeClient) -> set[str]:
    return {member["name"] for member in client.call("GET", "/api/mesh")["members"] if member["is_here"]}


def check_a_third_joins(issuer: Path, data: Path) -> None:
    """At the door that the running node keeps open."""
    token = littoral("mesh", "token", issuer, "gw-3").out.strip()
    at = tomllib.loads(issuer.read_text())["mesh"]["door"]
    joined = littoral("mesh", "join", data, "--at", at, "--token", token, "--name", "gw-3", "--json")
    assert joined.code == 0, joined.err
    assert [node["name"] for node in joined.json["nodes"]] == ["gw-1", "gw-2", "gw-3"]


def test_nodes_that_joined_run_without_more(tmp_path: Path) -> None:
    files = write_sites(tmp_path)
    with contextlib.ExitStack() as stack:
        nodes = {name: stack.enter_context(running_node(file)) for name, file in files.items()}
        first, second = (stack.enter_context(contextlib.closing(node.client())) for node in nodes.values())
        until(lambda: here(first) == here(second) == {"gw-1", "gw-2"})
        until(lambda: not any(one.call("GET", "/api/mesh")["lacking"] for one in (first, second)))
        desired = second.call("GET", "/api/mesh")["desired"]
        assert (desired["roster_writer"], desired["roster_number"] >= 1) == ("gw-1", True)
        points = [{"id": number, "vector": [number, 0]} for number in range(20)]
        first.collection("PUT", "points", "/points?wait=true", {"points": points})
        query = {"query": [7, 0], "limit": 1}
        found_there = second.collection("POST", "points", "/points/query", query)["points"]
        assert [point["id"] for point in found_there] == [7]
        check_a_third_joins(files["gw-1"], tmp_path / "gw-3")
        assert littoral("mesh", "promote", files["gw-1"], "gw-2").code == 0
        until(lambda: littoral("mesh", "status", files["gw-2"], "--json").json["is_issuer"])
        assert littoral("mesh", "revoke", files["gw-1"], "gw-2").code == 0
        until(lambda: here(first) == {"gw-1"})
        until(lambda: 'littoral_mesh_refused_total{reason="revoked"}' in metrics_of(nodes["gw-1"].url))


def metrics_of(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        return str(answer.read().decode())
