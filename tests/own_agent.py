"""Crates of agents in tests: a Rust compiler for WebAssembly, and one folder to build in, so that std is built once."""

import pytest

from littoral.authoring.toolchain import TARGET, Target, find_toolchain
from littoral.errors import SetupError
from needs import need
from tracked import ROOT

__all__ = ["BUILD_S_MAX", "use_toolchain"]

BUILD_S_MAX = 280.0
"""The first build of all makes std."""


def use_toolchain(monkeypatch: pytest.MonkeyPatch, target: Target = TARGET) -> None:
    """Skips without a compiler. Builds go where the guests' do: the same flags and profile, the same std."""
    try:
        find_toolchain(target)
    except SetupError as error:
        need(None, str(error))
    monkeypatch.setenv("CARGO_TARGET_DIR", str(ROOT / "guests/target"))
