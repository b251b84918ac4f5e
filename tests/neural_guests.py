"""Agents in text format that drive `wasi_ephemeral_nn` as their input says: any call with any numbers.

The input is a count, then records of 8 words (u32, little-endian): which function, nothing, up to 6 arguments. What
comes behind the records lies at `DATA` while the calls run. The answer is the error number of each call, then the data.
"""

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from littoral.runtime.agents import Agent
from littoral.runtime.instance import Session, load
from littoral.runtime.wasi_nn import OfferedModel
from modules_in_text import agent

__all__ = [
    "BUFFER", "DATA", "FUNCTIONS", "MEMORY_BYTES", "NAME", "NN", "OUT", "TENSOR", "X4", "Answer", "Calls", "Models",
    "driver", "opened", "ready", "run", "whole",
]  # fmt: skip

NN = "wasi_ephemeral_nn"
OUT, NAME, TENSOR, BUFFER = 0, 16, 512, 2048
"""Where the programs of the tests have things, in the data."""
X4 = np.array([1, -2, 0.5, 4], "<f4")

FUNCTIONS = ("load", "load_by_name", "init_execution_context", "set_input", "compute", "get_output")
ARITY = (5, 3, 2, 3, 1, 5)
IMPORTS = "".join(
    f'(import "wasi_ephemeral_nn" "{name}" (func ${name} (param {" ".join(["i32"] * count)}) (result i32)))'
    for name, count in zip(FUNCTIONS, ARITY, strict=True)
)
DATA = 8192
ANSWERS = 4096
RECORD = 32
TOP = 1 << 16
MEMORY_BYTES = 6 << 16


def _dispatch() -> str:
    """Calls the function of the record at `$record`, its arguments behind it."""
    text = "(i32.const 99)"
    for i, (name, count) in enumerate(zip(FUNCTIONS, ARITY, strict=True)):
        given = " ".join(f"(i32.load offset={8 + 4 * k} (local.get $record))" for k in range(count))
        call = f"(call ${name} {given})"
        is_it = f"(i32.eq (i32.load (local.get $record)) (i32.const {i}))"
        text = f"(if (result i32) {is_it} (then {call}) (else {text}))"
    return text


INFER = f"""(local $record i32) (local $stop i32) (local $out i32)
  (local.set $record (i32.add (local.get $at) (i32.const 4)))
  (local.set $stop (i32.add (local.get $record) (i32.mul (i32.load (local.get $at)) (i32.const {RECORD}))))
  (memory.copy (i32.const {DATA}) (local.get $stop)
    (i32.sub (i32.add (local.get $at) (local.get $size)) (local.get $stop)))
  (local.set $out (i32.const {ANSWERS}))
  (block $end (loop $next
    (br_if $end (i32.ge_u (local.get $record) (local.get $stop)))
    (i32.store (local.get $out) {_dispatch()})
    (local.set $out (i32.add (local.get $out) (i32.const 4)))
    (local.set $record (i32.add (local.get $record) (i32.const {RECORD})))
    (br $next)))
  (i64.or (i64.shl (i64.const {ANSWERS}) (i64.const 32))
    (i64.extend_i32_u (i32.sub (i32.const {DATA + 4096}) (i32.const {ANSWERS}))))"""


def driver(**more: Any) -> bytes:
    """An agent that does what `Calls.program` says; its answer goes through `Calls.answer`."""
    return agent(INFER, imports=IMPORTS, reset=f"(global.set $top (i32.const {TOP}))", memory="6 16", **more)


class Answer(NamedTuple):
    """Error numbers, one a call, and the first 4 KiB at `DATA` afterwards."""

    errnos: list[int]
    data: bytes

    def u32(self, offset: int) -> int:
        return int(struct.unpack_from("<I", self.data, offset)[0])


class Calls:
    """A program for `driver`. Addresses are offsets in the data unless `raw`."""

    def __init__(self) -> None:
        self._records: list[tuple[int, tuple[int, ...]]] = []
        self._data = bytearray(4096)

    def put(self, offset: int, data: bytes) -> int:
        """Places bytes; their address."""
        if len(self._data) < offset + len(data):
            self._data.extend(bytes(offset + len(data) - len(self._data)))
        self._data[offset : offset + len(data)] = data
        return DATA + offset

    def tensor(self, offset: int, shape: Sequence[int], kind: int, data: bytes) -> int:
        """A tensor's 20 bytes, its dimensions and its data behind; its address."""
        dims = self.put(offset + 20, struct.pack(f"<{len(shape)}I", *shape))
        start = self.put(offset + 20 + 4 * len(shape), data)
        return self.put(offset, struct.pack("<IIB3xII", dims, len(shape), kind, start, len(data)))

    def call(self, name: str, *values: int) -> "Calls":
        self._records.append((FUNCTIONS.index(name), values))
        return self

    def program(self) -> bytes:
        rows = b"".join(
            struct.pack("<8I", which, 0, *(value & 0xFFFFFFFF for value in values), *[0] * (6 - len(values)))
            for which, values in self._records
        )
        return struct.pack("<I", len(self._records)) + rows + bytes(self._data)

    def answer(self, given: bytes) -> Answer:
        count = len(self._records)
        return Answer(list(struct.unpack_from(f"<{count}I", given)), given[DATA - ANSWERS :])


class Models(dict[str, Any]):
    """Sessions by name, as the runtime wants them; `opened` counts instances."""

    def __init__(self, **modules: bytes) -> None:
        self.sessions = {name: load(wasm, deadline_ms=500) for name, wasm in modules.items()}
        self.made: list[Session] = []
        super().__init__()
        for name, session in self.sessions.items():
            self[name] = OfferedModel(session.digest, partial(self._another, name))

    def _another(self, name: str) -> Session:
        self.made.append(self.sessions[name].another())
        return self.made[-1]

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()


def opened(models: Models, grants: tuple[str, ...] = (NN,), **more: Any) -> Agent:
    return Agent.open(driver(), grants=grants, models=models, **more)


def run(guest: Agent, calls: Calls) -> Answer:
    given = guest.infer(calls.program())
    assert isinstance(given, bytes)
    answer = calls.answer(given)
    assert all(0 <= errno <= 8 for errno in answer.errnos), answer.errnos
    return answer


def ready(calls: Calls, name: bytes = b"m") -> Calls:
    """A graph with handle 1 and a context with handle 2, in an instance that has none yet."""
    calls.call("load_by_name", calls.put(NAME, name), len(name), DATA + OUT)
    return calls.call("init_execution_context", 1, DATA + OUT + 4)


def whole(calls: Calls, shape: tuple[int, ...] = (4,), kind: int = 1, data: bytes = X4.tobytes()) -> Calls:
    ready(calls)
    calls.call("set_input", 2, 0, calls.tensor(TENSOR, shape, kind, data))
    calls.call("compute", 2)
    return calls.call("get_output", 2, 0, DATA + BUFFER, 1024, DATA + OUT + 8)
