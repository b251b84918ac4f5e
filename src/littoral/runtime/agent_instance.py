"""One started agent, spoken to in its ABI: `init` once, then per call `alloc`, copy in, `infer`, read, `reset`."""

import contextlib
from collections.abc import Callable

import msgspec
import numpy as np

from littoral.clock import Clock
from littoral.errors import AgentError, ArtifactError, MemoryCapError, SandboxError, TrapError
from littoral.runtime.abi import (
    IMPORTS,
    INITIALIZE,
    LOG_IMPORT,
    AgentTypes,
    check_ports,
    checked_span,
    error_number,
    unpacked,
)
from littoral.runtime.agent_log import AgentLog
from littoral.runtime.engine import MachineCode
from littoral.runtime.host_modules import NEURAL, WASI
from littoral.runtime.printable import printable
from littoral.runtime.sandbox import Guest, HostFunction, Limits
from littoral.runtime.wasi_nn import NeuralHost, NeuralModels
from littoral.runtime.wasi_preview1 import WasiHost
from littoral.tensors import Array

__all__ = ["RESULT_BYTES_MAX", "AgentInstance"]

RESULT_BYTES_MAX = 64 << 20
WORDS_BYTES_MAX = 2048
# What `last_error` begins with when an allocation failed (docs/reference/agent-abi.md).
OUT_OF_MEMORY = "out of memory"


class AgentInstance:
    """For one thread at a time. After SandboxError other than AgentError it is of no more use.

    config: what `init` gets. models: what it may open by `wasi_ephemeral_nn`, where it imports that.
    Raises AgentError where `init` refuses the configuration, SandboxError where the module does not start.
    """

    def __init__(
        self,
        code: MachineCode,
        start: Limits,
        limits: Limits,
        config: bytes,
        log: AgentLog,
        label: str,
        *,
        models: NeuralModels,
        clock: Clock,
    ) -> None:
        self._label = label
        modules = {wanted.module for wanted in code.interface.imports}
        self._wasi = WasiHost(log, clock) if WASI in modules else None
        self._neural = NeuralHost(models, log, clock, bytes_max=limits.memory_bytes) if NEURAL in modules else None
        imports = {LOG_IMPORT: HostFunction(IMPORTS[LOG_IMPORT], log.write)}
        for host in (self._wasi, self._neural):
            imports |= host.functions() if host is not None else {}
        self._guest = Guest(code, start, name=label, imports=imports)
        try:
            if INITIALIZE in code.interface.functions:
                self._call(INITIALIZE)
            if (answer := self._call("init", *self._placed(config))) != 0:
                raise self._refusal("init", answer)
            self.types = self._described() if "describe" in code.interface.functions else None
            self.reset()
        except BaseException:
            self.close()
            raise
        self._guest.limits = limits

    @property
    def is_broken(self) -> bool:
        return self._guest.is_broken

    @property
    def memory_bytes(self) -> int:
        return int(self._guest.memory().size)

    def ask(self, payload: bytes | memoryview) -> Array:
        """The answer as uint8[n], a view of the agent's memory until `reset`. Raises AgentError, SandboxError."""
        word = self._call("infer", *self._placed(payload))
        if word < 0:
            raise self._refusal("infer", word)
        memory = self._guest.memory()
        what = f"{self._label}: result of `infer`"
        return checked_span(unpacked(word), memory, what, bytes_max=RESULT_BYTES_MAX).of(memory)

    def reset(self) -> None:
        """Lets the agent forget every buffer; views of its memory are void."""
        self._call("reset")

    def close(self) -> None:
        self._guest.close()
        if self._neural is not None:
            self._neural.close()

    def _placed(self, payload: bytes | memoryview) -> tuple[int, int]:
        size = memoryview(payload).nbytes
        pointer = self._call("alloc", size)
        if pointer == 0 and size:
            words = self._words(self._guest.call)
            raise MemoryCapError(f"{self._label}: `alloc` has no room for {size} bytes{words and f': {words}'}")
        memory = self._guest.memory()
        span = checked_span(unpacked(pointer << 32 | size), memory, f"{self._label}: buffer of `alloc`")
        if size:
            span.of(memory)[:] = np.frombuffer(payload, np.uint8)
        return span.start, size

    def _described(self) -> AgentTypes:
        what = f"{self._label}: answer of `describe`"
        if (word := self._call("describe")) < 0:
            raise self._refusal("describe", word)
        memory = self._guest.memory()
        text = checked_span(unpacked(word), memory, what, bytes_max=1 << 16).of(memory).tobytes()
        try:
            types = msgspec.json.decode(text, type=AgentTypes)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{what}: {printable(str(error))}") from error
        check_ports(types.input, f"{what}: input")
        check_ports(types.output, f"{what}: output")
        return types

    def _call(self, entry: str, *values: int) -> int:
        if self._neural is not None:
            self._neural.begin(self._guest.limits.deadline_ms)
        try:
            word = self._guest.call(entry, *values)
            self._check_end(entry)
            return word
        except TrapError as trap:
            self._check_end(entry)
            if trap.code != "unreachable" or not (words := self._words(self._guest.call_after_failure)):
                raise
            if words.startswith(OUT_OF_MEMORY):
                raise MemoryCapError(f"{self._label}: {words}") from trap
            raise TrapError(f"{trap.message}: {words}", code=trap.code) from trap
        finally:
            if self._wasi is not None:
                self._wasi.flush()

    def _check_end(self, entry: str) -> None:
        """Raises SandboxError where the agent has told that it ends."""
        if self._wasi is not None and (code := self._wasi.exit_code) is not None:
            raise SandboxError(f"{self._label}: `{entry}` ended itself with exit code {code}")

    def _refusal(self, entry: str, word: int) -> AgentError:
        number = error_number(word, f"{self._label}: `{entry}`")
        words = self._words(self._guest.call) or f"`{entry}` answered with error {number}"
        return AgentError(f"{self._label}: {words}", number=number)

    def _words(self, call: Callable[[str], int]) -> str:
        """The text of `last_error`, or nothing: whoever asks has an error to tell already."""
        with contextlib.suppress(SandboxError):
            if (word := call("last_error")) > 0:
                memory = self._guest.memory()
                span = checked_span(unpacked(word), memory, f"{self._label}: text of `last_error`")
                words = span._replace(bytes=min(span.bytes, WORDS_BYTES_MAX)).of(memory).tobytes()
                return printable(words, WORDS_BYTES_MAX)
        return ""
