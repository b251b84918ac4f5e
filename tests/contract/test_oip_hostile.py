"""Bodies that were changed anywhere, and tensors of any shape and size: taken, or refused as the caller's fault."""

import json
import random
from typing import Any

import numpy as np
import pytest

from littoral import settings
from littoral.errors import RequestError
from littoral.node.oip.datatypes import from_json, from_raw, to_json, to_raw
from littoral.node.oip.http_bodies import decode_request
from littoral.node.oip.requests import priority_of, request_deadline_ms, sequence_of
from littoral.node.oip.targets import Port
from oip_site import TYPES

CASES = 100_000 if settings.boolean("LITTORAL_SWEEP") else 3_000
PORTS = [Port("x", "FP32", (-1, 3), "float32"), Port("x", "INT8", (2, 3), "int8"), Port("x", "BYTES", (1,), "")]
WORDS = ["-1", "0", "1e999", "9" * 30, "null", "true", '""', "[]", "{}", "[[[]]]", '"\\ud800"', "NaN", "1.5", '"FP32"']


def valid(rng: random.Random) -> tuple[bytes, str | None]:
    """A request in JSON or with raw tensors, and its header."""
    tensor: dict[str, Any] = {"name": "x", "shape": [rng.randrange(3), 3], "datatype": "FP32"}
    count = tensor["shape"][0] * 3
    parameters = {"sequence_id": 3, "timeout": 1000, "priority": 1, "binary_data_output": True}
    outputs = [{"name": "y", "parameters": {"binary_data": False, "classification": 2}}]
    if rng.random() < 0.5:
        body = {"inputs": [tensor | {"data": [1.0] * count}], "outputs": outputs, "parameters": parameters}
        return json.dumps(body).encode(), None
    raw = bytes(4 * count)
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    return head + raw, str(len(head))


def changed(body: bytes, rng: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = rng.choice(WORDS).encode()
        elif b":" in data[at:]:
            value = data.index(b":", at) + 1
            data[value : value + rng.randrange(6)] = rng.choice(WORDS).encode()
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_changed_bodies_are_taken_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    taken = 0
    for _ in range(CASES // 4):
        body, size = valid(rng)
        if rng.random() < 0.9:
            body = changed(body, rng)
        try:
            asked = decode_request(body, size, None)
            for tensor in asked.request.inputs:
                tensor.values(rng.choice(PORTS), "input `x`")
            for known in (priority_of, sequence_of):
                known(asked.request.parameters)
            request_deadline_ms(asked.request)
            taken += 1
        except RequestError as error:
            assert error.message
    assert 0 < taken < CASES // 4


@pytest.mark.parametrize(
    "dtype", ["", *(name.lower() for name in TYPES if "INT" in name), "bool", "float32", "float64"]
)
def test_tensors_come_back_as_they_were(dtype: str) -> None:
    rng = np.random.default_rng(5)
    for shape in ((), (0,), (3, 0, 2), (1,), (2, 3), (7, 1, 5)):
        count = int(np.prod(shape))
        if not dtype:
            values: Any = [rng.bytes(int(size)) for size in rng.integers(0, 9, count)]
            assert from_raw(memoryview(to_raw(values)), dtype, shape, "t") == values
            values = [f"{i}-ü" for i in range(count)]
            assert to_json(from_json(values, dtype, shape, "t"), "BYTES", "t") == values
            continue
        array = rng.integers(0, 2, shape).astype(dtype)
        found = from_raw(memoryview(to_raw(array)), dtype, shape, "t")
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
        flat = to_json(array, dtype.upper(), "t")
        again = from_json(flat, dtype, shape, "t")
        assert isinstance(again, np.ndarray)
        assert (again.dtype, again.tolist()) == (array.dtype, array.tolist())


@pytest.mark.parametrize("shape", [(1 << 62, 4), (1 << 40,), (0, 1 << 62, 1 << 62), (-1,), (1,) * 33])
@pytest.mark.parametrize("dtype", ["", "float32"])
def test_sizes_that_nobody_has_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    for work in (lambda: from_raw(memoryview(b"abcd"), dtype, shape, "t"), lambda: from_json([1], dtype, shape, "t")):
        with pytest.raises(RequestError):
            work()
