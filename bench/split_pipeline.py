"""What it costs that a pipeline's model runs on another node: two processes, mutual TLS, on this machine.

The same picture goes through the same pipeline with its model here and, in turn, on the other node; `added` is the
median of one less that of the other. The model takes the picture as bytes (150 KB travel) or as float32 (600 KB), over
QUIC and over TLS. This process is the node that is asked, without HTTP.
"""

import asyncio
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import littoral
from bench.mesh_peer import CALLER, PEER
from bench.mesh_sites import SOCKETS, write_sites
from bench.rows import Row, row
from littoral.artifact import Store
from littoral.node.beside import running_node
from littoral.node.node import Node
from littoral.node.site import read_site
from littoral.node.supervisor import embedded
from littoral.node.wiring import open_node

__all__ = ["run"]

SIDE, EMBEDDING, POINTS = 224, 128, 1000
WARM, REQUESTS = 100, 600
KINDS = {"u8": ("uint8", 150, 1.5), "f32": ("float32", 600, 4.0)}
"""By the name of the kind: dtype, KB that travel, the most that may be added to the median, in ms."""
PLACEMENT = """
[placement]
tries = 0.0
"""
OF_KIND = """
[collections.frames_{kind}]
vectors = {{ size = {size}, distance = "Cosine" }}
[models.{kind}]
path = "../{kind}.wasm"
[agents.decode_{kind}]
path = "builtin:image"
config = {{ width = {side}, height = {side}, layout = "{layout}", dtype = "{dtype}" }}
"""
PIPELINE = """
[pipelines.{kind}_{where}]
steps = [
  {{ agent = "decode_{kind}" }},
  {{ model = "{kind}", place = "{place}" }},
  {{ step = "normalize" }},
  {{ search = "frames_{kind}", limit = 5 }},
]
"""


def run() -> list[Row]:
    return [one for transport in SOCKETS for one in over(transport)]


def over(transport: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), transport)
        with running_node(files[PEER]):
            times = uvloop.run(measured(files[CALLER]))
    rows = []
    for kind, (_, kilobytes, limit) in KINDS.items():
        here, split, share = times[kind]
        label = f"{kind}, {transport}"
        rows += [
            row(f"{label}: whole pipeline in one node, p50", float(np.median(here)), "ms"),
            row(f"{label}: model on the other node, {kilobytes} KB, p50", float(np.median(split)), "ms"),
            row(f"{label}: added, p50", float(np.median(split) - np.median(here)), "ms", limit=limit),
            row(f"{label}: added, p95", float(np.quantile(split, 0.95) - np.quantile(here, 0.95)), "ms"),
            row(f"{label}: answered by the other node", share, ""),
        ]
    return rows


def write_files(folder: Path, transport: str) -> dict[str, Path]:
    for kind in KINDS:
        model = littoral.compile(embedder(kind), name=kind)
        Store().record(model.digest)
        model.save(folder / f"{kind}.wasm")
    files = write_sites(folder, (CALLER, PEER), PLACEMENT, transport=transport)
    for name, other in ((CALLER, PEER), (PEER, CALLER)):
        with files[name].open("a") as file:
            file.writelines(of_kind(kind, other) for kind in KINDS)
    return files


def of_kind(kind: str, other: str) -> str:
    dtype, _, _ = KINDS[kind]
    layout = "nhwc" if kind == "u8" else "nchw"
    text = OF_KIND.format(kind=kind, size=EMBEDDING, side=SIDE, layout=layout, dtype=dtype)
    for where, place in (("here", "here"), ("split", f"node:{other}")):
        text += PIPELINE.format(kind=kind, where=where, place=place)
    return text


def embedder(kind: str) -> bytes:
    """A picture to 128 numbers; from bytes, the scaling is part of the model."""
    numbers = np.random.default_rng(3)
    shapes = {"w": (32, 3, 7, 7), "v": (64, 32, 3, 3), "g": (EMBEDDING, 64)}
    constants = {name: numbers.standard_normal(shape).astype(np.float32) * 0.1 for name, shape in shapes.items()}
    nodes, picture = [], "pixels"
    if kind == "u8":
        constants["scale"] = np.float32([1 / 255])
        nodes = [
            helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["picture"], perm=[0, 3, 1, 2]),
        ]
        picture = "picture"
    nodes += [
        helper.make_node("Conv", [picture, "w"], ["a"], strides=[4, 4], pads=[3, 3, 3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    taken = (TensorProto.UINT8, [1, SIDE, SIDE, 3]) if kind == "u8" else (TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("pixels", *taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, EMBEDDING])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def picture() -> bytes:
    numbers = np.random.default_rng(4).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(numbers).resize((SIDE, SIDE)).save(file, "JPEG", quality=85)
    return file.getvalue()


async def measured(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """By kind: milliseconds of each request with the model here, and on the other node; the share it answered."""
    site = read_site(file)
    body = picture()
    with embedded(site.data) as link:
        async with link, open_node(site, link) as node:
            await until_offered(node)
            rows = np.random.default_rng(5).standard_normal((POINTS, EMBEDDING)).astype("<f4")
            for kind in KINDS:
                await node.collections.get(f"frames_{kind}").upsert(range(POINTS), rows)
            found = {}
            for kind in KINDS:
                times = np.zeros((WARM + REQUESTS, 2))
                answered = 0
                for at in range(len(times)):
                    times[at, 0], _ = await timed(node, f"{kind}_here", body)
                    times[at, 1], node_name = await timed(node, f"{kind}_split", body)
                    answered += node_name == PEER
                found[kind] = times[WARM:, 0], times[WARM:, 1], answered / len(times)
            return found


async def until_offered(node: Node) -> None:
    assert node.placement is not None
    asker = node.placement.asker
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while not all(asker.neighbours.of(PEER).offers.get(key) for key in asker.keys):  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.1)


async def timed(node: Node, pipeline: str, body: bytes) -> tuple[float, str]:
    """Milliseconds, and who ran the model."""
    began = time.perf_counter()
    answer = await node.pipelines[pipeline].pipeline.run(body)
    took_ms = (time.perf_counter() - began) * 1000
    return took_ms, answer.how.placement[0]["node"] if answer.how.placement else node.name
