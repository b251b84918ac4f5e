"""A bundle as a package for Node: the node's vectors, over HTTP and in a program of one's own."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import littoral
from engines.commands import pinned_node
from isolates import database, points
from littoral.bundle.node_package import plan_node
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.writing import write
from littoral.node.site import read_site
from littoral.runtime.agents import Agent
from littoral.runtime.host.axis import normalized
from page_pictures import page_pictures
from raw_http import send
from site_folder import MODEL, site_folder

PICTURES = [shown.data for shown in page_pictures()[::5]]
TYPE = {"Content-Type": "image/jpeg"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    site = read_site(site_folder(tmp_path))
    write(dict(plan_node(read_recipe(site, "similar"), Options()).files), tmp_path / "bundle")
    return tmp_path / "bundle"


@contextlib.contextmanager
def served(bundle: Path, **bindings: str) -> Iterator[str]:
    command = [pinned_node(), bundle / "server.mjs"]
    with subprocess.Popen(command, env={"PORT": "0", **bindings}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().removeprefix("http://")
        finally:
            process.terminate()


def vectors(site: Path) -> list[bytes]:
    """As the steps of the site file make them."""
    found = []
    with Agent.open("builtin:image", {"width": 32, "height": 32}) as agent, littoral.load(site / MODEL) as session:
        for data in PICTURES:
            (pixels,) = agent.infer(data).values()  # type: ignore[union-attr]
            (output,) = normalized(session.run({session.inputs[0].name: pixels})).values()
            found.append(output.tobytes())
    return found


def test_vectors_are_the_nodes_and_hits_come_from_the_database(bundle: Path) -> None:
    with database(lambda _: points(4)) as qdrant, served(bundle, ENDPOINTS=f'[{{"url": "{qdrant.url}"}}]') as address:
        for data, expected in zip(PICTURES, vectors(bundle.parent), strict=True):
            octets = send(address, "POST", "/embed", data, TYPE | {"Accept": "application/octet-stream"})
            assert octets.body == expected
        assert send(address, "GET", "/warmup").status == 200
        reply = send(address, "POST", "/similarity", PICTURES[0], TYPE)
        assert reply.json["result"] == [{"id": 4, "score": pytest.approx(0.6), "payload": {"i": 4}}]
        assert np.array_equal(
            np.array(qdrant.questions[0].body["query"], np.float32).tobytes(), vectors(bundle.parent)[0]
        )
        assert send(address, "POST", "/embed", b"no picture", TYPE).status == 415
        assert send(address, "POST", "/embed", bytes(5 << 20), TYPE).status == 413
        assert send(address, "GET", "//similarity").status == 405
        assert send(address, "POST", "/embed", PICTURES[0], TYPE).status == 200


def test_a_program_opens_it_as_a_package(bundle: Path) -> None:
    (bundle.parent / "picture.jpg").write_bytes(PICTURES[0])
    script = """
      import { readFile } from "node:fs/promises";
      import { open } from "./bundle/index.mjs";
      const pipeline = await open();
      const vector = pipeline.embed(await readFile("picture.jpg"));
      let refused = null;
      try { pipeline.embed(new Uint8Array(9)); } catch ({ status, message }) { refused = { status, message }; }
      console.log(JSON.stringify({ vector: Array.from(vector), memory: pipeline.memoryBytes, refused }));
    """
    command = [pinned_node(), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=bundle.parent, capture_output=True, text=True, timeout=240)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert np.array(said["vector"], np.float32).tobytes() == vectors(bundle.parent)[0]
    assert said["memory"] > 0
    assert said["refused"]["status"] == 415


@pytest.mark.parametrize("file", ["agent.wasm", "model.wasm"])
def test_a_file_of_other_bytes_is_not_started(bundle: Path, file: str) -> None:
    wasm = (bundle / file).read_bytes()
    (bundle / file).write_bytes(wasm + b"\0\2\1x")  # a custom section
    done = subprocess.run([pinned_node(), bundle / "server.mjs"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert f"Error: {file}: SHA-256 is " in done.stderr
