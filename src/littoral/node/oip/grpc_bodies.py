"""`ModelInfer` of gRPC: messages to requests, answers to messages; tensors raw, or typed in the message."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from littoral.errors import InputError
from littoral.node.oip.datatypes import BYTES, Values, from_json, from_raw, to_raw
from littoral.node.oip.grpc_messages import messages
from littoral.node.oip.requests import InferAnswer, InferRequest, Input, output_of, refuse_shared_memory
from littoral.node.oip.targets import Port

__all__ = ["answer_of", "parameters_of", "request_of"]

TENSORS_MAX = 256
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def request_of(asked: Any, deadline_ms: float | None) -> InferRequest:
    """asked: a `ModelInferRequest`. Raises InputError."""
    if len(asked.inputs) > TENSORS_MAX or len(asked.outputs) > TENSORS_MAX:
        raise InputError(f"{len(asked.inputs)} inputs, {len(asked.outputs)} outputs, at most {TENSORS_MAX} of each")
    raws: Sequence[bytes | None] = asked.raw_input_contents or [None] * len(asked.inputs)
    if len(raws) != len(asked.inputs):
        raise InputError(f"{len(raws)} tensors in `raw_input_contents`, {len(asked.inputs)} inputs")
    inputs = [_input(tensor, raw) for tensor, raw in zip(asked.inputs, raws, strict=True)]
    outputs = [output_of(output.name, parameters_of(output.parameters)) for output in asked.outputs]
    is_large = any(raw is None for raw in raws)
    return InferRequest(inputs, outputs, parameters_of(asked.parameters), deadline_ms, is_large, asked.id)


def answer_of(answer: InferAnswer, request_id: str) -> Any:
    """A `ModelInferResponse` with raw tensors."""
    told = messages()["ModelInferResponse"](model_name=answer.model, model_version=answer.version, id=request_id)
    for output in answer.outputs:
        told.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        told.raw_output_contents.append(to_raw(output.values))
    return told


def parameters_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, whichever of their kinds is set."""
    found = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        found[name] = None if kind is None else getattr(parameter, kind)
    return found


def _input(tensor: Any, raw: bytes | None) -> Input:
    label = f"input `{tensor.name[:80]}`"
    refuse_shared_memory(parameters_of(tensor.parameters), label)
    if raw is not None and tensor.HasField("contents"):
        raise InputError(f"{label}: both `contents` and `raw_input_contents`")
    return Input(tensor.name, tensor.datatype, list(tensor.shape), partial(_values, tensor, raw))


def _values(tensor: Any, raw: bytes | None, port: Port, label: str) -> Values:
    shape = list(tensor.shape)
    if raw is not None:
        return from_raw(memoryview(raw), port.dtype, shape, label)
    if (field := CONTENTS.get(port.datatype)) is None:
        raise InputError(f"{label}: {port.datatype} has no typed form", hint="send it in `raw_input_contents`")
    values = list(getattr(tensor.contents, field))
    if not port.dtype:
        if len(values) != 1:
            raise InputError(f"{label}: {len(values)} elements, a pipeline takes one")
        return values
    return from_json(values, port.dtype, shape, label)
