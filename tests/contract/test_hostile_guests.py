"""Hostile agents and modules, at least three of each kind: each costs its caller an error, and a neighbour goes on.

Those that can be told at the door are refused there; the others run on the threads that serve, beside a neighbour.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

import littoral
from littoral import settings
from littoral.artifact import custom_section_bytes
from littoral.errors import DeadlineError, LittoralError
from littoral.runtime.agents import Agent
from modules_in_text import DOUBLE, LOG, PAGE, agent, binary, model, packed, port, variant
from node_fixture import DOUBLE as NEIGHBOUR
from node_fixture import SITE, Served, node_in_thread, write_site
from raw_http import send, send_json
from supervised import short_folder

LOOP = "(loop $on (br $on))"
DEEP = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
WIDE = f"(func $wide (param i32) (result i32) {'(local i64 i64 i64 i64)' * 500} (call $wide (local.get 0)))"
MUTUAL = "(func $a (call $b)) (func $b (call $a))"
BY_TABLE = """(table 1 funcref) (type $t (func)) (elem (i32.const 0) $again)
  (func $again (call_indirect (type $t) (i32.const 0)))"""
FAR = """(if (result i32) (i32.gt_u (local.get $size) (i32.const 4))
  (then (drop (memory.grow (i32.const 8))) (i32.const 2000000000)) (else (i32.const 4096)))"""
FILL = "(loop $on (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $on))"
GROW = "(loop $on (br_if $on (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"

RUNNING: Mapping[str, Mapping[str, bytes]] = {
    "loops": {
        "a-jump": agent(f"{LOOP} (unreachable)", deadline_ms=50),
        "a-fill": agent(f"{FILL} (unreachable)", deadline_ms=50),
        "a-call": agent("(loop $on (call $leaf) (br $on)) (unreachable)", extra="(func $leaf)", deadline_ms=50),
        "the-log": agent(
            "(loop $on (call $log (i32.const 2) (i32.const 16) (i32.const 11)) (br $on)) (unreachable)",
            imports=LOG,
            deadline_ms=50,
        ),
    },
    "growth": {
        "by-pages": agent(f"{GROW} (unreachable)"),
        "at-once": agent("(drop (memory.grow (i32.const 65535))) (unreachable)"),
        "and-touched": agent(f"{GROW} (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048577)) (unreachable)"),
        "by-alloc": agent(alloc=FAR),
    },
    "stack": {
        "recursion": agent("(drop (call $deep (i32.const 0))) (unreachable)", extra=DEEP),
        "wide-frames": agent("(drop (call $wide (i32.const 0))) (unreachable)", extra=WIDE),
        "two-in-turn": agent("(call $a) (unreachable)", extra=MUTUAL),
        "by-table": agent("(call $again) (unreachable)", extra=BY_TABLE),
    },
    "answers": {
        "outside": agent(packed(PAGE * 2, 1)),
        "of-4-gigabytes": agent(packed(0, 0xFFFFFFFF)),
        "of-no-error": agent("(i64.const -9223372036854775808)"),
        "an-error-outside": agent("(i64.const -1)", last_error=packed(0x7FFFFFFF, 0x7FFFFFFF)),
    },
}
"""By kind and name; they are asked over HTTP."""


def _cut(wasm: bytes, share: float) -> bytes:
    return wasm[: int(len(wasm) * share)]


WASI = '(import "wasi_snapshot_preview1" "{}" (func (param i32 i32) (result i32)))'
LOCALS = f'(func (export "wide") {"(local i64)" * 60_000})'
OTHER_SECTION = custom_section_bytes("littoral.model", b"{}")
REFUSED: Mapping[str, Mapping[str, bytes]] = {
    "imports": {
        "of the system": agent(imports='(import "env" "system" (func (param i32) (result i32)))'),
        "of the environment": agent(imports=WASI.format("environ_get")),
        "of the log, by another type": agent(imports='(import "littoral" "log" (func (param i64)))'),
        "of a table": agent(imports='(import "env" "table" (table 1 funcref))'),
        "in a model": binary(
            '(module (import "env" "f" (func)) (memory (export "memory") 1 1) (func (export "run")))',
            "littoral.model",
            {"format": 1, "name": "m", "version": "1"},
        ),
    },
    "start functions": {
        "a loop": agent(extra=f"(func $f {LOOP}) (start $f)"),
        "a trap": agent(extra="(func $f unreachable) (start $f)"),
        "growth": agent(extra=f"(func $f {GROW} unreachable) (start $f)"),
        "recursion": agent(extra="(func $f (call $f)) (start $f)"),
        "a loop in what follows it": agent(reset=LOOP),
        "a loop in a model": model(extra=f"(func $f {LOOP}) (start $f)"),
    },
    "huge tables and locals": {
        "a table of a hundred million": agent(extra="(table 100000000 funcref)"),
        "a table of all that there are": agent(extra="(table 4294967295 funcref)"),
        "a table in a model": model(extra="(table 100000000 funcref)"),
        "locals": agent(extra=LOCALS),
        "a memory beyond its cap": agent(memory="65536 65536"),
        "a second memory": agent(extra="(memory 65536)"),
    },
    "corrupt bytes": {
        "nothing": b"",
        "text": b"(module)",
        "a component": b"\0asm\x0d\0\1\0",
        "cut in the middle": _cut(agent(), 0.5),
        "cut at its end": agent()[:-1],
        "bytes behind": agent() + b"\1\5abcde",
        "a section of 4 gigabytes": b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f",
        "zeros": bytes(1 << 16),
    },
    "forged sections": {
        "two that say what it is": model() + OTHER_SECTION,
        "of a model, in an agent": model() + custom_section_bytes("littoral.agent", b"{}"),
        "no JSON": binary('(module (memory (export "memory") 1 1))', "littoral.model", b"\xff\xfe"),
        "JSON nested deep": binary('(module (memory (export "memory") 1 1))', "littoral.model", b"[" * 100_000),
        "of nothing": binary("(module)", "littoral.model", b"{}"),
    },
    "lying manifests": {
        "a port outside memory": model(variants=[variant(inputs=(port("x", "float32", [4], 2 * PAGE),))]),
        "a port of all memory there is": model(variants=[variant(inputs=(port("x", "float32", [1 << 40], 1024),))]),
        "a negative offset": model(variants=[variant(inputs=(port("x", "float32", [4], -16),))]),
        "an entry that is not there": model(variants=[variant(entry="other")]),
        "weights outside": model(memory={"pages": 2, "weights": [0, 1 << 40], "arena": [1024, 4096]}),
        "more memory than it has": model(memory={"pages": 60_000, "weights": [0, 0], "arena": [1024, 4096]}),
        "an agent's memory without a cap": agent(memory_bytes_max=1 << 40),
        "an agent's deadline of a year": agent(deadline_ms=365 * 86_400_000),
        "an agent's tensors of a dtype nobody knows": agent(input=[{"name": "x", "dtype": "complex64", "shape": []}]),
    },
}
"""By kind and name; they do not come to be asked."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A node with each of the hostile agents in a pipeline of its own, and a neighbour; none is ever put aside."""
    quarantine = "quarantine = { failures = 1000 }"
    with (
        short_folder() as folder,
        settings.override(LITTORAL_STATE=str(folder / "state"), LITTORAL_CACHE=str(folder / "cache")),
    ):
        text = SITE + NEIGHBOUR
        for kind, name, wasm in _running():
            (folder / f"{kind}-{name}.wasm").write_bytes(wasm)
            grants = 'grants = ["littoral.log"]' if name == "the-log" else ""
            text += f'\n[agents.{kind}-{name}]\npath = "{kind}-{name}.wasm"\n{quarantine}\n{grants}\n'
            text += f'[pipelines.{kind}-{name}]\nsteps = [{{ agent = "{kind}-{name}" }}]\n'
        with node_in_thread(folder, site=write_site(folder, text)) as found:
            yield found


