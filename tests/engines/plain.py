"""Wasmtime, with Python's standard library alone: plain.py CASES OUT."""

import json
import sys
from pathlib import Path
from typing import Any

import wasmtime


def run(engine: wasmtime.Engine, wasm: bytes, case: dict[str, Any], data: bytes) -> bytes:
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, wasm), []).exports(store)
    memory: Any = exports["memory"]
    at = 0
    for offset, size in case["writes"]:
        memory.write(store, data[at : at + size], offset)
        at += size
    entry: Any = exports[case["entry"]]
    entry(store)
    return b"".join(memory.read(store, offset, offset + size) for offset, size in case["reads"])


def main(cases: Path, out: Path) -> None:
    config = wasmtime.Config()
    config.wasm_relaxed_simd = True
    with wasmtime.Engine(config) as engine:
        for case in json.loads((out / "plan.json").read_text()):
            wasm, data = ((cases / case[part]).read_bytes() for part in ("module", "input"))
            (out / case["output"]).write_bytes(run(engine, wasm, case, data))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
