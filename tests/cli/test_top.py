"""`littoral top`: what it shows of a running node, once and on a terminal."""

import os
import pty
import select
import subprocess
from collections.abc import Iterator

import pytest

from command import command, environment
from command import littoral as cli
from littoral.cli.top_samples import Look, parse_samples
from littoral.cli.top_tables import sections
from littoral.errors import PeerError
from node_fixture import Served, node_in_thread
from raw_http import send
from supervised import short_folder
from waiting import until


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with short_folder() as folder, node_in_thread(folder) as found:
        body = b'{"inputs": {"x": [[1, 2, 3]]}}'
        assert (
            send(found.address, "POST", "/pipelines/double", body, {"Content-Type": "application/json"}).status == 200
        )
        yield found


def test_two_looks_as_json(served: Served) -> None:
    told = cli("top", "--url", served.url, "--every", "0.2", "--json").json
    assert set(told) == {"node", "pipelines", "models and agents", "collections", "caches"}
    node = told["node"]
    assert (node["node"], node["ready"]) == ("store-12", True)
    assert node["requests_per_s"] > 0
    assert node["memory_bytes"] > 1 << 20
    double = next(row for row in told["pipelines"] if row["name"] == "double")
    assert (double["per_s"], double["busy"]) == (0, 0)
    assert double["p50_ms"] > 0
    assert {(row["kind"], row["name"]) for row in told["models and agents"]} == {
        ("agent", "decode"), ("model", "embedder"), ("model", "plain"),
    }  # fmt: skip
    assert told["collections"] == [{"name": "frames", "answers": True, "points": 0, "indexed": 0}]


def test_without_a_terminal_it_is_printed_once(served: Served) -> None:
    done = cli("top", "--url", served.url, "--every", "0.1")
    assert done.code == 0, done.err
    first, *rest = done.out.splitlines()
    assert first.startswith("store-12 ")
    assert " requests/s, 0 failed · " in first
    assert [line.split()[0] for line in rest if line.startswith(("pipelines", "models", "collections", "caches"))] == [
        "pipelines", "models", "collections", "caches",
    ]  # fmt: skip
    assert any(line.startswith("decode ") and " agent " in line for line in rest)


def test_on_a_terminal_it_goes_on_until_q(served: Served) -> None:
    ours, theirs = pty.openpty()
    arguments = command("top", "--url", served.url, "--every", "0.1")
    own = environment() | {"TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=own) as process:
        os.close(theirs)
        seen = b""

        def shown() -> bool:
            nonlocal seen
            while select.select([ours], [], [], 0)[0]:
                seen += os.read(ours, 1 << 16)
            return seen.count(b"store-12") >= 3

        try:
            until(shown)
            os.write(ours, b"q")
            until(lambda: shown() and process.poll() is not None)
        except OSError:  # its end of the terminal is closed
            process.wait(60)
        assert process.returncode == 0, seen[-2000:]
    os.close(ours)


def test_a_node_that_is_away_is_told() -> None:
    done = cli("top", "--url", "http://127.0.0.1:1", "--once")
    assert done.code == 5
    assert "cannot be reached" in done.err


def test_rates_are_of_what_happened_between_two_looks() -> None:
    before = parse_samples('a_total{x="1"} 5\na_total{x="2"} 9\n')
    now = parse_samples('# TYPE a_total counter\na_total{x="1"} 8\na_total{x="2"} 2\na_total{x="3"} 1e3\nb 1\n')
    look = Look(now, before, 2.0)
    assert [look.rate("a_total", x) for x in "123"] == [1.5, 1.0, 500.0]
    assert look.total_rate("a_total") == 502.5
    assert Look(now, None, 0.0).total_rate("a_total") is None
    assert sections(look, []) == []
    with pytest.raises(PeerError, match="line 1 of the samples"):
        parse_samples("<html>")
