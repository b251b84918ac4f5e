"""Agents: any WebAssembly module with the agent ABI, in the guarded engine.

A trap, a deadline, an out-of-memory or a broken promise costs the caller an error and the instance its life; the next
call gets a fresh one. Nothing else is lost.
"""

import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from littoral.artifact.manifest import AGENT_SECTION, AgentManifest
from littoral.clock import SYSTEM, Clock
from littoral.errors import (
    AgentError,
    InputError,
    RequestError,
    SandboxError,
    SettingError,
    TooLargeError,
    UnavailableError,
)
from littoral.runtime.abi import (
    LOG_IMPORT,
    MEMORY_BYTES_MAX,
    AgentTypes,
    Ports,
    check_interface,
    check_ports,
    check_tensors,
    granted_models,
)
from littoral.runtime.agent_files import Config, Files, init_bytes
from littoral.runtime.agent_instance import AgentInstance
from littoral.runtime.agent_log import AgentLog
from littoral.runtime.builtin_agents import PREFIX, builtin_agent
from littoral.runtime.foreign_code import STRANGERS, CompileBounds
from littoral.runtime.host_modules import NEURAL
from littoral.runtime.inputs import as_stored
from littoral.runtime.modules import LoadedModule, load_module, naming
from littoral.runtime.printable import printable
from littoral.runtime.sandbox import Limits
from littoral.runtime.wasi_nn import NeuralModels, OfferedModel
from littoral.tensors import Array, TensorSpec, decode_frame, encode_frame

if TYPE_CHECKING:
    from littoral.artifact.signing import Signers

__all__ = ["Agent", "AgentStatistics", "Config", "Lent"]

START_DEADLINE_MS = 10_000
DEADLINE_MS_MAX = 24 * 3600 * 1000


@dataclass(frozen=True)
class AgentStatistics:
    """runs, refusals (the agent said no), failures (each cost an instance), log lines: since the start."""

    runs: int
    refusals: int
    failures: int
    log_lines: int
    log_lines_dropped: int
    memory_bytes: int


class _Options(NamedTuple):
    module: LoadedModule
    manifest: AgentManifest
    name: str
    config: bytes
    start: Limits
    limits: Limits
    clock: Clock
    models: NeuralModels


