"""Bodies of `…/infer`: JSON, or JSON with raw tensors behind it (the binary tensor data extension)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from littoral.errors import InputError
from littoral.node.oip.datatypes import Values, from_json, from_raw, to_json, to_raw
from littoral.node.oip.requests import InferAnswer, InferRequest, Input, output_of, refuse_shared_memory
from littoral.node.oip.targets import Port
from littoral.web import decode_json

__all__ = ["Asked", "InferBody", "decode_request", "encode_answer"]

TENSORS_MAX = 256
INLINE_BYTES_MAX = 1 << 16  # of JSON: more would hold up the event loop while it is converted


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class InferBody(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Wanted] = []
    parameters: dict[str, Any] = {}


class Asked(NamedTuple):
    """id: to be given back. binary: which outputs are wanted as raw tensors; of others, `is_binary` says it."""

    request: InferRequest
    id: str | None
    binary: Mapping[str, bool]
    is_binary: bool


def decode_request(body: bytes, head_bytes: str | None, deadline_ms: float | None) -> Asked:
    """head_bytes: the header `Inference-Header-Content-Length`. Raises InputError."""
    size = len(body) if head_bytes is None else _size(head_bytes, len(body))
    said = decode_json(body[:size], InferBody)
    if len(said.inputs) > TENSORS_MAX or len(said.outputs) > TENSORS_MAX:
        raise InputError(f"{len(said.inputs)} inputs, {len(said.outputs)} outputs, at most {TENSORS_MAX} of each")
    raw, at = memoryview(body)[size:], 0
    inputs = []
    for tensor in said.inputs:
        data, at = _part(tensor, raw, at)
        inputs.append(Input(tensor.name, tensor.datatype, tensor.shape, partial(_values, tensor, data)))
    if at != len(raw):
        raise InputError(f"body: {len(raw)} bytes follow the JSON, its inputs name {at}")
    outputs = [output_of(wanted.name, wanted.parameters) for wanted in said.outputs]
    binary = {w.name: _flag(w.parameters, "binary_data") for w in said.outputs if "binary_data" in w.parameters}
    request = InferRequest(inputs, outputs, said.parameters, deadline_ms, size > INLINE_BYTES_MAX, said.id or "")
    return Asked(request, said.id, binary, _flag(said.parameters, "binary_data_output"))


def encode_answer(asked: Asked, answer: InferAnswer) -> tuple[bytes, int | None]:
    """The body, its bytes of JSON if tensors follow. Raises InputError for what has no form in JSON."""
    outputs, raws = [], []
    for output in answer.outputs:
        told: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if asked.binary.get(output.name, asked.is_binary):
            raws.append(to_raw(output.values))
            told["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            told["data"] = to_json(output.values, output.datatype, f"model `{answer.model}`: output `{output.name}`")
        outputs.append(told)
    named = {"model_name": answer.model, "model_version": answer.version, "outputs": outputs}
    head = msgspec.json.encode(named if asked.id is None else {"id": asked.id, **named})
    return (b"".join([head, *raws]), len(head)) if raws else (head, None)


def _size(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= most):
        raise InputError(f"header `Inference-Header-Content-Length` is `{text[:40]}`, the body has {most} bytes")
    return int(text)


def _part(tensor: _Tensor, raw: memoryview, at: int) -> tuple[memoryview | None, int]:
    """The tensor's raw bytes, and where the next begin; None for one in JSON."""
    label = f"input `{tensor.name[:80]}`"
    refuse_shared_memory(tensor.parameters, label)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if tensor.data is None:
            raise InputError(f"{label}: neither `data` nor `parameters.binary_data_size`")
        return None, at
    if tensor.data is not None:
        raise InputError(f"{label}: both `data` and `parameters.binary_data_size`")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(raw) - at:
        raise InputError(f"{label}: `binary_data_size` is `{str(size)[:40]}`, {len(raw) - at} bytes are left")
    return raw[at : at + size], at + size


def _values(tensor: _Tensor, data: memoryview | None, port: Port, label: str) -> Values:
    if data is None:
        return from_json(tensor.data, port.dtype, tensor.shape, label)
    return from_raw(data, port.dtype, tensor.shape, label)


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    if not isinstance(value := parameters.get(name, False), bool):
        raise InputError(f"parameter `{name}` is `{str(value)[:40]}`, must be true or false")
    return value
