"""Engines that run compiled models, each through a host of its own: `ENGINES`, and `batch`, what they are given."""

from engines.aarch64 import emulated
from engines.commands import debian_node, javascriptcore, node, wasmtime_here, wazero
from engines.firefox import firefox
from engines.host import Engine
from engines.interpreters import wasm3, wasmi

__all__ = ["ENGINES", "Engine"]

# What lacks relaxed SIMD runs every other target. The first is the one all others are compared with.
PLAIN = ("simd128", "mvp")

ENGINES = (
    Engine("wasmtime", wasmtime_here, threads=True),
    Engine("wasmtime-aarch64", emulated, wide=False, threads=True),
    Engine("v8-optimizing", node("--no-liftoff"), threads=True),
    Engine("v8-baseline", node("--liftoff-only"), threads=True),
    Engine("v8-debian", debian_node, PLAIN, threads=True),
    Engine("spidermonkey-optimizing", firefox(baseline=False), threads=True),
    Engine("spidermonkey-baseline", firefox(baseline=True), threads=True),
    Engine("javascriptcore-optimizing", javascriptcore("--thresholdForOMGOptimizeAfterWarmUp=1"), PLAIN),
    Engine("javascriptcore-baseline", javascriptcore("--useOMGJIT=false"), PLAIN),
    Engine("wazero-compiler", wazero("compiler"), PLAIN, threads=True),
    Engine("wazero-interpreter", wazero("interpreter"), PLAIN, wide=False, threads=True),
    Engine("wazero-strict", wazero("strict"), ("mvp",)),
    Engine("wasmi", wasmi, ("mvp",)),
    Engine("wasm3", wasm3, ("mvp",)),
)