class Agent:
    """One agent with one instance. Thread-safe: calls take turns; for parallel ones use a `Pool`.

    Made by `Agent.open`. `input` and `output` are "bytes" or the tensors taken and given, as the agent describes itself
    with this configuration, else as its manifest says.
    """

    engine = "guarded"
    threads = 1

    def __init__(self, options: _Options, types: AgentTypes | None = None) -> None:
        self._options = options
        self.manifest = options.manifest
        self.name = options.name
        self.label = f"agent `{options.name}`"
        self._log = AgentLog(options.name, options.clock)
        self._turn = threading.Lock()
        self._runs = 0
        self._refusals = 0
        self._failures = 0
        self._is_closed = False
        self._instance: AgentInstance | None = self._start()
        self._memory_bytes = self._instance.memory_bytes
        manifest_types = AgentTypes(self.manifest.input, self.manifest.output)
        self._types = types or self._instance.types or manifest_types

    @classmethod
    def open(
        cls,
        path: str | PathLike[str] | bytes,
        config: Config = None,
        *,
        name: str | None = None,
        memory_bytes: int | None = None,
        deadline_ms: int | None = None,
        start_deadline_ms: int = START_DEADLINE_MS,
        grants: Sequence[str] = (),
        models: NeuralModels | None = None,
        sha256: str | None = None,
        files: Files | None = None,
        bounds: CompileBounds | None = STRANGERS,
        signers: "Signers | None" = None,
        clock: Clock = SYSTEM,
    ) -> "Agent":
        """Loads, checks and starts an agent.

        path: a file, its bytes, or `builtin:NAME`. config: what `init` gets, JSON unless bytes. name: for messages and
        the log; default the manifest's. memory_bytes, deadline_ms (per call): default the manifest's.
        start_deadline_ms: for the start of the module and `init`. grants: imports that it may have. models: those
        there are, for an agent that is granted `wasi_ephemeral_nn`, or `wasi_ephemeral_nn:NAME` for one of them.
        files: by name, a path or bytes each; `init` gets them in one frame with the configuration. bounds: for
        compiling it. signers: who must have signed it; None = nobody, and nobody for what is built in.
        Raises NotFoundError, SetupError, ArtifactError, TrustError, SettingError, and AgentError where `init` refuses.
        """
        if isinstance(path, str) and path.startswith(PREFIX):
            path, sha256 = builtin_agent(path.removeprefix(PREFIX), sha256)
            bounds = signers = None
        module = load_module(path, AGENT_SECTION, engine="guarded", sha256=sha256, bounds=bounds, signers=signers)
        with naming(path):
            manifest = AgentManifest.decode(module.manifest)
            name = name or printable(manifest.name)
            label = f"agent `{name}`"
            check_interface(module.code.interface, label, grants)
            check_ports(manifest.input, f"{label}: input")
            check_ports(manifest.output, f"{label}: output")
        memory = manifest.memory_bytes_max if memory_bytes is None else memory_bytes
        deadline = manifest.deadline_ms if deadline_ms is None else deadline_ms
        _check_range(memory, MEMORY_BYTES_MAX, f"{label}: memory in bytes")
        _check_range(deadline, DEADLINE_MS_MAX, f"{label}: deadline in ms")
        payload = init_bytes(config, files or {}, label)
        start, limits = Limits(memory, start_deadline_ms), Limits(memory, deadline)
        allowed = _allowed(models or {}, grants, label)
        return cls(_Options(module, manifest, name, payload, start, limits, clock, allowed))

    @property
    def digest(self) -> str:
        """SHA-256 of all that its answers depend on: the module, what `init` got, and models that it may use, as they
        are now.
        """
        if not self._asks_models:
            return self._own_digest
        models = sorted(self._options.models.items())
        made_of = [self._own_digest, *(f"{name}:{model.digest};" for name, model in models)]
        return hashlib.sha256("".join(made_of).encode()).hexdigest()

    @property
    def module_digest(self) -> str:
        """SHA-256 of its file."""
        return self._options.module.digest

    @property
    def is_pure(self) -> bool:
        """Whether its answers depend on nothing but what it is given: it asks the host for nothing but its log."""
        return all(str(wanted) == LOG_IMPORT for wanted in self._options.module.code.interface.imports)

    @cached_property
    def _own_digest(self) -> str:
        made_of = self._options.module.digest.encode() + hashlib.sha256(self._options.config).digest()
        return hashlib.sha256(made_of).hexdigest()

    @cached_property
    def _asks_models(self) -> bool:
        return any(wanted.module == NEURAL for wanted in self._options.module.code.interface.imports)

    @property
    def input(self) -> Ports:
        return self._types.input

    @property
    def output(self) -> Ports:
        return self._types.output

    @property
    def memory_bytes_max(self) -> int:
        """The cap of its memory."""
        return self._options.limits.memory_bytes

    @property
    def deadline_ms(self) -> int:
        """Of one call."""
        return self._options.limits.deadline_ms

    @property
    def imports(self) -> list[str]:
        """What its module asks of the host, as `module.name`."""
        return [str(wanted) for wanted in self._options.module.code.interface.imports]

    def infer(self, data: bytes | bytearray | memoryview | Mapping[str, object]) -> bytes | dict[str, Array]:
        """The agent's answer, copied out: bytes, or arrays by name, as `output` says.

        Raises InputError and TooLargeError for what the agent does not take, AgentError for its own errors, TrapError,
        DeadlineError, MemoryCapError, SandboxError.
        """
        lent = self.lend(data)
        try:
            if isinstance(lent.value, dict):
                return {name: array.copy() for name, array in lent.value.items()}
            return lent.value.tobytes()
        finally:
            lent.release()

    def lend(self, data: bytes | bytearray | memoryview | Mapping[str, object]) -> "Lent":
        """As `infer`, but the answer stays in the agent's memory until it is released; others wait meanwhile."""
        payload = self._payload(data)
        self._turn.acquire()
        try:
            value = self._answer(payload)
        except BaseException:
            self._turn.release()
            raise
        return Lent(self, value)

    def another(self) -> "Agent":
        """A second agent from the same machine code, configuration and limits, for parallel calls."""
        if self._is_closed:
            raise UnavailableError(f"{self.label}: the agent is closed")
        return Agent(self._options, self._types)

    def statistics(self) -> AgentStatistics:
        return AgentStatistics(
            self._runs, self._refusals, self._failures, self._log.lines, self._log.dropped, self._memory_bytes
        )

    def rest(self) -> None:
        """Frees the instance, after a call in flight; the next call gets a fresh one."""
        with self._turn:
            self._drop()

    def close(self) -> None:
        """Frees the instance, after a call in flight. Closing twice is fine; `infer` raises UnavailableError then."""
        with self._turn:
            self._is_closed = True
            self._drop()

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self) -> AgentInstance:
        o = self._options
        return AgentInstance(
            o.module.code, o.start, o.limits, o.config, self._log, self.label, models=o.models, clock=o.clock
        )

    def _answer(self, payload: bytes | memoryview) -> "Array | dict[str, Array]":
        if self._is_closed:
            raise UnavailableError(f"{self.label}: the agent is closed")
        self._instance = self._instance or self._start()
        try:
            value = self._checked(self._instance.ask(payload))
        except AgentError:
            self._refusals += 1
            self._forget()
            raise
        except BaseException:  # whatever ended the call: the agent may be in the middle of something
            self._failures += 1
            self._drop()
            raise
        self._runs += 1
        self._memory_bytes = self._instance.memory_bytes
        return value

    def _checked(self, answer: Array) -> "Array | dict[str, Array]":
        if self.output == "bytes":
            return answer
        try:
            tensors = decode_frame(memoryview(answer.data))
        except RequestError as error:
            raise SandboxError(f"{self.label}: result of `infer`: {printable(error.message)}") from error
        check_tensors(tensors, self.output, f"{self.label}: output", SandboxError)
        return tensors

    def _payload(self, data: bytes | bytearray | memoryview | Mapping[str, object]) -> bytes | memoryview:
        if self.input == "bytes":
            if not isinstance(data, bytes | bytearray | memoryview):
                raise InputError(f"{self.label}: takes bytes, got `{type(data).__name__}`")
            payload = memoryview(data)
            payload = payload.cast("B") if payload.c_contiguous else memoryview(bytes(payload))
        else:
            payload = memoryview(self._frame(data, self.input))
        if payload.nbytes > (most := self._options.limits.memory_bytes):
            raise TooLargeError(f"{self.label}: input of {payload.nbytes} bytes, its memory holds {most}")
        return payload

    def _frame(self, data: object, ports: tuple[TensorSpec, ...]) -> bytes:
        if not isinstance(data, Mapping):
            raise InputError(f"{self.label}: takes tensors by name, got `{type(data).__name__}`")
        stored = {
            port.name: as_stored(data[port.name], port.dtype, f"{self.label}: input `{port.name}`")
            for port in ports
            if port.name in data
        }
        check_tensors({**data, **stored}, ports, f"{self.label}: input", InputError)
        return encode_frame(stored, {port.name: port.dtype for port in ports})

    def _forget(self) -> None:
        """`reset` after an answer. A failure in it costs the instance, not the caller, who has an answer already."""
        if self._instance is None:
            return
        try:
            self._instance.reset()
        except (SandboxError, UnavailableError):
            self._failures += 1
            self._drop()

    def _drop(self) -> None:
        instance, self._instance, self._memory_bytes = self._instance, None, 0
        if instance is not None:
            instance.close()


