"""The page of the engines names those that are tested, with what is pinned of them."""

import json
import re

from engines import ENGINES
from engines.batch import TARGETS
from tracked import texts

PAGE = texts()["docs/reference/engines.md"]


def rows() -> dict[str, str]:
    """The line of the table for each engine."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return {engine.name: line for engine in ENGINES for line in lines if f"`{engine.name}`" in line}


def test_every_engine_has_its_row_with_its_targets() -> None:
    assert rows().keys() == {engine.name for engine in ENGINES}
    for engine in ENGINES:
        line = rows()[engine.name]
        told = [target for target in TARGETS if f"`{target}`" in line or "| all |" in line]
        assert told == [target for target in TARGETS if target in engine.targets], engine.name


def test_versions_that_are_pinned_are_told() -> None:
    lock = json.loads(texts()["tests/engines/node/package-lock.json"])
    (node,) = {package["version"] for name, package in lock["packages"].items() if name}
    go = texts()["tests/engines/wazero/go.mod"]
    cargo = texts()["src/littoral/bundle/texts/device/Cargo.toml"]
    wasm3 = texts()["tests/engines/wasm3/requirements.txt"]
    pins = {
        "wasmtime": re.search(r"^wasmtime==(\S+)", texts()["locks/node.txt"], re.MULTILINE),
        "v8-optimizing": re.match(r"(.+)", node),
        "wazero-compiler": re.search(r"^require \S+/wazero v(\S+)", go, re.MULTILINE),
        "wasmi": re.search(r'^wasmi = \{ version = "=([^"]+)"', cargo, re.MULTILINE),
        "wasm3": re.search(r"^pywasm3==(\S+)", wasm3, re.MULTILINE),
    }
    for engine, found in pins.items():
        assert found is not None
        assert f" {found[1]}" in rows()[engine]
