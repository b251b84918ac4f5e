"""A request and its answer as both transports have them: tensors by name, and parameters that are known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from littoral.errors import InputError
from littoral.node.oip.datatypes import Values
from littoral.node.oip.targets import Port
from littoral.node.sequences import Flags
from littoral.runtime.call import PRIORITY_MAX
from littoral.runtime.step import How

__all__ = [
    "Answered",
    "InferAnswer",
    "InferRequest",
    "Input",
    "Output",
    "output_of",
    "priority_of",
    "request_deadline_ms",
    "sequence_of",
]

DEADLINE_MS = 30_000.0
DEADLINE_MS_MAX = 300_000.0
SEQUENCE_ID_CHARACTERS_MAX = 128
CLASSES_MAX = 1 << 16


class Input(NamedTuple):
    """values: makes the tensor, once the port is known that it is for. Raises InputError."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Callable[[Port, str], Values]


class Output(NamedTuple):
    """One that is wanted. class_count: 0, or as many of the best classes as text in place of the tensor."""

    name: str
    class_count: int = 0


class InferRequest(NamedTuple):
    """outputs: none = all. deadline_ms: of the transport, else None. is_large: too much to be converted on the
    way. id: the caller's own."""

    inputs: Sequence[Input]
    outputs: Sequence[Output]
    parameters: Mapping[str, Any]
    deadline_ms: float | None = None
    is_large: bool = False
    id: str = ""


class Answered(NamedTuple):
    """One output."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Values


class InferAnswer(NamedTuple):
    """model, version: that answered."""

    model: str
    version: str
    outputs: Sequence[Answered]
    how: How


def output_of(name: str, parameters: Mapping[str, Any]) -> Output:
    """Raises InputError for shared memory and for a wrong number of classes."""
    refuse_shared_memory(parameters, f"output `{name[:80]}`")
    count = parameters.get("classification", 0)
    if not _is_number(count) or not 0 <= count <= CLASSES_MAX:
        raise InputError(f"output `{name[:80]}`: `classification` is `{str(count)[:40]}`, must be 0..{CLASSES_MAX}")
    return Output(name, count)


def refuse_shared_memory(parameters: Mapping[str, Any], label: str) -> None:
    """Raises InputError."""
    if "shared_memory_region" in parameters:
        raise InputError(f"{label}: shared memory is not offered", hint="send the tensor in the request")


def request_deadline_ms(request: InferRequest) -> float:
    """The shortest of what transport and parameters say: `timeout` in microseconds, `timeout_ms`. Raises InputError."""
    found = [DEADLINE_MS] if request.deadline_ms is None else [min(request.deadline_ms, DEADLINE_MS_MAX)]
    for name, per_ms in (("timeout", 1000), ("timeout_ms", 1)):
        if (value := request.parameters.get(name)) is None or value == 0:
            continue
        most = round(DEADLINE_MS_MAX * per_ms)
        if not _is_number(value) or not 0 < value <= most:
            raise InputError(f"parameter `{name}` is `{str(value)[:40]}`, must be a whole number up to {most}")
        found.append(value / per_ms)
    return min(found)


def priority_of(parameters: Mapping[str, Any]) -> int:
    """0 … 9, the highest first, of Triton's `priority`: there 1 is the most urgent. Raises InputError."""
    value = parameters.get("priority", 0)
    if not _is_number(value) or value < 0:
        raise InputError(f"parameter `priority` is `{str(value)[:40]}`, must be a whole number of at least 0")
    return max(0, PRIORITY_MAX + 1 - value) if value else 0


def sequence_of(parameters: Mapping[str, Any]) -> Flags | None:
    """None for a request on its own: no `sequence_id`, or 0 or an empty one. Raises InputError."""
    key = parameters.get("sequence_id")
    if key in (None, 0, ""):
        return None
    if not (_is_number(key) or (isinstance(key, str) and len(key) <= SEQUENCE_ID_CHARACTERS_MAX)):
        raise InputError(
            f"parameter `sequence_id` is `{str(key)[:40]}`, must be a whole number"
            f" or a text of at most {SEQUENCE_ID_CHARACTERS_MAX} characters"
        )
    assert isinstance(key, int | str)
    return Flags(key, _flag(parameters, "sequence_start"), _flag(parameters, "sequence_end"))


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    if not isinstance(value := parameters.get(name, False), bool):
        raise InputError(f"parameter `{name}` is `{str(value)[:40]}`, must be true or false")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
