"""A lab on this machine: real namespaces, real delay, a cut, and the mesh's transport over it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

import lab_peer
import mesh_process
from command import littoral
from littoral.errors import ConflictError, NodeError, NotFoundError, SetupError
from littoral.lab import namespaces
from littoral.lab.lab import Lab, Order, end, tell
from littoral.lab.namespaces import address_of, checked_machine, left_over, namespace_of
from littoral.lab.nodes import HTTP_PORT, LabNodes, places_of, write_sites
from littoral.lab.shape import WAN, Shape
from littoral.mesh.zenoh_options import ZenohOptions
from mesh_certificates import Authority
from needs import need
from waiting import until

PEER = lab_peer.__file__
ECHO = """
import socket
with socket.socket(type=socket.SOCK_DGRAM) as echo:
    echo.bind(("0.0.0.0", 7))
    print("ready", flush=True)
    while True:
        echo.sendto(*echo.recvfrom(2048))
"""
NAME = f"test{os.getpid()}"
CUT_S = 0.5


def in_node(number: int, *command: object) -> list[str]:
    return ["ip", "netns", "exec", namespace_of(NAME, number), *map(str, command)]


@pytest.fixture(params=["nftables", "switch"])
def cuts(request: pytest.FixtureRequest) -> str:
    """Who makes them."""
    if request.param == "nftables":
        need(shutil.which("nft"), "nft (Debian: nftables)")
    return str(request.param)


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    cuts = request.getfixturevalue("cuts") if "cuts" in request.fixturenames else "switch"
    try:
        checked_machine()
        opened = Lab(NAME, 3, WAN, seed=1, with_host=False, with_firewall=cuts == "nftables")
    except (SetupError, NodeError) as error:
        need(None, f"network namespaces and TUN devices, for root: {error}")
        return
    running = threading.Thread(target=opened.run)
    with opened:
        running.start()
        yield opened
        tell(NAME, Order("end"))
        running.join()
    assert left_over(NAME) == []


@pytest.fixture
def echo(lab: Lab) -> Iterator[None]:
    """Node 2 answers to UDP."""
    with subprocess.Popen(in_node(2, sys.executable, "-c", ECHO), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.kill()


def round_trips(origin: int, count: int, *, answer_s: float = 10.0) -> list[float | None]:
    """In milliseconds; None without an answer in that time."""
    asking = in_node(origin, sys.executable, PEER, "udp", address_of(2), count, answer_s)
    done = subprocess.run(asking, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("echo")
def test_packets_take_their_time_and_a_cut_stops_them(cuts: str) -> None:
    took = [ms for ms in round_trips(1, 40) if ms is not None]
    assert len(took) == 40
    assert 35 < min(took) < 60
    state = tell(NAME, Order("cut", [2]))
    assert [node.is_away for node in state.nodes] == [False, True, False]
    assert round_trips(1, 3, answer_s=CUT_S) == [None] * 3
    assert state.cuts == cuts
    if cuts == "switch":
        until(lambda: tell(NAME, Order("state")).dropped_count >= 3)
    else:
        assert tell(NAME, Order("state")).dropped_count < 3
    assert round_trips(2, 1) != [None]
    for way in ("in", "out"):
        tell(NAME, Order("cut", [1], way))
        assert round_trips(1, 2, answer_s=CUT_S) == [None] * 2
        assert round_trips(3, 1) != [None]
    tell(NAME, Order("heal"))
    assert None not in round_trips(1, 3)
    assert None not in round_trips(3, 3)


def test_the_mesh_speaks_over_it(lab: Lab, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    options = {}
    for number in (1, 2):
        made = authority.issue(f"gw-{number}", places=(address_of(number),))
        peers = {f"gw-{other}": f"{address_of(other)}:7447" for other in (1, 2) if other != number}
        listen = f"{address_of(number)}:7447"
        told = ZenohOptions("lab", f"gw-{number}", listen, peers, made.ca, made.certificate, made.key)
        options[number] = json.dumps({key: value for key, value in asdict(told).items() if key != "bulk"}, default=str)
    with subprocess.Popen(
        in_node(2, sys.executable, mesh_process.__file__, options[2]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        asking = in_node(1, sys.executable, PEER, "mesh", options[1], "gw-2", 30)
        took = json.loads(subprocess.run(asking, capture_output=True, check=True).stdout)
        process.kill()
    found = [ms for ms in took if ms is not None]
    assert len(found) >= 29
    assert 36 < min(found) < 60


def test_orders_that_make_no_sense_are_refused(lab: Lab) -> None:
    with pytest.raises(NodeError, match=f"lab `{NAME}`: no node 9, there are 1 to 3"):
        tell(NAME, Order("cut", [1, 9]))
    with pytest.raises(ConflictError, match=f"lab `{NAME}`: is there already"):
        Lab(NAME, 2, Shape(), with_host=False)
    with pytest.raises(NotFoundError, match="lab `none`: none runs"):
        tell("none", Order("state"))


ENTER = """
import sys
from littoral.lab.rootless import enter, sockets_before
sockets = sockets_before(2, 0)
print(*(one.getsockname()[1] for one in sockets), flush=True)
enter(["lab", "up", "--bare", "--nodes", "2", "--name", sys.argv[1]], sockets)
"""


def test_a_lab_in_a_user_namespace_is_reached_by_loopback() -> None:
    """As whoever runs this: root of a user namespace is not root of the machine."""
    need(shutil.which("unshare") and os.access(namespaces.TUN, os.W_OK), "unshare, and a TUN device that one may open")
    name = f"user{os.getpid()}"
    with subprocess.Popen([sys.executable, "-c", ENTER, name], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        until(lambda: process.poll() is not None or is_told(name))
        state = tell(name, Order("cut", [1]))
        assert [node.is_away for node in state.nodes] == [True, False]
        assert left_over(name) == []
        within = [*state.enter.split(), "ip", "netns", "exec", namespace_of(name, 2), sys.executable, "-m"]
        with subprocess.Popen([*within, "http.server", str(HTTP_PORT)], stderr=subprocess.DEVNULL) as server:
            until(lambda: is_served(ports[1]))
            assert not is_served(ports[0])
            server.kill()
        end(name)
        assert process.wait(60) == 0


def is_told(name: str) -> bool:
    try:
        return tell(name, Order("state")).name == name
    except NotFoundError:
        return False


def is_served(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_what_a_killed_lab_left_is_taken_down() -> None:
    try:
        checked_machine()
    except SetupError as error:
        need(None, str(error))
    name = f"left{os.getpid()}"
    script = (
        f"from littoral.lab.lab import Lab, Shape; import os; Lab({name!r}, 2, Shape(), with_host=False); os._exit(9)"
    )
    if subprocess.run([sys.executable, "-c", script], check=False, capture_output=True).returncode != 9:
        need(None, "network namespaces and TUN devices, for root")
    assert left_over(name) == [f"littoral-{name}-1", f"littoral-{name}-2"]
    assert end(name) == [f"littoral-{name}-1", f"littoral-{name}-2"]
    assert left_over(name) == []


def test_without_the_tools_or_the_right_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "TUN", Path("/nowhere/tun"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match="a lab needs the program `ip`") as lacking:
        checked_machine()
    assert lacking.value.hint == "apt-get install iproute2"
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="which root alone may") as forbidden:
        checked_machine()
    assert forbidden.value.hint == "sudo littoral lab …"


def test_the_verb_says_that_none_runs() -> None:
    done = littoral("lab", "state", "--name", "none")
    if os.geteuid() != 0:
        need(None, "root")
    assert done.code == 4
    assert "lab `none`: none runs" in done.err


def asked(origin: int, verb: str, path: str, body: object = None) -> dict[str, object]:
    """A node of the lab is asked over HTTP from inside its own namespace."""
    script = (
        "import json, sys, urllib.request as r; verb, url, body = sys.argv[1:];"
        "asked = r.Request(url, body.encode() or None, {'content-type': 'application/json'}, method=verb);"
        "print(r.urlopen(asked, timeout=60).read().decode())"
    )
    url = f"http://{address_of(origin)}:{HTTP_PORT}{path}"
    told = "" if body is None else json.dumps(body)
    done = subprocess.run(
        in_node(origin, sys.executable, "-c", script, verb, url, told), capture_output=True, check=True
    )
    return json.loads(done.stdout)


def is_ready(origin: int) -> bool:
    try:
        return asked(origin, "GET", "/readyz")["ready"] is True
    except subprocess.CalledProcessError:
        return False


def is_whole(origin: int) -> bool:
    told = asked(origin, "GET", "/api/mesh")
    return not told["lacking"] and all(member["is_here"] for member in told["members"])


def test_nodes_of_a_lab_hold_a_collection_together(lab: Lab, tmp_path: Path) -> None:
    sites = write_sites(tmp_path, places_of(2))
    kept = sites[1].read_text()
    assert write_sites(tmp_path, places_of(2))[1].read_text() == kept
    nodes = LabNodes(sites, {number: namespace_of(NAME, number) for number in sites})
    try:
        until(lambda: all(map(is_ready, sites)))
        vector = [0.5] * 64
        points = {"points": [{"id": 7, "vector": vector}]}
        until(lambda: all(map(is_whole, sites)))
        asked(1, "PUT", "/collections/notes/points?wait=true", points)
        found = asked(2, "POST", "/collections/notes/points/query", {"query": vector, "limit": 1})
        assert [point["id"] for point in found["result"]["points"]] == [7]
    finally:
        nodes.stop()
