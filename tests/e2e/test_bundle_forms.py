"""Pipelines of many forms as packages for Node and in workerd: what the node answers, to the bit."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bench.isolated import workerd_of

import littoral
from bundled import in_workerd
from engines.commands import pinned_node
from isolates import isolates
from littoral import settings
from littoral.bundle.node_package import plan_node
from littoral.bundle.plan import Options
from littoral.bundle.recipe import read_recipe
from littoral.bundle.workers import plan_workers
from littoral.bundle.writing import write
from littoral.node.site import read_site
from littoral.tensors import decode_frame, encode_frame
from modules_in_text import agent
from node_fixture import Served, node_in_thread
from onnx_models import Network, squeeze_excite
from page_pictures import page_pictures
from raw_http import Reply, send, send_json
from site_folder import TEXT as SITE
from site_folder import site_folder
from supervised import short_folder
from text_node import SITE as WORDS
from text_node import write_text_site as write_texts

PICTURES = [shown.data for shown in page_pictures()[::12]]
TEXTS = ["a", "Two gulls over the pier", "日本語のテキスト", "a longer line of words, " * 9, "é" * 40]
FRAME = {"Accept": "application/x-safetensors"}
ROWS = np.random.default_rng(5).standard_normal((9, 5)).astype(np.float32)
FORMS = """
[models.named]
path = "named.wasm"

[models.head]
path = "head.wasm"

[agents.echo]
path = "echo.wasm"

[agents.frames]
path = "frames.wasm"

[pipelines.pixels]
steps = [{ agent = "decode" }]

[pipelines.shares]
steps = [{ agent = "decode" }, { model = "embedder" }, { step = "softmax" }]

[pipelines.classify]
steps = [{ agent = "decode" }, { model = "named" }, { step = "softmax" }, { step = "top_k", k = 3, labels = "named" }]

[pipelines.largest]
steps = [{ agent = "decode" }, { model = "embedder" }, { step = "top_k", k = 2 }]

[pipelines.deep]
steps = [{ agent = "decode" }, { model = "embedder" }, { model = "head", take = "wide" }, { step = "normalize" }]

[pipelines.numbers]
steps = [{ model = "head" }]

[pipelines.enough]
steps = [{ model = "head", take = "wide" }, { step = "threshold", at = 0.1 }]

[pipelines.mirror]
steps = [{ agent = "echo" }]

[pipelines.framed]
steps = [{ agent = "frames" }, { model = "head", take = "wide" }]
"""


class Form(NamedTuple):
    """One pipeline, what is asked of it, with which content type; sample: the known input, where one is needed."""

    pipeline: str
    asked: list[bytes]
    type: str
    sample: bytes | None = None


def rows(count: int) -> bytes:
    return encode_frame({"x": ROWS[:count]})


def as_json(count: int) -> bytes:
    return json.dumps({"inputs": {"x": ROWS[:count].tolist()}}).encode()


FRAMES = "application/x-safetensors"
OF_PICTURES = [
    Form(name, PICTURES, "image/jpeg") for name in ("pixels", "shares", "classify", "largest", "deep", "embed")
]
OTHERS = [
    Form("numbers", [rows(n) for n in (1, 2, 4, 9)], FRAMES),
    Form("enough", [as_json(n) for n in (1, 3)], "application/json"),
    Form("mirror", [b"any bytes", b"\xff\xfe"], "text/csv", b"known"),
    Form("framed", [rows(1)], "application/octet-stream", rows(1)),
]
OF_TEXTS = [Form(name, [text.encode() for text in TEXTS], "text/plain") for name in ("sentences", "tokens")]


def head() -> bytes:
    """Batches of 1 and 4 that may be padded and split; two outputs."""
    net = Network((-1, 5))
    net.dense(7)
    net.node("Relu", net.at)
    net.nodes[-1].output[0] = "wide"
    net.at, net.channels = "wide", 7
    net.dense(3)
    return net.bytes("wide")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        site = site_folder(folder, SITE + FORMS)
        names = [f"class {i}" for i in range(5)]
        littoral.compile(squeeze_excite(32, 1), name="named", labels=names).save(folder / "named.wasm")
        sizes = [{"x": (batch, 5)} for batch in (1, 4)]
        littoral.compile(head(), name="head", variants=sizes).save(folder / "head.wasm")
        (folder / "echo.wasm").write_bytes(agent())
        ports = [{"name": "x", "dtype": "float32", "shape": [1, 5]}]
        (folder / "frames.wasm").write_bytes(agent(output=ports))
        with node_in_thread(folder, site=site) as found:
            yield found


@pytest.fixture(scope="module")
def texts() -> Iterator[Served]:
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
        node_in_thread(folder, site=write_texts(folder, WORDS)) as found,
    ):
        yield found


def bundled(of: Served, form: Form, into: Path, plan: Any = plan_node) -> Path:
    site = read_site(of.node.data.parent / "site.toml")
    write(dict(plan(read_recipe(site, form.pipeline), Options(sample=form.sample)).files), into)
    return into


@contextlib.contextmanager
def in_node(bundle: Path, **bindings: str) -> Iterator[str]:
    command = [pinned_node(), bundle / "server.mjs"]
    with subprocess.Popen(command, env={"PORT": "0", **bindings}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().removeprefix("http://")
        finally:
            process.terminate()


def same(of: Served, address: str, form: Form) -> None:
    """The bundle's answers at the node's route are the node's, in JSON and in frames."""
    assert send(address, "GET", "/warmup").status == 200
    path = f"/pipelines/{form.pipeline}"
    for data in form.asked:
        for accepts in ({}, FRAME):
            headers = {"Content-Type": form.type, **accepts}
            theirs, ours = send(of.address, "POST", path, data, headers), send(address, "POST", path, data, headers)
            assert (theirs.status, ours.status) == (200, 200), (theirs, ours)
            assert plain(ours) == plain(theirs)


