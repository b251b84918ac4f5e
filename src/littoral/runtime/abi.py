"""The agent ABI as the host sees it: exports, imports, packed pointers (docs/reference/agent-abi.md).

Every number that comes from a guest is a claim and goes through `checked_span` before it is used as an address.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from littoral.errors import ArtifactError, LittoralError, SandboxError, SettingError
from littoral.runtime.host_modules import NEURAL, NEURAL_FUNCTIONS, WASI, WASI_FUNCTIONS
from littoral.runtime.interface import Interface
from littoral.runtime.printable import printable
from littoral.tensors import DTYPES, RANK_MAX, Array, TensorSpec

__all__ = [
    "GRANTS",
    "IMPORTS",
    "INITIALIZE",
    "LOG_IMPORT",
    "MEMORY_BYTES_MAX",
    "AgentTypes",
    "Ports",
    "Span",
    "check_interface",
    "check_ports",
    "check_tensors",
    "checked_span",
    "error_number",
    "granted_models",
    "grants_for",
    "unpacked",
]

MEMORY_BYTES_MAX = 1 << 30
ERROR_NUMBER_MIN = -999
LOG_IMPORT = "littoral.log"

EXPORTS = {
    "alloc": "(i32) -> i32",
    "reset": "() -> ()",
    "init": "(i32, i32) -> i32",
    "infer": "(i32, i32) -> i64",
    "last_error": "() -> i64",
}
INITIALIZE = "_initialize"
OPTIONAL_EXPORTS = {"describe": "() -> i64", INITIALIZE: "() -> ()"}
IMPORTS = {
    LOG_IMPORT: "(i32, i32, i32) -> ()",
    **{f"{NEURAL}.{name}": signature for name, signature in NEURAL_FUNCTIONS.items()},
    **{f"{WASI}.{name}": signature for name, signature in WASI_FUNCTIONS.items()},
}
GRANTS = frozenset({LOG_IMPORT, NEURAL, WASI})
"""What a site file may grant; `littoral.log` every agent has."""

Ports = Literal["bytes"] | tuple[TensorSpec, ...]


class AgentTypes(msgspec.Struct, frozen=True):
    """What an agent takes and gives: what `describe` answers, in the manifest's words."""

    input: Ports = "bytes"
    output: Ports = "bytes"


class Span(NamedTuple):
    """A stretch of a guest's memory."""

    start: int
    bytes: int

    def of(self, memory: Array) -> Array:
        return memory[self.start : self.start + self.bytes]


def unpacked(word: int) -> Span:
    """Pointer in the high 32 bits, length in the low."""
    return Span((word >> 32) & 0xFFFFFFFF, word & 0xFFFFFFFF)


def checked_span(span: Span, memory: Array, what: str, *, bytes_max: int = MEMORY_BYTES_MAX) -> Span:
    """`span`, if it lies in the guest's memory. Raises SandboxError; `what` opens the message."""
    if span.bytes > bytes_max:
        raise SandboxError(f"{what}: {span.bytes} bytes, at most {bytes_max}")
    if span.start + span.bytes > memory.size:
        raise SandboxError(f"{what}: {span.bytes} bytes at {span.start} lie outside the {memory.size} bytes of memory")
    return span


def error_number(word: int, what: str) -> int:
    """The agent's own error number in an answer. Raises SandboxError for one the ABI does not have."""
    if not ERROR_NUMBER_MIN <= word < 0:
        raise SandboxError(f"{what} answered {word}, errors are -1…{ERROR_NUMBER_MIN}")
    return word


def check_interface(interface: Interface, label: str, grants: Sequence[str]) -> None:
    """Raises ArtifactError for a wrong export or a refused import, SettingError for an unknown grant."""
    given = {_grant_of(grant, label) for grant in grants} | {LOG_IMPORT}
    for wanted in interface.imports:
        if wanted.key not in IMPORTS:
            raise ArtifactError(
                f"{label}: import `{wanted}` is refused",
                hint=f"an agent may import {LOG_IMPORT}, and where it is granted {NEURAL} and {WASI}",
            )
        if (needed := _needed(wanted.key)) not in given:
            raise ArtifactError(
                f"{label}: import `{wanted}` is not granted", hint=f'`grants = ["{needed}"]` in the site file grants it'
            )
    for name, signature in (EXPORTS | OPTIONAL_EXPORTS).items():
        found = interface.functions.get(name)
        if found is None and name in EXPORTS:
            raise ArtifactError(f"{label}: no exported function `{name}`, expected {signature}")
        if found is not None and found != signature:
            raise ArtifactError(f"{label}: export `{name}` is {found}, expected {signature}")
    if interface.memory is None:
        raise ArtifactError(f"{label}: no exported memory `memory`")


def grants_for(interface: Interface) -> tuple[str, ...]:
    """What a module needs to be granted, `littoral.log` among it. Imports that no grant gives are left out."""
    return tuple(sorted({_needed(wanted.key) for wanted in interface.imports if wanted.key in IMPORTS}))


def granted_models(grants: Sequence[str]) -> frozenset[str] | None:
    """The models that `wasi_ephemeral_nn:NAME` grants name; None = all."""
    if NEURAL in grants:
        return None
    return frozenset(grant.partition(":")[2] for grant in grants if grant.startswith(f"{NEURAL}:"))


def _needed(key: str) -> str:
    return LOG_IMPORT if key == LOG_IMPORT else key.partition(".")[0]


def _grant_of(grant: str, label: str) -> str:
    """Without the model's name in `wasi_ephemeral_nn:NAME`. Raises SettingError."""
    kind, mark, model = grant.partition(":")
    if kind not in GRANTS or (mark and (kind != NEURAL or not model)):
        known = ", ".join(sorted(GRANTS | {f"{NEURAL}:MODEL"}))
        raise SettingError(f"{label}: grant `{printable(grant)}` is unknown, known: {known}")
    return kind


def check_ports(ports: Ports, what: str) -> None:
    """Raises ArtifactError for an unknown dtype, an impossible shape or a name that comes twice."""
    if ports == "bytes":
        return
    for port in ports:
        if port.dtype not in DTYPES:
            raise ArtifactError(f"{what} `{printable(port.name)}`: unknown dtype `{printable(port.dtype)}`")
        if len(port.shape) > RANK_MAX or any(size < -1 for size in port.shape):
            raise ArtifactError(f"{what} `{printable(port.name)}`: bad shape {list(port.shape)}")
    if len({port.name for port in ports}) != len(ports):
        raise ArtifactError(f"{what}: a name comes twice")


def check_tensors(
    tensors: Mapping[str, Array], ports: Sequence[TensorSpec], what: str, kind: type[LittoralError]
) -> None:
    """Raises `kind` unless the tensors (as stored) are exactly those of `ports`, each of its dtype and shape."""
    if tensors.keys() != {port.name for port in ports}:
        names = printable(", ".join(f"`{name}`" for name in tensors)) or "none"
        raise kind(f"{what}: tensors {names}, expected {', '.join(map(str, ports))}")
    for port in ports:
        array = tensors[port.name]
        if array.dtype != DTYPES[port.dtype].storage or not port.accepts(port.dtype, array.shape):
            raise kind(f"{what}: `{port.name}` is {array.dtype.name}{list(array.shape)}, expected {port}")
