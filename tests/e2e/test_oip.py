"""`littoral up` and `tritonclient`: speech found as with the state fed by hand, and new versions by SIGHUP."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

import littoral
from littoral.demo.wheels import read_member
from littoral.node.beside import running_node
from oip_site import scaled, write_version
from speech import RATE, chunks
from supervised import short_folder
from trained_wheels import trained_wheels
from waiting import until

pytestmark = pytest.mark.e2e

SITE = """
[node]
listen = "127.0.0.1:0"

[models.vad]
path = "vad.wasm"
state = { state = "stateN" }

[models.scaled]
path = "scaled"

[pipelines.scale]
steps = [{ model = "scaled" }]
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        (folder / "site.toml").write_text(SITE)
        write_version(folder / "scaled", 1, scaled.__wrapped__(10.0))
        yield folder


def test_speech_is_found_as_with_the_state_fed_by_hand(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = read_member(trained_wheels(tmp_path_factory)["silero-vad"], "silero_vad/data/silero_vad.onnx")
    model = littoral.compile(data, shapes={"input": (1, 576), "state": (2, 1, 128)}, name="vad")
    model.save(folder / "vad.wasm")
    session = littoral.load(model)
    state = np.zeros((2, 1, 128), np.float32)
    by_hand = []
    for chunk in chunks():
        outputs = session.run({"input": chunk, "state": state, "sr": np.array(RATE)})
        state = outputs["stateN"]
        by_hand.append(outputs["output"].tobytes())
    session.close()
    sound = list(chunks())
    with running_node(folder / "site.toml") as node:
        client = triton.InferenceServerClient(node.address)
        found = []
        for i, chunk in enumerate(sound):
            given = triton.InferInput("input", list(chunk.shape), "FP32")
            given.set_data_from_numpy(chunk)
            rate = triton.InferInput("sr", [], "INT64")
            rate.set_data_from_numpy(np.array(RATE, np.int64))
            is_start, is_end = i == 0, i == len(sound) - 1
            result = client.infer(
                "vad", [given, rate], sequence_id="door", sequence_start=is_start, sequence_end=is_end
            )
            found.append(result.as_numpy("output").tobytes())
        client.close()
    assert found == by_hand
    assert len(set(found)) > len(found) // 2


def test_new_versions_are_looked_for_at_a_signal(folder: Path) -> None:
    scaled.__wrapped__(3.0).save(folder / "vad.wasm")
    (folder / "site.toml").write_text(SITE.replace('state = { state = "stateN" }\n', ""))
    with running_node(folder / "site.toml") as node:
        client = triton.InferenceServerClient(node.address)

        def factor() -> float:
            given = triton.InferInput("x", [1, 3], "FP32")
            given.set_data_from_numpy(np.float32([[1, 2, 3]]))
            return float(client.infer("scale", [given]).as_numpy("y")[0, 0])

        assert factor() == 10
        for number, by in ((2, 20.0), (3, 30.0)):
            write_version(folder / "scaled", number, scaled.__wrapped__(by))
            os.kill(node.pid, signal.SIGHUP)
            until(lambda by=by: factor() == by)
        client.close()
