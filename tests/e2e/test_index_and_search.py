"""`littoral index` and `littoral search` against a node that `littoral up` runs."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import command, environment
from command import littoral as cli
from littoral import settings
from littoral.node.beside import RunningNode, running_node
from littoral.node.client import NodeClient
from processes import host_of
from site_folder import site_folder, write_pictures
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[Path]:
    return write_pictures(folder / "pictures")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[RunningNode]:
    with (
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        running_node(site_folder(folder)) as running,
    ):
        yield running


def count(client: NodeClient) -> int:
    return int(client.collection("POST", "frames", "/points/count", {"exact": True})["count"])


def test_pictures_are_indexed_and_found(node: RunningNode, pictures: list[Path]) -> None:
    options = ("-c", "frames", "-p", "embed", "--url", node.url, "--batch", 10, "--json")
    for _ in range(2):  # the second time replaces
        report = cli("index", pictures[0].parent, *options, "--payload", "camera=door", "--thumbnails").json
        assert (report["indexed"], report["refused"]) == (len(pictures), [])
        assert report["pictures_per_s"] > 0
    with contextlib.closing(node.client()) as client:
        assert count(client) == len(pictures)
    found = cli("search", pictures[7], "--url", node.url, "--json").json
    first = found["hits"][0]["payload"]
    assert (first["source"], first["path"], first["camera"]) == ("pictures", pictures[7].name, "door")
    assert first["thumbnail"].startswith("data:image/jpeg;base64,")
    assert list(found["how"]["stages"]) == ["decode", "embedder", "normalize", "search"]
    shown = cli("search", pictures[7], "--url", node.url, "--limit", 2)
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("  1    1.0000  ")
    assert f"path={pictures[7].name}" in lines[0]
    assert "thumbnail" not in shown.out
    assert lines[2].startswith("2 hits in ")


def test_pictures_that_are_refused_are_listed(node: RunningNode, pictures: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    done = cli("index", bad, pictures[0], empty, "-c", "frames", "-p", "embed", "--url", node.url)
    assert done.code == 1
    assert done.out.startswith("1 of 3 pictures indexed in ")
    assert f"refused: {bad}: " in done.err
    assert f"refused: {empty}: " in done.err
    assert "Traceback" not in done.err


def test_a_host_that_dies_meanwhile_costs_no_picture(node: RunningNode, pictures: list[Path], tmp_path: Path) -> None:
    with contextlib.closing(node.client()) as client:
        client.collection("POST", "frames", "/points/delete?wait=true", {"filter": {}})
        options = ("-c", "frames", "-p", "embed", "--url", node.url, "--batch", "1")
        process = subprocess.Popen(
            command("index", pictures[0].parent, *options), stdout=subprocess.PIPE, text=True, env=environment()
        )
        with process:
            until(lambda: process.poll() is not None or count(client) > 3)
            os.kill(host_of(node.pid, "frames"), signal.SIGKILL)
            out, _ = process.communicate(timeout=240)
        assert out.startswith(f"{len(pictures)} of {len(pictures)} pictures indexed")
        assert count(client) == len(pictures)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["index", "missing", "-c", "frames", "-p", "embed"], 4, "`missing` is neither a folder nor a file"),
        (["index", "PICTURE", "-c", "none", "-p", "embed"], 4, "collection `none`"),
        (["index", "PICTURE", "-c", "frames", "-p", "none"], 4, "pipeline `none`"),
        (["index", "PICTURE", "-c", "frames", "-p", "embed", "--payload", "x"], 4, "`--payload x` is not KEY=TEXT"),
        (["index", "PICTURE", "-c", "frames"], 2, "--pipeline"),
        (["search", "missing.jpg"], 4, "`missing.jpg`: No such file"),
        (["search", "PICTURE", "-p", "none"], 4, "pipeline `none`"),
        (["search", "PICTURE", "-p", "embed"], 4, "pipeline `embed` gives no hits"),
        (["search", "PICTURE", "--url", "nonsense"], 4, "address of a node is `nonsense`"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], code: int, message: str, node: RunningNode, pictures: list[Path]
) -> None:
    given = [str(pictures[0]) if a == "PICTURE" else a for a in arguments]
    done = cli(*given, *([] if "--url" in given else ["--url", node.url]))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_pipeline_that_gives_no_vector_refuses_every_picture(node: RunningNode, pictures: list[Path]) -> None:
    done = cli("index", pictures[0], "-c", "frames", "-p", "similar", "--url", node.url)
    assert done.code == 1
    assert "does not give one tensor" in done.err


def test_a_node_that_is_not_there_is_told(pictures: list[Path]) -> None:
    done = cli("search", pictures[0], "--url", "http://127.0.0.1:9")
    assert done.code == 5
    assert "node at http://127.0.0.1:9 cannot be reached" in done.err
    assert "hint: start one with `littoral up site.toml`" in done.err