def _running() -> Iterator[tuple[str, str, bytes]]:
    for kind, guests in RUNNING.items():
        for name, wasm in guests.items():
            yield kind, name, wasm


def asked_neighbour(served: Served) -> Any:
    reply = send_json(served.address, "POST", "/pipelines/double", {"inputs": {"x": [[1, 2, 3]]}})
    assert reply.status == 200, reply
    return reply.json["result"]["outputs"]["add_0"]["data"]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name, _ in _running()])
def test_what_it_does_on_a_serving_thread_costs_its_caller_an_error(served: Served, kind: str, name: str) -> None:
    """Several at a time, with a neighbour's requests between them, all of which are answered."""
    with ThreadPoolExecutor(3) as callers:
        path = f"/pipelines/{kind}-{name}"
        hostile = [callers.submit(send, served.address, "POST", path, b"hello") for _ in range(6)]
        answers = [asked_neighbour(served) for _ in range(10)]
        statuses = {one.result().status for one in hostile}
    assert answers == [[[2, 4, 6]]] * 10
    assert statuses <= {422, 500, 503, 504}, statuses


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, found in REFUSED.items() for name in found])
def test_what_can_be_told_at_the_door_is_refused_there(kind: str, name: str) -> None:
    wasm = REFUSED[kind][name]
    is_model = b"littoral.model" in wasm and b"littoral.agent" not in wasm
    with pytest.raises(LittoralError):
        littoral.load(wasm, deadline_ms=100) if is_model else Agent.open(wasm, start_deadline_ms=100)
    with littoral.load(model()) as neighbour:
        assert neighbour.run({"x": np.ones(4, np.float32)})["y"].tolist() == [2, 2, 2, 2]


def test_a_section_that_claims_to_be_ours_is_not_trusted_for_it() -> None:
    """A module that says that it was compiled here, and was not, never enters the engine that nothing interrupts."""
    claimed = model(f"{LOOP} {DOUBLE}", compiler=f"littoral {version('littoral')}")
    with littoral.load(claimed, deadline_ms=50) as session:
        assert session.engine == "guarded"
        with pytest.raises(DeadlineError):
            session.run({"x": np.ones(4, np.float32)})


def test_every_kind_has_at_least_three() -> None:
    assert min(map(len, (*RUNNING.values(), *REFUSED.values()))) >= 3