def plain(reply: Reply) -> Any:
    if reply.headers["content-type"] == "application/x-safetensors":
        frame = decode_frame(reply.body)
        return {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in frame.items()}
    assert reply.json["how"].keys() == {"node", "stages", "cache", "search"}
    assert reply.json["status"] == "ok"
    return reply.json["result"]


@pytest.mark.parametrize("form", [*OF_PICTURES, *OTHERS], ids=lambda form: form.pipeline)
def test_every_form_answers_as_the_node_does(served: Served, tmp_path: Path, form: Form) -> None:
    with in_node(bundled(served, form, tmp_path / "bundle")) as address:
        same(served, address, form)


@pytest.mark.parametrize("form", OF_TEXTS, ids=lambda form: form.pipeline)
def test_texts_are_encoded_as_in_the_node(texts: Served, tmp_path: Path, form: Form) -> None:
    with in_node(bundled(texts, form, tmp_path / "bundle")) as address:
        same(texts, address, form)


def test_workerd_runs_them_too(served: Served, tmp_path: Path) -> None:
    workerd = workerd_of(isolates())
    for form in (OF_PICTURES[2], OF_PICTURES[4], OTHERS[0], OTHERS[2]):
        with in_workerd(workerd, bundled(served, form, tmp_path / form.pipeline, plan_workers)) as worker:
            same(served, worker.address, form)
            assert send(worker.address, "GET", "/healthz").status == 200


def test_a_text_has_the_nodes_hits_in_workerd(texts: Served, tmp_path: Path) -> None:
    def vector(text: str) -> Any:
        reply = send(texts.address, "POST", "/pipelines/sentences", text.encode(), FRAME)
        return next(iter(decode_frame(reply.body).values()))[0].tolist()

    points = [{"id": i, "vector": vector(text), "payload": {"text": text}} for i, text in enumerate(TEXTS)]
    assert send_json(texts.address, "PUT", "/collections/notes/points", {"points": points}).status == 200
    form = Form("find", [text.encode() for text in TEXTS], "text/plain")
    bundle = bundled(texts, form, tmp_path / "bundle", plan_workers)
    assert (bundle / "agent.bin").exists()
    endpoints = json.dumps([{"url": texts.url}])
    with in_workerd(workerd_of(isolates()), bundle, {"ENDPOINTS": endpoints}) as worker:
        for route in ("/similarity", "/find", "/pipelines/find"):
            for data in form.asked:
                ours = send(worker.address, "POST", route, data, {"Content-Type": "text/plain"})
                theirs = send(texts.address, "POST", "/pipelines/find", data)
                assert ours.json["result"] == theirs.json["result"]
        refused: Mapping[bytes, int] = {b"": 400, b'\x1e["a", "b"]': 422, b"\xff\xfe": 422}
        for data, status in refused.items():
            assert send(worker.address, "POST", "/embed", data, {"Content-Type": "text/plain"}).status == status
        assert send(worker.address, "POST", "/embed", b"x", {"Content-Type": "image/jpeg"}).status == 415
        assert send(worker.address, "POST", "/embed", b"fine", {"Content-Type": "text/plain"}).status == 200


def test_tensors_that_do_not_fit_are_refused(served: Served, tmp_path: Path) -> None:
    form = OTHERS[0]
    bad: list[tuple[bytes, str, int]] = [
        (b"", FRAMES, 400),
        (b"{", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"inputs": {"__proto__": [1]}}', "application/json", 400),
        (b'{"inputs": {"y": [[1, 2, 3, 4, 5]]}}', "application/json", 400),
        (b'{"inputs": {"x": [[1, 2, 3, 4, 5], [1]]}}', "application/json", 400),
        (b'{"inputs": {"x": [[1, 2, 3, 4]]}}', "application/json", 400),
        (b'{"inputs": {"x": [[1, 2, 3, 4, "5"]]}}', "application/json", 400),
        (b'{"inputs": {"x": []}}', "application/json", 400),
        (b"\xff" * 40, FRAMES, 400),
        (rows(1)[:-1], FRAMES, 400),
        (encode_frame({"x": ROWS[:1].astype(np.float64)}), FRAMES, 400),
        (rows(1).replace(b"[1,5]", b"[5,1]").replace(b"[1, 5]", b"[5, 1]"), FRAMES, 400),
        (rows(1), "image/jpeg", 415),
    ]
    with in_node(bundled(served, form, tmp_path / "bundle")) as address:
        for data, kind, status in bad:
            reply = send(address, "POST", "/numbers", data, {"Content-Type": kind})
            assert reply.status == status, (data, reply)
            assert reply.error
        same(served, address, form)
        assert send(address, "POST", "/embed", rows(1), {"Content-Type": FRAMES}).status == 404
        assert send(address, "POST", "/similarity", rows(1), {"Content-Type": FRAMES}).status == 404
