"""A neighbour's p99 beside agents that loop, grow, recurse and lie on the threads that serve, in alternating rounds.

Hostile agents are asked at a steady rate, as somebody would who has the role `infer`; each meets its deadline, its
memory cap or a trap, and in the end its quarantine.
"""

import json
import statistics
import tempfile
from pathlib import Path

import wasmtime

import littoral
from bench.convolutional import mobilenet_v2
from bench.load import Load, begin_load, under_load
from bench.one_model import ONE_MODEL, pixels_request
from bench.rows import Row, row
from littoral.artifact import custom_section_bytes
from littoral.node.beside import running_node

__all__ = ["run"]

ROUNDS = 6
ROUND_S = 6.0
CLIENTS = 2
SHARE = 0.4
HOSTILE_RATE = 20.0
P99_RATIO_MAX = 1.5
LOOP = "(loop $on (br $on))"
RECURSION = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
GROWTH = "(loop $on (br_if $on (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (unreachable)"
FILL = "(loop $on (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $on))"
AGENTS = {
    "loops": f"{LOOP} (unreachable)",
    "fills": f"{FILL} (unreachable)",
    "grows": GROWTH,
    "recurses": "(drop (call $deep (i32.const 0))) (i64.const 0)",
    "lies": "(i64.const -9223372036854775808)",
}
"""What each does when it is asked."""

DEADLINE_MS = 50
MEMORY_BYTES = 16 << 20


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="littoral-") as name:
        folder = Path(name)
        littoral.compile(mobilenet_v2(), name="m", version="1").save(folder / "m.wasm")
        (folder / "site.toml").write_text(ONE_MODEL + "".join(_table(folder, *one) for one in AGENTS.items()))
        with running_node(folder / "site.toml") as node:
            request = pixels_request()
            rate = SHARE * under_load(node.address, [request], clients=CLIENTS, seconds=ROUND_S).per_second()
            alone, beside, hostile = list[Load](), list[Load](), list[Load]()
            for _ in range(ROUNDS):
                alone.append(under_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=ROUND_S))
                attacks = [_attack(name) for name in AGENTS]
                with begin_load(
                    node.address, attacks, clients=CLIENTS, rate=HOSTILE_RATE, seconds=10 * ROUND_S
                ) as attacking:
                    beside.append(under_load(node.address, [request], clients=CLIENTS, rate=rate, seconds=ROUND_S))
                    hostile.append(attacking.end())
    return _rows(alone, beside, hostile, rate)


def _agent(infer: str) -> bytes:
    text = f"""(module (memory (export "memory") 2 256)
      (func (export "alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "reset"))
      (func (export "init") (param i32 i32) (result i32) (i32.const 0))
      (func (export "infer") (param i32 i32) (result i64) {infer})
      (func (export "last_error") (result i64) (i64.const 0))
      {RECURSION})"""
    about = {"format": 1, "name": "a", "version": "1", "memory_bytes_max": MEMORY_BYTES, "deadline_ms": DEADLINE_MS}
    return bytes(wasmtime.wat2wasm(text)) + custom_section_bytes("littoral.agent", json.dumps(about).encode())


def _table(folder: Path, name: str, infer: str) -> str:
    (folder / f"{name}.wasm").write_bytes(_agent(infer))
    return f'\n[agents.{name}]\npath = "{name}.wasm"\n\n[pipelines.{name}]\nsteps = [{{ agent = "{name}" }}]\n'


def _attack(name: str) -> bytes:
    return f"POST /pipelines/{name} HTTP/1.1\r\nHost: node\r\nContent-Length: 5\r\n\r\nhello".encode()


def _rows(alone: list[Load], beside: list[Load], hostile: list[Load], rate: float) -> list[Row]:
    quiet, loud = (statistics.median(one.at_ms(0.99) for one in loads) for loads in (alone, beside))
    return [
        row("requests of the neighbour a second, 40 % of what the node can do", rate, "1/s"),
        row("hostile requests that were answered, by an error", sum(one.failed for one in hostile), "requests"),
        row("hostile requests that got 200", sum(one.statuses.get(200, 0) for one in hostile), "requests", limit=0),
        row("neighbour's requests that failed", sum(one.failed for one in (*alone, *beside)), "requests", limit=0),
        row("neighbour's p50 alone, median of rounds", statistics.median(one.at_ms(0.5) for one in alone), "ms"),
        row("neighbour's p50 beside, median of rounds", statistics.median(one.at_ms(0.5) for one in beside), "ms"),
        row(
            "neighbour's p99 beside, median of rounds",
            loud,
            "ms",
            limit=P99_RATIO_MAX * quiet,
            peer="alone",
            peer_value=quiet,
        ),
    ]
