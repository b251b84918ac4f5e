"""Steps and answers as safetensors frames: what goes in comes out, and anybody's reader can open them."""

import numpy as np
import pytest

from littoral.errors import InputError
from littoral.node.placement.workplace import agent_key, model_key
from littoral.steps.messages import (
    LOADS_BYTES_MAX,
    StepAsk,
    decode_loads,
    decode_step,
    decode_told,
    encode_loads,
    encode_step,
    encode_told,
)
from littoral.steps.offer import Offer
from littoral.tensors import decode_frame, encode_frame, read_frame

KEY = model_key("0f" * 32)
TENSORS = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(1, 3, 4),
    "none": np.zeros((0, 5), np.float32),
    "one": np.array(3.5, np.float64),
    "turned": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    "yes": np.array([True, False]),
    "bits": np.array([1, 2], np.uint16),
}


def test_tensors_come_out_as_they_went_in() -> None:
    ask = StepAsk(KEY, 0.25, ["y", "z"], priority=4)
    body = encode_step(ask, TENSORS, {"bits": "bfloat16"})
    heard, value = decode_step(body, "a")
    assert heard == StepAsk(KEY, 0.25, ["y", "z"], 4, False)
    assert isinstance(value, dict)
    assert list(value) == list(TENSORS)
    for name, array in TENSORS.items():
        assert value[name].dtype == array.dtype
        assert np.array_equal(value[name], array)
        assert value[name].shape == array.shape
        assert not value[name].flags.writeable
    assert decode_frame(body).keys() == TENSORS.keys()
    assert b'"BF16"' in body


def test_bytes_come_out_as_bytes() -> None:
    ask = StepAsk(agent_key("0f" * 32), 1.0)
    assert decode_step(encode_step(ask, b"\xff\xd8 picture", {}), "a")[1] == b"\xff\xd8 picture"
    body = encode_told(b"text", {}, inside_s=0.1, waited_s=0.05, offer=Offer(1, 2, 3, 0.5), spent=True)
    told, value = decode_told(body, "b")
    assert (told.inside_s, told.waited_s, told.offer.slots, told.spent, value) == (0.1, 0.05, 3, True, b"text")


@pytest.mark.parametrize("value", [[1, 2], [{"id": 1}]])
def test_hits_do_not_travel(value: list[object]) -> None:
    with pytest.raises(InputError, match="`list` does not travel"):
        encode_step(StepAsk(KEY, 1.0), value, {})


def test_loads_are_bounded_and_checked() -> None:
    body = encode_loads("x", {KEY: Offer(1, 1, 2, 0.01)}, spent=False, watts=3.5, watts_max=9.0)
    loads = decode_loads(body, "b")
    assert (loads.boot, loads.offer(KEY), loads.offer("model:other")) == ("x", Offer(1, 1, 2, 0.01), None)
    many = {model_key(f"{i:064x}"): Offer(0, 0, 1, 0.0) for i in range(2000)}
    assert len(decode_loads(encode_loads("x", many, spent=False, watts=0, watts_max=None), "b").offers) == 256
    for wrong in (b"", b"\xc1", b"\x91\x01", bytes(LOADS_BYTES_MAX + 1), body.replace(b"model", b"moral")):
        with pytest.raises(InputError, match="loads of `b`"):
            decode_loads(wrong, "b")


def test_a_frame_has_texts_and_others_frames_may_have_anything_there() -> None:
    frame = encode_frame({"x": np.zeros(1, np.float32)}, metadata={"format": "np"})
    assert read_frame(frame).metadata == {"format": "np"}
    assert read_frame(encode_frame({})).metadata == {}
    header = b'{"__metadata__":[1]}    '
    assert read_frame(len(header).to_bytes(8, "little") + header).metadata == {}
