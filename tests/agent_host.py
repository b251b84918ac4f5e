"""The agent ABI with nothing but wasmtime: enough of a host to test agents by (docs/reference/agent-abi.md)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import wasmtime

from littoral.tensors import Array, decode_frame

ENGINE = wasmtime.Engine()


class AgentRefusalError(Exception):
    """The agent answered with an error of its own."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} ({number})")
        self.number = number
        self.text = text


class AgentHost:
    """One agent, started. Without `config` it is not initialised."""

    def __init__(
        self,
        wasm: bytes | Path,
        config: Mapping[str, Any] | bytes | None = b"",
        *,
        memory_bytes_max: int = 1 << 30,
    ) -> None:
        module = _compiled(wasm.read_bytes() if isinstance(wasm, Path) else wasm)
        self.store = wasmtime.Store(ENGINE)
        self.store.set_limits(memory_size=memory_bytes_max)
        self.logged: list[tuple[int, str]] = []
        i32 = wasmtime.ValType.i32()
        log = wasmtime.Func(self.store, wasmtime.FuncType([i32, i32, i32], []), self._log)
        linker = wasmtime.Linker(ENGINE)
        linker.define(self.store, "littoral", "log", log)
        self.exports = linker.instantiate(self.store, module).exports(self.store)
        if config is not None:
            self.init(config if isinstance(config, bytes) else json.dumps(config).encode())

    def call(self, name: str, *values: int) -> int:
        return self.exports[name](self.store, *values)

    def init(self, config: bytes) -> None:
        if answer := self.call("init", *self.put(config)):
            raise AgentRefusalError(answer, self.last_error())
        self.call("reset")

    def put(self, data: bytes) -> tuple[int, int]:
        pointer = self.call("alloc", len(data)) & 0xFFFFFFFF
        if not pointer:
            raise MemoryError(self.last_error())
        self.exports["memory"].write(self.store, data, pointer)
        return pointer, len(data)

    def infer(self, data: bytes) -> bytes:
        try:
            return self.read(self.call("infer", *self.put(data)))
        finally:
            self.call("reset")

    def tensors(self, data: bytes) -> dict[str, Array]:
        return {name: np.array(array) for name, array in decode_frame(self.infer(data)).items()}

    def describe(self) -> Any:
        return json.loads(self.read(self.call("describe")))

    def read(self, word: int) -> bytes:
        if word < 0:
            raise AgentRefusalError(word, self.last_error())
        start, length = word >> 32, word & 0xFFFFFFFF
        return bytes(self.exports["memory"].read(self.store, start, start + length))

    def last_error(self) -> str:
        return self.read(self.call("last_error")).decode()

    @property
    def memory_bytes(self) -> int:
        return int(self.exports["memory"].data_len(self.store))

    def _log(self, level: int, pointer: int, length: int) -> None:
        text = bytes(self.exports["memory"].read(self.store, pointer, pointer + length))
        self.logged.append((level, text.decode()))


_modules: dict[bytes, wasmtime.Module] = {}


def _compiled(wasm: bytes) -> wasmtime.Module:
    if wasm not in _modules:
        _modules[wasm] = wasmtime.Module(ENGINE, wasm)
    return _modules[wasm]