class Lent:
    """An agent's answer where the agent left it. No view of it may be used after `release`."""

    def __init__(self, agent: Agent, value: "Array | dict[str, Array]") -> None:
        self.value = value
        self._agent: Agent | None = agent

    def release(self) -> None:
        """Lets the agent forget the answer and serve the next caller. Releasing twice is fine."""
        agent, self._agent = self._agent, None
        self.value = {}
        if agent is not None:
            try:
                agent._forget()
            finally:
                agent._turn.release()


def _allowed(models: NeuralModels, grants: Sequence[str], label: str) -> NeuralModels:
    """The models that are granted. Raises SettingError for a name that no model has."""
    if (names := granted_models(grants)) is None:
        return models
    if unknown := sorted(names - models.keys()):
        known = ", ".join(f"`{name}`" for name in models) or "none"
        raise SettingError(f"{label}: no model `{unknown[0]}` to be granted, there are: {known}")
    return _Granted(models, names)


class _Granted(Mapping[str, OfferedModel]):
    """Those of these names, as they are when they are asked for: a model may be replaced while it is served."""

    def __init__(self, models: NeuralModels, names: Collection[str]) -> None:
        self._models = models
        self._names = names

    def __getitem__(self, name: str) -> OfferedModel:
        if name not in self._names:
            raise KeyError(name)
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _check_range(value: int, most: int, what: str) -> None:
    if not 0 < value <= most:
        raise SettingError(f"{what} is `{value}`, must be 1..{most}")
